"""Who is whose parent, and which devices are wired where: three small trees."""

from __future__ import annotations

import random
from dataclasses import dataclass

ROOT = "cloud"
#: Device → the edges that it is wired to. `cart` can be moved between them.
WIRES = {"pump": ("edge-a",), "lamp": ("edge-b",), "cart": ("edge-a", "edge-b")}


@dataclass(frozen=True, slots=True)
class Topology:
    """`parents`: of every node but the root."""

    name: str
    parents: dict[str, str]

    @property
    def nodes(self) -> list[str]:
        return [ROOT, *self.parents]

    @property
    def edges(self) -> list[str]:
        return [node for node in self.parents if node.startswith("edge")]

    def way_up(self, node: str) -> list[str]:
        """From a node to the root, both included."""
        way = [node]
        while way[-1] != ROOT:
            way.append(self.parents[way[-1]])
        return way


FLAT = Topology("flat", {"edge-a": ROOT, "edge-b": ROOT})
TREE = Topology("tree", {"region": ROOT, "edge-a": "region", "edge-b": "region"})
MIXED = Topology("mixed", {"region": ROOT, "edge-a": "region", "edge-b": ROOT})


def choose(chance: random.Random) -> Topology:
    return chance.choices([FLAT, TREE, MIXED], [6, 2, 2])[0]


def wired_to(edge: str) -> list[str]:
    return [device for device, edges in WIRES.items() if edge in edges]
