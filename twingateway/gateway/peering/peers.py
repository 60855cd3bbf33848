"""The nodes this one keeps sessions with: one parent at most, any number of children; and what each gets to see.

A register goes where its section's writer is not: what holders write goes up to the parent, what the root writes
goes down to the child through which the device's holder is reached. Nothing else is ever offered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import structlog

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.peering.reach import NODES, told_of
from twingateway.gateway.state.lifecycle import DOUBT, lifecycle_of
from twingateway.gateway.state.pending import Pending
from twingateway.gateway.state.table import TwinTable
from twingateway.ports.link import LinkFacts
from twingateway.ports.store import PeerRecord, Snapshot, StoreIdentity
from twingateway.sync.journal import JournalSession
from twingateway.sync.knowledge import LocalStore, PeerKnowledge
from twingateway.sync.session import Session
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import Reach
from twingateway.twin.register import WRITER, Register, Section, StoredRegister, Writer

log = structlog.get_logger("session")

#: Nodes that may be reached through one child.
MAX_BELOW = 4096
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

    def pump(self) -> None:
        """There is something new to send on a stream."""
        ...

    def send_control(self, kind: str, body: dict[str, Any]) -> None: ...

    def close(self, reason: str) -> None: ...

    def facts(self) -> LinkFacts: ...

    @property
    def number(self) -> int:
        """The session's number of this link; newer ones are higher."""
        ...

    @property
    def url(self) -> str:
        """The parent's address that was dialled; empty for a link that a child made."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether the peer has not been heard of on it for too long, or not yet."""
        ...


@dataclass(slots=True)
class Peer:
    """One other node, across its connections."""

    name: str
    direction: Direction
    namespace: str
    session: Session
    journal: JournalSession
    lines: list[Line] = field(default_factory=list)
    """Its live connections, the newest last; all receive, the newest sends."""
    up: bool = False
    """Whether it was within reach when that was last told."""
    since: int = 0
    """Unix milliseconds since when `up` is what it is."""
    below: set[str] = field(default_factory=set)
    """Nodes reached through this child, itself included."""
    links: int = 0

    @property
    def line(self) -> Line | None:
        """The connection that sends; None while there is none."""
        if not self.lines:
            return None
        active = self.session.active
        return next((line for line in self.lines if line.number == active), self.newest)

    @property
    def newest(self) -> Line | None:
        """The connection that was made last."""
        return self.lines[-1] if self.lines else None

    @property
    def is_reached(self) -> bool:
        """Whether it is heard of on any connection."""
        return any(not line.quiet for line in self.lines)

    def next_link(self) -> int:
        self.links += 1
        return self.links


