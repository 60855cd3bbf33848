"""The nodes around as seen from one: itself, its parent, its children, and those it remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twingateway.gateway.peering.peer_link import link_to
from twingateway.gateway.peering.peers import Direction, Peer, Peers
from twingateway.gateway.peering.reach import NODES, told_of
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.queries import Queries
from twingateway.sync.quality import Quality
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import Reach


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as seen from here. `since`: Unix milliseconds; `waiting`: registers that it has not made durable; from
    `url` on see `PeerLink`."""

    name: str
    role: str
    namespace: str
    state: str
    since: int = 0
    devices: int = 0
    transport: str = ""
    address: str = ""
    waiting: int = 0
    url: str = ""
    links: int = 0
    goodput: float | None = None
    queue_age: float | None = None
    quality: Quality | None = None


class Nodes:
    """`namespace`: of this node."""

    def __init__(
        self, queries: Queries, peers: Peers, table: TwinTable, clock: Clock, namespace: str, root: bool
    ) -> None:
        self._queries = queries
        self._peers = peers
        self._table = table
        self._clock = clock
        self._namespace = namespace
        self._root = root
        self._outside: list[Callable[[], NodeView]] = []

    def show(self, outside: Callable[[], NodeView]) -> None:
        """List one more, which is no node and no peer: a broker that this node tells of its twins."""
        self._outside.append(outside)

    def all(self) -> list[NodeView]:
        """This node, its parent, its children, and children known from before."""
        live = {peer.name: peer for peer in self._peers}
        views = [self._own_view()]
        views += [view() for view in self._outside]
        views += [self._peer_view(peer) for peer in live.values()]
        for device in self._table.devices():
            if device.namespace == NODES and device.name not in live and device.name != self._peers.node:
                views.append(self._remembered_view(device))
        return views

    def _own_view(self) -> NodeView:
        role = "root" if self._root else "self"
        return NodeView(self._peers.node, role, self._namespace, "up", devices=self._held_by(self._peers.node))

    def _peer_view(self, peer: Peer) -> NodeView:
        link = link_to(peer, self._clock.wall_ms())
        view = NodeView(
            peer.name,
            peer.direction.value,
            peer.namespace,
            "up" if peer.is_reached else "down",
            peer.since,
            self._held_by(peer.name) if peer.direction is Direction.CHILD else 0,
            waiting=len(peer.session.outbox),
        )
        if link is None:
            return view
        return replace(
            view,
            transport=link.transport,
            address=link.address,
            url=link.url,
            links=link.links,
            goodput=link.goodput,
            queue_age=link.queue_age,
            quality=link.quality,
        )

    def _remembered_view(self, node: DeviceId) -> NodeView:
        told = told_of(self._table, node.name).values()
        heard = [(Reach.from_value(value), value) for value in told]
        reach, value = max(heard, key=lambda each: (each[0].up, each[0].since), default=(Reach(False), None))
        known = value if isinstance(value, dict) else {}
        return NodeView(
            node.name,
            Direction.CHILD.value,
            str(known.get("namespace", "")),
            str(known.get("state", "")),
            reach.since,
            self._held_by(node.name),
        )

    def _held_by(self, node: str) -> int:
        return sum(1 for device in self._peers.held_by(node) if self._queries.exists(device))
