"""The nodes this one keeps sessions with: one parent at most, any number of children; and what each gets to see.

A register goes where its section's writer is not: what holders write goes up to the parent, what the root writes
goes down to the child through which the device's holder is reached. Nothing else is ever offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import structlog

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.ledger import LIFECYCLE_NAME
from twingateway.gateway.pending import Pending
from twingateway.gateway.table import TwinTable
from twingateway.ports.link import LinkFacts
from twingateway.ports.store import PeerRecord, StoreIdentity
from twingateway.sync.session import LocalStore, PeerKnowledge, Session
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import WRITER, Register, Section, StoredRegister, Writer

log = structlog.get_logger("session")

#: Namespace of registers that are about nodes, not devices.
NODES = "nodes"
#: Sections whose registers go before routine reports.
URGENT = frozenset(Section) - {Section.REPORTED}


class Direction(Enum):
    PARENT = "parent"
    CHILD = "child"


class Line(Protocol):
    """A peer's live connection, as the registry needs it."""

    def wake(self) -> None:
        """There is something new to send."""
        ...

    def send_control(self, kind: str, body: dict[str, Any]) -> None: ...

    def close(self, reason: str) -> None: ...

    def facts(self) -> LinkFacts: ...

    @property
    def number(self) -> int: ...


@dataclass(slots=True)
class Peer:
    """One other node, across its connections."""

    name: str
    direction: Direction
    namespace: str
    session: Session
    line: Line | None = None
    since: int = 0
    """Unix milliseconds since when `line` is what it is."""
    below: set[str] = field(default_factory=set)
    """Nodes reached through this child, itself included."""
    links: int = 0

    def next_link(self) -> int:
        self.links += 1
        return self.links


class Peers:
    """Registry of peers; implements the ledger's Outboxes."""

    def __init__(
        self,
        node: str,
        identity: StoreIdentity,
        boots: Mapping[bytes, int],
        records: Mapping[str, PeerRecord],
        table: TwinTable,
        start: int,
        unsettled: Pending,
    ) -> None:
        """`start`: the last lsn that can have been issued before this process."""
        self.node = node
        self.parent: Peer | None = None
        self.root_name: str | None = None
        """The root's node name, as far as known."""
        durable = max((stored.lsn for stored in table.registers()), default=0)
        self._local = LocalStore(node, identity.store_id, identity.boot_id, dict(boots), durable, start)
        self._records = dict(records)
        self._table = table
        self._unsettled = unsettled
        self._children: dict[str, Peer] = {}
        self._via: dict[str, Peer] = {}

    @property
    def store_id(self) -> bytes:
        return self._local.store_id

    def __iter__(self) -> Iterator[Peer]:
        if self.parent is not None:
            yield self.parent
        yield from self._children.values()

    def child(self, name: str, namespace: str) -> Peer:
        """The child of this name; its session is made when it is first needed and outlives its links."""
        peer = self._children.get(name)
        if peer is None:
            peer = self._children[name] = self._make(name, Direction.CHILD, namespace)
            self.route(name, peer)
        return peer

    def open_parent(self, name: str, namespace: str) -> Peer:
        """The parent that answered; another name than before is another peer."""
        if self.parent is None or self.parent.name != name:
            self.parent = self._make(name, Direction.PARENT, namespace)
        return self.parent

    def route(self, node: str, child: Peer) -> None:
        """`node` is reached through `child`."""
        child.below.add(node)
        self._via[node] = child

    def via(self, node: str) -> Peer | None:
        """The child through which a node is reached."""
        return self._via.get(node)

    def renew(self, identity: StoreIdentity) -> None:
        """The store has a new identity: every session begins anew, on new links."""
        self._local = replace(self._local, store_id=identity.store_id, boots={})
        former = list(self)
        self.parent = None
        self._children.clear()
        self._via.clear()
        for peer in former:
            if peer.line is not None:
                peer.line.close("the store has a new identity")

    def offer(self, stored: StoredRegister, *, origin: str | None) -> None:
        peer = self._destination(stored.register)
        if peer is None or peer.name == origin:
            return
        try:
            peer.session.put(stored, urgent=stored.register.key.section in URGENT)
        except (InvalidValue, TooLarge) as error:
            log.error("a register cannot be sent", key=str(stored.register.key), reason=error.message)
        if peer.line is not None:
            peer.line.wake()

    def scope(self, peer: Peer) -> Iterator[StoredRegister]:
        """Every register that this peer is to have from us."""
        return (stored for stored in self._table.registers() if self._destination(stored.register) is peer)

    def origin(self, peer: Peer) -> Iterator[StoredRegister]:
        """Every register here that this peer is the one to send us."""
        judge = {Direction.PARENT: self._comes_down, Direction.CHILD: self._comes_up}[peer.direction]
        return (stored for stored in self._table.registers() if judge(peer, stored.register))

    def holder(self, device: DeviceId) -> str | None:
        """The node that holds a device, by the root's grant."""
        lifecycle = self._table.value(device, Section.LIFECYCLE, LIFECYCLE_NAME)
        holder = lifecycle.get("holder") if isinstance(lifecycle, dict) else None
        return holder if isinstance(holder, str) else None

    def remember(self, record: PeerRecord) -> None:
        self._records[record.peer] = record

    def _destination(self, register: Register) -> Peer | None:
        device, section, _ = register.key
        if section is Section.REACH:
            return self.parent
        holder = self.holder(device)
        if holder is None:
            return None  # a device is local to its node until the root grants it
        if WRITER[section] is Writer.ROOT:
            return self._via.get(holder)
        return self.parent if holder == self.node or holder in self._via else None

    def _comes_down(self, peer: Peer, register: Register) -> bool:
        return WRITER[register.key.section] is Writer.ROOT and register.key.device.namespace == peer.namespace

    def _comes_up(self, peer: Peer, register: Register) -> bool:
        device, section, _ = register.key
        if section is Section.REACH:
            return device.name in peer.below
        return WRITER[section] is Writer.HOLDER and self.holder(device) in peer.below

    def _make(self, name: str, direction: Direction, namespace: str) -> Peer:
        record = self._records.get(name)
        known = None if record is None else PeerKnowledge(record.store_id, record.low, record.boot_id, record.lsn)
        highest = max((stored.lsn for stored in self._table.registers()), default=0)
        session = Session(self._local, name, known, highest, lambda: self._unsettled.lowest)
        return Peer(name, direction, namespace, session)