class Peers:
    """Registry of peers; implements the ledger's Outboxes."""

    def __init__(
        self,
        node: str,
        identity: StoreIdentity,
        snapshot: Snapshot,
        table: TwinTable,
        unsettled: Pending,
        classes: Sequence[str],
        opened: int,
    ) -> None:
        """`classes`: of the journal, by priority. `opened`: the last lsn from before this process."""
        self._classes = classes
        self.node = node
        self.parent: Peer | None = None
        self.root_name: str | None = None
        """The root's node name, as far as known."""
        self._local = LocalStore(
            node, identity.store_id, identity.boot_id, dict(snapshot.boots), tuple(snapshot.gaps), opened
        )
        self._records = dict(snapshot.peers)
        self._table = table
        self._unsettled = unsettled
        self._children: dict[str, Peer] = {}
        self._via: dict[str, Peer] = {}
        self._held_by: dict[str, set[DeviceId]] = {}
        self._holders: dict[DeviceId, str] = {}
        self._in_doubt: set[DeviceId] = set()
        """Devices whose holder may know more than this root, which was put back."""
        for device in table.devices():
            self._note_holder(device)

    @property
    def store_id(self) -> bytes:
        return self._local.store_id

    @property
    def boot_id(self) -> bytes:
        """Of this opening of the store."""
        return self._local.boot_id

    def __iter__(self) -> Iterator[Peer]:
        if self.parent is not None:
            yield self.parent
        yield from self._children.values()

    def child(self, name: str, namespace: str) -> Peer:
        """The child of this name; its session is made when it is first needed and outlives its links. A node that
        connects by itself is reached directly, whoever led to it before."""
        peer = self._children.get(name)
        if peer is None:
            peer = self._children[name] = self._make(name, Direction.CHILD, namespace)
        self.route(name, peer)
        return peer

    def known_child(self, name: str, namespace: str) -> Peer | None:
        """The child of this name and namespace, if it has been here since this process started."""
        peer = self._children.get(name)
        return peer if peer is not None and peer.namespace == namespace else None

    def objection(self, name: str, namespace: str) -> str | None:
        """Why no child may have this name, None if one may. Node names are unique across namespaces."""
        if namespace == NODES:
            return f"the namespace {NODES!r} is reserved"
        if name == self.node:
            return f"{name} is this node's own name; give every node its own certificate"
        if self.parent is not None and name == self.parent.name:
            return f"{name} is the name of this node's parent; give every node its own certificate"
        known = self._children.get(name)
        if known is not None and known.namespace != namespace:
            return f"a node {name} of another namespace is known here; node names are unique"
        return None

    def route_objection(self, node: str, child: Peer) -> str | None:
        """Why `child` may not say that it leads to `node`, None if it may. A name that another living child has, or
        that is reached through one, stays with it: else a child could have another's desired values."""
        current = self._via.get(node)
        if current is child:
            return None
        objection = self.objection(node, child.namespace)
        if objection is not None:
            return objection
        if current is not None and current.namespace != child.namespace:
            return f"a node {node} of another namespace is known here; node names are unique"
        if current is not None and current.line is not None and not self._is_down(node, current):
            return f"{node} is reached through {current.name}"
        if len(child.below) >= MAX_BELOW:
            return f"{child.name} leads to {MAX_BELOW} nodes already"
        return None

    def _is_down(self, node: str, via: Peer) -> bool:
        """A node behind a child, which that child says it has lost."""
        speakers = {via.name, *via.below}
        told = [Reach.from_value(v) for name, v in told_of(self._table, node).items() if name in speakers]
        return node != via.name and bool(told) and not any(reach.up for reach in told)

    def open_parent(self, name: str, namespace: str) -> Peer:
        """The parent that answered; another name than before is another peer."""
        if self.parent is None or self.parent.name != name:
            self.parent = self._make(name, Direction.PARENT, namespace)
        return self.parent

    def route(self, node: str, child: Peer) -> bool:
        """`node` is reached through `child` from now on; False if it was before."""
        former = self._via.get(node)
        if former is child:
            return False
        if former is not None:
            former.below.discard(node)
        child.below.add(node)
        self._via[node] = child
        return True

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
            for line in tuple(peer.lines):
                line.close("the store has a new identity")

    def tell(self, peer: Peer, registers: Iterable[StoredRegister]) -> None:
        """Send registers to a peer that is about to lose them from its scope."""
        for stored in registers:
            peer.session.put(stored, urgent=True)
        if peer.line is not None:
            peer.line.wake()

    def offer(self, registers: Iterable[StoredRegister], *, origin: str | None) -> None:
        served: dict[str, Peer] = {}
        device = section = peer = None
        for stored in registers:
            key = stored.register.key
            if key.device is not device or key.section is not section:
                device, section = key.device, key.section
                peer = self._destination(stored.register)
                if peer is not None and peer.name == origin:
                    peer = None
            if peer is not None:
                served[peer.name] = peer
                self._put(peer, stored)
        for peer in served.values():
            if peer.line is not None:
                peer.line.wake()

    def withdraw(self, registers: Iterable[StoredRegister]) -> None:
        for stored in registers:
            for peer in self:
                peer.session.outbox.withdraw(stored.register)

    def _put(self, peer: Peer, stored: StoredRegister) -> None:
        try:
            peer.session.put(stored, urgent=stored.register.key.section in URGENT)
        except (InvalidValue, TooLarge) as error:
            log.error("a register cannot be sent", key=str(stored.register.key), reason=error.message)

    def scope(self, peer: Peer) -> Iterator[StoredRegister]:
        """Every register that this peer is to have from us."""
        return (stored for stored in self._between(peer) if self._destination(stored.register) is peer)

    def origin(self, peer: Peer) -> Iterator[StoredRegister]:
        """Every register here that this peer is the one to send us."""
        judge = {Direction.PARENT: self._comes_down, Direction.CHILD: self._comes_up}[peer.direction]
        return (stored for stored in self._between(peer) if judge(peer, stored.register))

    def _between(self, peer: Peer) -> Iterator[StoredRegister]:
        """Every register that may travel to or from this peer: of a child only what is below it, since all children
        come back at once after a restart."""
        if peer.direction is Direction.PARENT:
            yield from self._table.registers()
            return
        for node in list(peer.below):
            yield from self._table.device(DeviceId(NODES, node))
            for device in list(self.held_by(node)):
                yield from self._table.device(device)

    def holder(self, device: DeviceId) -> str | None:
        """The node that holds a device, by the root's grant."""
        holder = lifecycle_of(self._table, device).get("holder")
        return holder if isinstance(holder, str) else None

    def held_by(self, node: str) -> Collection[DeviceId]:
        """The devices that a node holds, by the root's grants."""
        return self._held_by.get(node, frozenset())

    def on_register(self, stored: StoredRegister) -> None:
        device = stored.register.key.device
        former, is_unheard = self._holders.get(device), device in self._in_doubt
        holder = self._note_holder(device)
        child = None if former in (None, holder) else self._via.get(former or "")
        if child is not None and not is_unheard:  # it is out of scope from now on, and has to know
            self.tell(child, [stored])  # who may know of a later move hears of it when it claims

    def _note_holder(self, device: DeviceId) -> str | None:
        former, holder = self._holders.pop(device, None), self.holder(device)
        self._in_doubt.discard(device)
        if DOUBT in lifecycle_of(self._table, device):
            self._in_doubt.add(device)
        if former is not None:
            self._held_by[former].discard(device)
        if holder is not None:
            self._holders[device] = holder
            self._held_by.setdefault(holder, set()).add(device)
        return holder

    def remember(self, record: PeerRecord) -> None:
        self._records[record.peer] = record

    def _destination(self, register: Register) -> Peer | None:
        device, section, _ = register.key
        if section is Section.REACH:
            return self.parent
        lifecycle = lifecycle_of(self._table, device)
        holder = lifecycle.get("holder")
        if not isinstance(holder, str):
            return None  # a device is local to its node until the root grants it
        if WRITER[section] is Writer.ROOT:
            peer = None if DOUBT in lifecycle else self._via.get(holder)
        elif holder == self.node and lifecycle.get("store") != self._local.store_id.hex():
            return None  # what is known here may be older than what it was granted with
        else:
            peer = self.parent if lifecycle.get("state") == "live" else None
        return peer if peer is not None and peer.namespace == device.namespace else None

    def _comes_down(self, peer: Peer, register: Register) -> bool:
        return WRITER[register.key.section] is Writer.ROOT and register.key.device.namespace == peer.namespace

    def _comes_up(self, peer: Peer, register: Register) -> bool:
        device, section, _ = register.key
        if section is Section.REACH:
            return self.speaks_for(peer, register)
        return WRITER[section] is Writer.HOLDER and self.holder(device) in peer.below

    def speaks_for(self, child: Peer, reach: Register) -> bool:
        """Whether a child may say this of a node: the one that says so is the child itself or behind it, and the node
        is of the child's namespace, as far as it is known."""
        node, speaker = reach.key.device.name, reach.key.name
        if self.objection(node, child.namespace) is not None:
            return False
        ways = (self._via.get(node), self._via.get(speaker))
        if any(way is not None and way.namespace != child.namespace for way in ways):
            return False
        return speaker != self.node and self._via.get(speaker) in (None, child)

    def _make(self, name: str, direction: Direction, namespace: str) -> Peer:
        record = self._records.get(name)
        known = None if record is None else PeerKnowledge(record.store_id, record.low, record.boot_id, record.lsn)
        session = Session(self._local, name, known, self._table.highest_lsn, lambda: self._unsettled.told_below)
        sends = direction is Direction.PARENT
        journal = JournalSession(self._classes, namespace, sends=sends, journal_id=self._local.boot_id)
        return Peer(name, direction, namespace, session, journal)
