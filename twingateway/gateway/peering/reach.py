"""Which nodes are heard, and by whom: the registers about nodes, and what follows from them for whoever is behind.

Each node that a node has a session with, or had, has a register under that parent's name, so each register has one
writer also when a node goes from one parent to another: what the former parent says, early or late, takes nothing
from what the present one says. A node is reached if it is by any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf

from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import Reach
from twingateway.twin.register import RegisterKey, Section
from twingateway.twin.value import Value

#: Namespace of registers that are about nodes, not devices.
NODES = "nodes"
#: Levels of nodes that a tree may have.
MAX_HOPS = 16


def reach_key(node: str, parent: str) -> RegisterKey:
    """Of the register in which `parent` says whether it hears `node`."""
    return RegisterKey(DeviceId(NODES, node), Section.REACH, parent)


def reach_value(reach: Reach, namespace: str) -> dict[str, Value]:
    """`namespace`: of the node."""
    return {**reach.to_value(), "namespace": namespace}


def told_of(table: TwinTable, node: str) -> Mapping[str, Value]:
    """What each of its parents says of a node."""
    return table.values(DeviceId(NODES, node), Section.REACH)


def hops(told: Callable[[str], Mapping[str, Value]], here: str, node: str, seen: Collection[str] = ()) -> list[Value]:
    """What is known of each node on the way down from `here` to `node`, which itself is the first. Of several ways
    one that is whole, else the one that broke last. `told`: what each of its parents says of a node."""
    if node == here or node in seen or len(seen) >= MAX_HOPS:
        return []
    ways = [[value, *hops(told, here, parent, (*seen, node))] for parent, value in sorted(told(node).items())]
    return max(ways, key=_broke_at, default=[])


def behind(table: TwinTable, node: str) -> set[str]:
    """The node, and all that are heard through it, or were."""
    found, news = {node}, {node}
    others = [each.name for each in table.devices() if each.namespace == NODES]
    while news:
        news = {each for each in others if each not in found and not news.isdisjoint(told_of(table, each))}
        found |= news
    return found


def _broke_at(way: list[Value]) -> float:
    return min((reach.since for reach in map(Reach.from_value, way) if not reach.up), default=inf)
