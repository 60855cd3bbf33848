"""What lies between the two ends of a link in memory: how it delays, loses, doubles and blocks what passes.

Strategy: chance is the path's own and seeded, so a test that goes wrong goes wrong again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol


class Witness(Protocol):
    """Follows what passes a path. `up`: from the client to the server."""

    def sent(self, *, up: bool) -> object:
        """A message sets out; what this returns goes with it."""
        ...

    def arrived(self, sent: object, *, up: bool) -> None:
        """One has come, with what `sent` returned of it."""
        ...


@dataclass(slots=True)
class MemoryPath:
    """What lies between the two ends; may be changed at any time.

    `delay`: seconds one way. `jitter`: seconds that a datagram takes longer at most, so that they overtake another.
    `loss`: share lost, of datagrams and of pieces of streams. `duplication`: share of datagrams that arrive twice.
    `cut`: nothing passes; `cut_up`, `cut_down`: nothing from the client to the server, or back. `datagram_room`:
    bytes, 0 for a link without datagrams. `window`: datagrams on their way at a time. `dial_timeout`: seconds that a
    dial which nobody answers goes on asking, once a second or as it is told. `witness`: is told of what passes.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    cut: bool = False
    cut_up: bool = False
    cut_down: bool = False
    datagram_room: int = 1170
    window: int = 10
    idle_timeout: float = 60.0
    dial_timeout: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    witness: Witness | None = None

    def blocks(self, *, up: bool) -> bool:
        return self.cut or (self.cut_up if up else self.cut_down)

    def loses(self, *, up: bool) -> bool:
        return self.blocks(up=up) or self.chance.random() < self.loss

    def sent(self, *, up: bool) -> object:
        return None if self.witness is None else self.witness.sent(up=up)

    def arrived(self, sent: object, *, up: bool) -> None:
        if self.witness is not None:
            self.witness.arrived(sent, up=up)

    def flights(self) -> list[float]:
        """Seconds that each copy of one datagram is on its way."""
        copies = 2 if self.duplication and self.chance.random() < self.duplication else 1
        if not self.jitter:
            return [self.delay] * copies
        return [self.delay + self.jitter * self.chance.random() for _ in range(copies)]
