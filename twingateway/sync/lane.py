"""One link: its sender, its receiver, its control messages, and when to build a frame.

Frames go out at once when the link was idle, at most every 4 ms (2 ms, see `Path`) when it is busy, and without
waiting when a whole datagram's worth is there. When what we sent stays unanswered for several resend times the link
is *silent*: nothing goes out then but probes, small frames with the newest state, every 50 ms for a minute and then
ever less often.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TypeAlias

from twingateway.sync.builder import FrameBuilder
from twingateway.sync.events import Event
from twingateway.sync.frame import MAX_FRAME, Frame
from twingateway.sync.hello import Hello
from twingateway.sync.outbox import DATAGRAM_QUEUES, Outbox, Queue
from twingateway.sync.path import FLUSH, Path
from twingateway.sync.quality import Quality
from twingateway.sync.receiver import Receiver
from twingateway.sync.resume import Resume
from twingateway.sync.sender import Sender
from twingateway.twin.register import Register

#: Asked when a frame is begun: `Session.top` and `Session.low`.
Position: TypeAlias = Callable[[], tuple[int, int]]

#: Less than this is no room for a frame.
_MIN_ROOM = 128
#: What a frame takes besides its answer and registers.
_HEAD = 40
_STREAM_ROOM = 15 * 1024
#: A register takes at most about so many bytes as long as values are numbers.
_BYTES_PER_REGISTER = 24
_PROBE_ROOM = 100
_PROBE_EVERY = 0.05
_PROBE_SLOWEST = 1.0
_PROBE_STEADILY = 60.0
#: Silence begins after so many resend times without an answer, but not before so many seconds.
_SILENT_RESENDS = 3
_SILENT_AFTER = 0.2
#: Seconds in which another frame may take along that the outbox is empty, and how often it is said.
_ANNOUNCE_AFTER = 0.1
_ANNOUNCE_TIMES = 2


class Lane:
    """`low_holds`: the peer's hello was answered on this link, so `low` may be told."""

    def __init__(self, link: int, outbox: Outbox, datagrams: int, path: Path, now: float) -> None:
        self.link = link
        self.datagrams = datagrams
        self.sender = Sender(outbox, datagrams, path)
        self.receiver = Receiver(path)
        self.control: deque[bytes] = deque()
        self.hello: Hello | None = None
        self.is_eager = True
        """Registers may go here before the peer has introduced itself; see `Session.attach`."""
        self.is_former = False
        """The peer has restarted since; see `FormerProcess`."""
        self.early: list[bytes] = []
        """State frames that came before the hello."""
        self.resume: Resume | None = None
        """What is still to be answered with `Session.resume`."""
        self.theirs = b""
        """The peer's bucket hashes."""
        self.low_holds = False
        self._outbox = outbox
        self._lacking = outbox.keys
        self._now = now
        self._flush_at = now
        self._announce_at = 0.0
        self._announcements = 0
        self._stream_turn = False
        self._unanswered_since: float | None = None
        self._probe_at = 0.0
        self._probe_every = _PROBE_EVERY

    # --- in -----------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> tuple[list[Event], tuple[Register, ...]]:
        """What became of our registers, and the peer's. Raises ProtocolViolation and then has changed nothing."""
        self._now = now
        if frame.answer is not None:
            self.sender.check(frame.answer)
        registers = self.receiver.receive(frame)
        if self.is_silent(now):
            self.sender.spoken_to()
        self._unanswered_since = None
        self._probe_every = _PROBE_EVERY
        events = self.sender.acknowledged(frame.answer, now) if frame.answer is not None else []
        return events, registers

    def standing(self) -> tuple[bool, bool, int]:
        """Of several links the greatest sends."""
        return not self.is_former, self.is_eager or self.hello is not None, self.link

    @property
    def silent(self) -> bool:
        """Whether the link was silent when it was last used."""
        return self.is_silent(self._now)

    def quality(self) -> Quality:
        sender = self.sender
        return Quality(
            rtt=sender.path.rtt,
            rtt_variation=sender.path.rtt_variation,
            loss=sender.path.loss,
            burst=sender.path.burst,
            copies=sender.path.copies,
            frames_sent=sender.frames,
            frames_received=self.receiver.frames,
            redundancy=sender.sends / sender.fresh_sends if sender.fresh_sends else 1.0,
            in_flight=sender.in_flight,
            silent=self.silent,
        )

    def former(self, hello: Hello) -> bool:
        """Whether the peer introduced itself here as another process than in this hello."""
        return self.hello is not None and self.hello.process != hello.process

    def outdated(self) -> None:
        """The peer has restarted since: what comes on this link still acknowledges to a process that is gone."""
        self.low_holds = False
        self.sender.forget()

    def announce(self, now: float) -> None:
        """The outbox is empty: tell the peer how far it has everything."""
        self._announcements = _ANNOUNCE_TIMES
        self._announce_at = now + _ANNOUNCE_AFTER

    # --- when ---------------------------------------------------------------------------------------------------

    @property
    def _silent_from(self) -> float | None:
        """When the peer will have left us without an answer for so long that only probes make sense; None if it owes
        us none."""
        if self._unanswered_since is None or not self.datagrams or not self.sender.active or not self._lacking:
            return None
        return self._unanswered_since + max(_SILENT_RESENDS * self.sender.path.resend_after, _SILENT_AFTER)

    def is_silent(self, now: float) -> bool:
        """Whether that has come."""
        begin = self._silent_from
        return begin is not None and now >= begin

    def next_deadline(self) -> float | None:
        """See `Session.next_deadline`."""
        sender, flush_at, small = self.sender, self._flush_at, self.sender.waiting.small
        silent_from = self._silent_from
        silent = silent_from is not None and self._now >= silent_from
        due = inf
        if self.receiver.has_answer or sender.waiting.large or (small and not silent):
            due = flush_at
            if self.datagrams and small * _BYTES_PER_REGISTER >= self.datagrams and self._now < due:
                due = self._now
        if self._announcements and self.low_holds:
            due = min(due, max(self._announce_at, flush_at))
        if silent:
            due = min(due, self._probe_at)
        elif sender.active:
            if silent_from is not None and silent_from < due:
                due = silent_from
            next_due = sender.next_due(flush_at)
            if next_due < due:
                due = next_due
        return None if due == inf else due

    # --- out ----------------------------------------------------------------------------------------------------

    def next_frame(
        self, room: int, now: float, position: Position, *, routine: bool = True, roomy: bool = False
    ) -> bytes | None:
        """Without `routine` with what is urgent only; `roomy`: the link has room to spare for more copies."""
        room = min(room, self.datagrams)
        if room < _MIN_ROOM:
            return None
        self._now = now
        self.sender.path.pace(roomy=roomy)
        self.sender.tick(now)
        if self.is_silent(now):
            if now >= self._probe_at:
                return self._probe(room, now, position)
            return self._bare(room, now, position) if now >= self._flush_at else None
        waiting = self.sender.waiting
        count = waiting.small if routine else waiting.urgent
        if now >= self._flush_at or count * _BYTES_PER_REGISTER >= room:
            return self._ordinary(room, now, position, routine)
        return None

    def _start(self, room: int, position: Position) -> FrameBuilder:
        """A frame with nothing in it yet but what is to be answered."""
        answer = self.receiver.answer(room - _HEAD)
        top, low = position()
        told = low if self.low_holds else 0
        return FrameBuilder(self.sender.number + 1, top, told, answer, self.sender.giver, room)

    def _finish(self, builder: FrameBuilder, now: float, by_stream: bool = False) -> bytes:
        frame = builder.encode()
        self.sender.sent(builder, now, by_stream)
        self._flush_at = now + (self.sender.path.every if builder.registers else FLUSH)
        if self._announcements and self.low_holds:
            self._announcements -= 1
            self._announce_at = now + _ANNOUNCE_AFTER
        if self._unanswered_since is None and (builder.registers or builder.names is not None):
            self._unanswered_since = now
        return frame

    def _announcing(self, now: float) -> bool:
        return self._announcements > 0 and self.low_holds and now >= self._announce_at

    def _ordinary(self, room: int, now: float, position: Position, routine: bool) -> bytes | None:
        sender = self.sender
        registers = sender.active and (sender.waiting.small > 0 or sender.has_repeats(now))
        if not (registers or self.receiver.has_answer or self._announcing(now)):
            return None
        builder = self._start(room, position)
        if registers:
            sender.waiting.fill(builder, DATAGRAM_QUEUES if routine else (Queue.URGENT,))
            if routine:
                sender.fill_repeats(builder, now)
        if builder.worthwhile or self._announcing(now):
            return self._finish(builder, now)
        return None

    def _bare(self, room: int, now: float, position: Position) -> bytes | None:
        """Nothing but acknowledgements."""
        if not self.receiver.has_answer:
            return None
        builder = self._start(room, position)
        return self._finish(builder, now) if builder.worthwhile else None

    def _probe(self, room: int, now: float, position: Position) -> bytes:
        builder = self._start(min(room, _PROBE_ROOM), position)
        newest = list(self._outbox.newest(8))
        for entry in newest:
            builder.carry(entry)
        if not builder.registers:
            builder = FrameBuilder(builder.number, builder.top, 0, None, self.sender.giver, room)
            if not any(builder.carry(entry) for entry in newest):
                builder.add_name(newest[0])
        silent_for = now - (self._silent_from or now)
        if silent_for > _PROBE_STEADILY:
            self._probe_every = min(2 * self._probe_every, _PROBE_SLOWEST)
        self._probe_at = now + self._probe_every
        return self._finish(builder, now)

    def next_stream_frame(self, now: float, position: Position) -> bytes | None:
        self._now = now
        waiting = self.sender.waiting
        if self.datagrams and not waiting.large:
            return None
        self.sender.tick(now)
        full = waiting.small * _BYTES_PER_REGISTER >= _STREAM_ROOM
        if now < self._flush_at and not full and not waiting.large:
            return None
        large = waiting.stream_size()
        if self.datagrams:
            return self._stream((Queue.STREAM,), large, now, position) if large else None
        self._stream_turn = bool(large) and not self._stream_turn
        if self._stream_turn:
            return self._stream((Queue.STREAM, *DATAGRAM_QUEUES), large, now, position)
        return self._stream((*DATAGRAM_QUEUES, Queue.STREAM), large, now, position)

    def _stream(self, queues: tuple[Queue, ...], large: int, now: float, position: Position) -> bytes | None:
        builder = self._start(min(_STREAM_ROOM + large, MAX_FRAME), position)
        if self.sender.active:
            self.sender.waiting.fill(builder, queues)
        if builder.worthwhile or self._announcing(now):
            return self._finish(builder, now, by_stream=True)
        return None
