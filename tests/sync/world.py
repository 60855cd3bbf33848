"""Two nodes with disks that forget what was not committed, joined by links that lose, repeat and reorder."""

from dataclasses import dataclass, field

from twingateway.sync.events import (
    CompareNeeded,
    Durable,
    LowAdvanced,
    PeerRefused,
    PeerStoreChanged,
    RegistersReceived,
    ResumeNeeded,
)
from twingateway.sync.knowledge import LocalStore, PeerKnowledge
from twingateway.sync.session import Session
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

BLOCK = 100
ROOM = 400


def key(device, name="p", section=Section.REPORTED):
    return RegisterKey(DeviceId("default", device), section, name)


def register(seq, value, of=None, epoch=1):
    return Register(of or key("d0"), Version(1, epoch, seq), value, 1_700_000_000_000 + seq)


@dataclass
class Disk:
    """What survives a crash."""

    store_id: bytes
    registers: dict = field(default_factory=dict)
    known: PeerKnowledge | None = None
    gaps: list = field(default_factory=list)
    boots: dict = field(default_factory=dict)
    next_lsn: int = 1
    next_seq: int = 1


class Node:
    """A holder of `section`: it writes those registers, the other node keeps copies."""

    def __init__(self, name, peer, section):
        self.name, self.peer, self.section = name, peer, section
        self.disk = Disk(f"store-{name}".encode())
        self.refused_keys = set()
        self.starts = 0
        self.events = []
        self.start()

    def start(self):
        """A new process on the same disk: numbers go on at the end of their block."""
        disk = self.disk
        self.starts += 1
        self.boot_id = f"boot-{self.name}-{self.starts}".encode()
        self.unsettled = set()
        top = max((stored.lsn for stored in disk.registers.values()), default=0)
        disk.next_lsn = -(-disk.next_lsn // BLOCK) * BLOCK + 1
        disk.next_seq = -(-disk.next_seq // BLOCK) * BLOCK + 1
        disk.boots[self.boot_id] = 10**9
        disk.gaps.append((top, disk.next_lsn - 1))
        self.shown = dict(disk.registers)
        self.pending = []  # (what to commit, what to do then), in order
        self.session = Session(
            LocalStore(self.name, disk.store_id, self.boot_id, disk.boots, tuple(disk.gaps), disk.next_lsn - 1),
            self.peer,
            disk.known,
            top,
            lambda: min(self.unsettled, default=None),
        )

    def _lsn(self):
        self.disk.next_lsn += 1
        return self.disk.next_lsn - 1

    def write(self, of, value):
        """A reported register goes out before its commit; any other one after."""
        self.disk.next_seq += 1
        stored = StoredRegister(register(self.disk.next_seq - 1, value, of), self._lsn())
        self.shown[of] = stored
        self.unsettled.add(stored.lsn)
        if self.section is Section.REPORTED:
            self.session.put(stored)
            self.pending.append(([stored], lambda: None))
        else:
            self.pending.append(([stored], lambda: self.session.put(stored, urgent=True)))

    def commit(self, count=None):
        batch, self.pending = self.pending[:count], self.pending[count:] if count is not None else []
        for registers, then in batch:
            for stored in registers:
                held = self.disk.registers.get(stored.register.key)
                if held is None or held.register.version < stored.register.version:
                    self.disk.registers[stored.register.key] = stored
            then()
            self.unsettled.difference_update(stored.lsn for stored in registers)

    def own(self):
        return [stored for stored in self.shown.values() if stored.register.key.section is self.section]

    def copies(self):
        return [stored for stored in self.shown.values() if stored.register.key.section is not self.section]

    def take(self, link, events, now, other):
        self.events += events
        for event in events:
            if isinstance(event, RegistersReceived):
                self._apply(link, event)
            elif isinstance(event, ResumeNeeded):
                self.session.resume(link, self.own(), now)
            elif isinstance(event, CompareNeeded):
                self.session.compare(link, self.copies())
            elif isinstance(event, LowAdvanced | PeerStoreChanged):
                self._persist(event, other)

    def _apply(self, link, event):
        session = self.session
        for one in event.registers:
            if one.key in self.refused_keys:
                session.refuse(link, event.frame, one.key, one.version, "invalid-value", "not wanted")
        self.keep(event.registers, lambda: session.committed(link, event.frame))

    def keep(self, registers, then):
        """Show those that are newer than what is here, and commit them some time."""
        fresh = []
        for one in registers:
            if one.key in self.refused_keys:
                continue
            held = self.shown.get(one.key)
            if held is None or held.register.version < one.version:
                self.shown[one.key] = stored = StoredRegister(one, self._lsn())
                fresh.append(stored)
            elif held.register.version == one.version:
                assert held.register == one, "one version, two contents"
        self.pending.append((fresh, then))

    def _persist(self, event, other):
        """The rule that everything rests on: `low` never covers what is not durable here."""
        for stored in other.own():
            if stored.lsn <= event.low and stored.register.key not in self.refused_keys:
                held = self.disk.registers.get(stored.register.key)
                assert held is not None, (event, stored)
                assert held.register.version >= stored.register.version, (event, stored, held)
        self.disk.known = PeerKnowledge(event.store_id, event.low, event.boot_id, event.lsn)


class World:
    """`flying` holds datagrams as (link, from, bytes); control messages and stream frames stay in order. `recorded`
    are the edge's early messages, which anybody may deliver at any time."""

    def __init__(self, datagrams=ROOM):
        self.now = 100.0
        self.edge = Node("edge", "cloud", Section.REPORTED)
        self.cloud = Node("cloud", "edge", Section.DESIRED)
        self.nodes = {"edge": self.edge, "cloud": self.cloud}
        self.links = {}
        self.flying = []
        self.recorded = []
        self.datagrams = datagrams
        self.last_link = 0

    def other(self, node):
        return self.cloud if node is self.edge else self.edge

    def connect(self):
        self.last_link += 1
        self.links[self.last_link] = {"edge": [], "cloud": []}
        for node in self.nodes.values():
            node.session.attach(self.last_link, datagrams=self.datagrams, now=self.now)

    def disconnect(self, link):
        del self.links[link]
        for node in self.nodes.values():
            node.session.detach(link)

    def restart(self, node):
        for link in list(self.links):
            self.disconnect(link)
        node.start()

    def pump(self):
        """Take everything both nodes have to say now onto the links."""
        for link, streams in self.links.items():
            for name, node in self.nodes.items():
                while (frame := node.session.next_frame(link, self.datagrams, self.now)) is not None:
                    assert len(frame) <= self.datagrams
                    self.flying.append((link, name, frame))
                while (message := node.session.next_control(link)) is not None:
                    streams[name].append(("control", message))
                if (frame := node.session.next_stream_frame(link, self.now)) is not None:
                    streams[name].append(("state", frame))

    def deliver(self, at, keep=False):
        link, name, frame = self.flying[at] if keep else self.flying.pop(at)
        receiver = self.other(self.nodes[name])
        receiver.take(link, receiver.session.receive_state(link, frame, self.now), self.now, self.nodes[name])

    def record_early(self):
        """The edge wants to make a link; what goes ahead of it."""
        self.recorded += self.edge.session.early_messages([self.datagrams or ROOM] * 2)

    def deliver_early(self, at):
        """For the first time or once more."""
        registers, events = self.cloud.session.read_early(self.recorded[at])
        self.cloud.take(0, events, self.now, self.edge)
        self.cloud.keep(registers, lambda: None)

    def deliver_streams(self):
        for link, streams in list(self.links.items()):
            for name in ("edge", "cloud"):
                queue, streams[name] = streams[name], []
                receiver = self.other(self.nodes[name])
                for kind, data in queue:
                    session = receiver.session
                    receive = session.receive_control if kind == "control" else session.receive_state
                    receiver.take(link, receive(link, data, self.now), self.now, self.nodes[name])

    def step(self, seconds=0.005, commit=True, lose=lambda frame: False):
        """Everything once, in order, without mishap unless `lose` says so."""
        self.pump()
        while self.flying:
            if lose(self.flying[0][2]):
                del self.flying[0]
            else:
                self.deliver(0)
        self.deliver_streams()
        if commit:
            self.edge.commit()
            self.cloud.commit()
        self.now += seconds

    def calm(self, seconds=8.0):
        """Good weather until nothing is left to do."""
        if not self.links:
            self.connect()
        end = self.now + seconds
        while self.now < end:
            self.step()
            if not any(len(node.session.outbox) or node.pending for node in self.nodes.values()):
                return
        raise AssertionError("the outboxes do not empty")

    def check_equal(self):
        for node in self.nodes.values():
            other = self.other(node)
            for stored in node.own():
                if stored.register.key in other.refused_keys:
                    continue
                copy = other.disk.registers[stored.register.key].register
                assert copy.version >= stored.register.version
                assert copy.version > stored.register.version or copy == stored.register


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def outcomes(node):
    """How often each (key, version) was cleared."""
    return [(event.key, event.version) for event in node.events if isinstance(event, Durable | PeerRefused)]
