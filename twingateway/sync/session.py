"""Everything two nodes keep between them across links: one outbox, what each knows of the other's store, the links.

A link has a sender and a receiver of its own (`Lane`); frame numbers and name numbers mean something on it only. All
links receive and acknowledge; the newest sends the registers. `low` is told on a link only after the peer's hello was
answered there, because only then is the outbox known to hold everything that the peer's store lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twingateway.errors import ProtocolViolation
from twingateway.sync import buckets
from twingateway.sync.acquaintance import Acquaintance
from twingateway.sync.early import early_messages, read_early
from twingateway.sync.events import (
    CompareNeeded,
    ControlReceived,
    Event,
    FormerProcess,
    LocalRolledBack,
    RegistersReceived,
    ResumeNeeded,
)
from twingateway.sync.frame import decode_frame
from twingateway.sync.hello import (
    BUCKETS,
    COMPARE,
    HELLO,
    RESERVED,
    Hello,
    decode_control,
    encode_control,
    encode_hello,
    parse_hello,
)
from twingateway.sync.knowledge import LocalStore, PeerKnowledge
from twingateway.sync.lane import Lane
from twingateway.sync.outbox import Outbox
from twingateway.sync.path import Path
from twingateway.sync.quality import Quality
from twingateway.sync.resume import Position, Resume, decide, lacking
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

#: State frames that may come before the hello on a link; more are as good as lost.
EARLY_FRAMES = 64


class Session:
    """One per peer. Without I/O: times are monotonic seconds, and the caller moves the bytes.

    `last_lsn` is the highest lsn that a register of this store has; `put` raises it. `unsettled` gives an lsn up to
    the lowest that is issued but whose register is not both durable here and put, None for none: the peer is never
    told that it has everything up to this or a later one.
    """

    def __init__(
        self,
        local: LocalStore,
        peer: str,
        known: PeerKnowledge | None,
        last_lsn: int,
        unsettled: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.outbox = Outbox()
        self.last_lsn = last_lsn
        self._local = local
        self._peer = peer
        self._acquaintance = Acquaintance(known)
        self._complete_for: tuple[bytes, bytes] | None = None
        self._rolled_back = False
        self._unsettled = unsettled
        self._lanes: dict[int, Lane] = {}
        self._active: Lane | None = None
        self._path: Path | None = None
        """The newest link's, which the next one begins with."""

    @property
    def known(self) -> PeerKnowledge | None:
        """What is known of the peer's store, including what the owner may not have persisted yet."""
        return self._acquaintance.known

    # --- the outbox -----------------------------------------------------------------------------------------------

    def put(self, stored: StoredRegister, *, urgent: bool = False) -> None:
        """Send this version unless a newer one is waiting. Raises InvalidValue or TooLarge for what cannot be sent.

        `urgent` registers (desired, ack, lifecycle, presence) go before routine reports.
        """
        if stored.lsn > self.last_lsn:
            self.last_lsn = stored.lsn
        entry = self.outbox.put(stored, urgent)
        if entry is not None and self._active is not None:
            self._active.sender.waiting.offer(entry)

    @property
    def low(self) -> int:
        """Every lsn up to this is durable here, and there or none of their business, if the outbox is complete."""
        return self._position()[1]

    @property
    def top(self) -> int:
        """Every register here up to this lsn is durable here. What a peer was told of it can be forgotten only by a
        store that was replaced by an older copy."""
        unsettled = self._unsettled()
        return self._told(self.last_lsn if unsettled is None else min(self.last_lsn, unsettled - 1))

    def _position(self) -> tuple[int, int]:
        """`top` and `low`."""
        top = self.top
        return top, self._told(min(self.outbox.low(self.last_lsn), top))

    def _told(self, lsn: int) -> int:
        gap = self._local.gap(lsn)
        return lsn if gap is None else gap[0]

    # --- links ----------------------------------------------------------------------------------------------------

    def attach(self, link: int, *, datagrams: int, now: float, eager: bool = True) -> None:
        """A new link, numbered higher than all before. `datagrams`: the largest state frame, in bytes, that fits a
        datagram on it; 0 when it has none. `eager`: the peer is alive at its other end, as far as this end can know,
        so the registers go there at once; otherwise when it has introduced itself, unless there is no other link."""
        lane = self._lanes[link] = Lane(link, self.outbox, datagrams, Path(self._path), now)
        lane.is_eager = eager
        self._path = lane.sender.path
        known = self.known or PeerKnowledge(b"")
        hello = Hello(
            self._local.node,
            self._local.store_id,
            self._local.boot_id,
            self.top,
            known.store_id,
            known.low,
            known.boot_id,
            known.lsn,
            self._local.opened,
        )
        lane.control.append(encode_hello(hello))
        self._activate_newest()

    def detach(self, link: int) -> None:
        """The link is gone."""
        self._lanes.pop(link, None)
        self._activate_newest()

    @property
    def active(self) -> int | None:
        """The link that the registers go on; None while there is none."""
        return None if self._active is None else self._active.link

    def _activate_newest(self) -> None:
        newest = max(self._lanes.values(), key=Lane.standing, default=None)
        if newest is self._active:
            return
        if self._active is not None:
            self._active.sender.retire()
        self._active = newest
        if newest is not None and not self._rolled_back:
            newest.sender.activate()

    def met(self, link: int) -> bool:
        """Whether the peer introduced itself on this link."""
        lane = self._lanes.get(link)
        return lane is not None and lane.hello is not None

    def unheeded_since(self, link: int) -> float | None:
        """Since when this link's peer has said nothing of what is sent to it; None if there is nothing to be said."""
        lane = self._lanes.get(link)
        return None if lane is None else lane.sender.unheeded_since()

    def undurable_since(self, link: int) -> float | None:
        """Since when this link's peer has made nothing durable of what it has seen; None if there is nothing."""
        lane = self._lanes.get(link)
        return None if lane is None else lane.sender.undurable_since()

    def quality(self, link: int) -> Quality:
        return self._lanes[link].quality()

    # --- what comes in --------------------------------------------------------------------------------------------

    def receive_state(self, link: int, frame: bytes, now: float) -> list[Event]:
        """One state frame, from a datagram or a stream. Raises ProtocolViolation and then has changed nothing.

        Before the peer's hello it is put aside: of what is kept, the boot must be known that it came from, or a store
        restored from a backup could not be told from the one it replaced.
        """
        lane = self._lanes.get(link)
        if lane is None or lane.is_former:
            return []
        parsed = decode_frame(frame)
        if lane.hello is None:
            if len(lane.early) < EARLY_FRAMES:
                lane.early.append(frame)
            return []
        if self._is_replaced(lane):
            return []
        events, registers = lane.receive(parsed, now)
        if events and not self.outbox and self._active is not None:
            self._active.announce(now)
        if registers:
            events.append(RegistersReceived(parsed.number, registers))
        return events + self._acquaintance.hear(lane.hello.process, parsed.low, parsed.top)

    def receive_control(self, link: int, message: bytes, now: float) -> list[Event]:
        """One control message. Raises ProtocolViolation and then has changed nothing."""
        lane = self._lanes.get(link)
        if lane is None or lane.is_former:
            return []
        kind, body = decode_control(message)
        if kind == HELLO:
            events = self._hello(lane, parse_hello(body), now)
            early, lane.early = lane.early, []
            return events + [event for frame in early for event in self.receive_state(link, frame, now)]
        if lane.hello is None:
            raise ProtocolViolation(f"{kind} before hello")
        if kind == COMPARE:
            return [CompareNeeded()]
        if kind == BUCKETS:
            return self._buckets(lane, body)
        return [ControlReceived(kind, body)]

    def _hello(self, lane: Lane, hello: Hello, now: float) -> list[Event]:
        if lane.hello is not None:
            raise ProtocolViolation("a second hello")
        if hello.node != self._peer:
            raise ProtocolViolation(f"{hello.node!r} is not {self._peer!r}", 0x87)
        if any(newer.former(hello) for newer in self._lanes.values() if newer.link > lane.link):
            lane.hello = hello
            lane.outdated()
            return []
        if self._acquaintance.is_former(hello, self._here()):
            lane.hello = hello
            lane.is_former = True
            self._activate_newest()
            return [FormerProcess()]
        position = Position(self.known.store_id if self.known else b"", self._complete_for)
        decision = decide(self._local, self.last_lsn, position, hello)
        lane.hello = hello
        events = self._meet(hello)
        self._activate_newest()
        if decision is Resume.ROLLED_BACK:
            self._rolled_back = True
            if self._active is not None:
                self._active.sender.retire()
            return [*events, LocalRolledBack(self._local.forked_at(hello.peer_boot_id, hello.low, hello.peer_lsn))]
        if decision is Resume.NOTHING:
            self._completed(lane, now)
        elif decision is Resume.BUCKETS:
            lane.control.append(encode_control(COMPARE, {}))
        else:
            events.append(ResumeNeeded(hello))
        lane.resume = decision if decision is not Resume.NOTHING else None
        return events

    def _is_replaced(self, lane: Lane) -> bool:
        """Whether the peer's present process is here on another link. What its former one told may have been lost
        with its store, and the present one has been asked what it lacks: it says again what it has."""
        known = self.known
        if known is None or lane.hello is None or lane.hello.process == known.process:
            return False
        return known.process in self._here()

    def _here(self) -> set[tuple[bytes, bytes]]:
        """The peer's processes that introduced themselves on a link that is here."""
        return {lane.hello.process for lane in self._lanes.values() if lane.hello is not None}

    def _meet(self, hello: Hello) -> list[Event]:
        """Note the peer's store and boot. What a former boot acknowledged late may not be true of this one."""
        events = self._acquaintance.meet(hello)
        for lane in self._lanes.values() if events else ():
            if lane.former(hello):
                lane.outdated()
        return events

    def _buckets(self, lane: Lane, body: Mapping[str, Any]) -> list[Event]:
        theirs = body.get("hashes")
        if not isinstance(theirs, bytes) or len(theirs) != buckets.COUNT * buckets.HASH_SIZE:
            raise ProtocolViolation("buckets: 256 hashes of 8 bytes are due")
        if lane.resume is not Resume.BUCKETS or lane.theirs or lane.hello is None:
            raise ProtocolViolation("buckets nobody asked for")
        lane.theirs = theirs
        return [ResumeNeeded(lane.hello)]

    # --- ahead of a link ------------------------------------------------------------------------------------------

    def early_messages(self, rooms: Sequence[int]) -> list[bytes]:
        """What may go ahead of the handshake of a link to come: at most one message for each room, in bytes. Nothing
        unless the peer knows this process; and all of it is sent again when the link is attached."""
        if self._complete_for is None or self._rolled_back:
            return []
        return list(early_messages(self._local.boot_id, self.outbox, self.top, rooms))

    def read_early(self, message: bytes) -> tuple[tuple[Register, ...], list[Event]]:
        """The registers of a message that came ahead of a handshake, to be offered like any others, but not to be
        answered; none if it is not from the process that last introduced itself. The events are to be dealt with
        first. Raises ProtocolViolation."""
        boot_id, top, registers = read_early(message)
        if self.known is None or self.known.boot_id != boot_id:
            return (), []
        return registers, self._acquaintance.hear(self.known.process, 0, top)

    # --- answers to events ----------------------------------------------------------------------------------------

    def resume(self, link: int, registers: Iterable[StoredRegister], now: float) -> None:
        """The answer to ResumeNeeded: every register in the peer's scope; what the peer lacks of them is sent."""
        lane = self._lanes.get(link)
        if lane is None or lane.hello is None or lane.resume is None or lane.resume is Resume.ROLLED_BACK:
            return
        for stored in lacking(lane.resume, lane.hello.low, lane.theirs, registers):
            self.put(stored, urgent=stored.register.key.section is not Section.REPORTED)
        lane.resume = None
        self._completed(lane, now)

    def _completed(self, lane: Lane, now: float) -> None:
        """The outbox holds everything that the peer, as of this hello, lacks."""
        assert lane.hello is not None
        self._complete_for = lane.hello.process
        lane.low_holds = True
        if not self.outbox and lane.hello.low < self.low:
            lane.announce(now)

    def compare(self, link: int, registers: Iterable[StoredRegister]) -> None:
        """The answer to CompareNeeded: every register here that the peer would send us."""
        lane = self._lanes.get(link)
        if lane is not None:
            hashes = buckets.hashes(stored.register for stored in registers)
            lane.control.append(encode_control(BUCKETS, {"hashes": hashes}))

    def committed(self, link: int, frame: int) -> None:
        """All registers of that received frame are durable here, but for those refused before."""
        lane = self._lanes.get(link)
        if lane is not None:
            lane.receiver.committed(frame)

    def refuse(self, link: int, frame: int, key: RegisterKey, version: Version, code: str, message: str) -> None:
        """One register of a received frame will not be kept; call it before `committed`."""
        lane = self._lanes.get(link)
        if lane is not None:
            lane.receiver.refuse(frame, key, version, code, message)

    # --- what goes out --------------------------------------------------------------------------------------------

    def send_control(self, link: int, kind: str, body: Mapping[str, Any]) -> None:
        """An application message, reliable and in order on this link only. Raises ValueError for a reserved kind or
        a body that is too large (1 MiB), too deep (20) or not made of plain values and bytes."""
        if kind in RESERVED:
            raise ValueError(f"{kind} is the session's own")
        lane = self._lanes.get(link)
        if lane is not None:
            lane.control.append(encode_control(kind, body))

    def next_control(self, link: int) -> bytes | None:
        """The next message for the control stream."""
        lane = self._lanes.get(link)
        return lane.control.popleft() if lane is not None and lane.control else None

    def next_frame(
        self, link: int, room: int, now: float, *, routine: bool = True, roomy: bool = False
    ) -> bytes | None:
        """The next state frame of at most `room` bytes for a datagram, built from the outbox at this very moment.
        Without `routine` with what is urgent only. `roomy`: there is room to spare for more copies."""
        lane = self._lanes.get(link)
        return lane.next_frame(room, now, self._position, routine=routine, roomy=roomy) if lane else None

    def next_stream_frame(self, link: int, now: float) -> bytes | None:
        """The next state frame for the data stream: registers too big for a datagram, or everything where there are
        no datagrams. Call it only while few bytes are unsent on that stream."""
        lane = self._lanes.get(link)
        return lane.next_stream_frame(now, self._position) if lane is not None else None

    def next_deadline(self, link: int) -> float | None:
        """When `next_frame` or `next_stream_frame` may have something to say though nothing new was put (resend,
        repeat, acknowledgement, probe). A time not after now means: as soon as there is room."""
        lane = self._lanes.get(link)
        return lane.next_deadline() if lane is not None else None
