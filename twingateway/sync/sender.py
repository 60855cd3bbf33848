"""The sending half of one link: what has gone out, what of it has arrived, what must go again.

Strategy. What is lost or new (see `waiting`) goes before copies, which get what room is left. Each frame that carries
registers leaves a record. *seen* takes the record out of the resend timer and its registers out of the repeats; an
unseen record expires after about 1.25 RTT, and those of its registers that no later frame carries wait again, in
whatever version they have by then. *durable* clears the outbox entries that still hold exactly what the frame
carried. Seen but never durable (an acknowledgement was lost): asked again after two seconds and an RTT, ever less
often. All work is per frame or per register of a frame; only becoming the active link walks the outbox.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from math import inf

from twingateway.errors import ProtocolViolation
from twingateway.sync.builder import FrameBuilder
from twingateway.sync.events import Durable, Event, PeerRefused
from twingateway.sync.frame import UNKNOWN_NAME, Answer, Exceptions, Names
from twingateway.sync.names import NameGiver
from twingateway.sync.outbox import Entry, Outbox, Queue
from twingateway.sync.path import Path
from twingateway.sync.ranges import Ranges
from twingateway.sync.waiting import Waiting
from twingateway.twin.register import Register

_MAX_RECORDS = 8192
_INTERVALS = 512
#: What a stream may take to deliver; its bytes do not get lost, but the peer may have been too busy to take them.
_STREAM_PATIENCE = 30.0
_DURABLE_AFTER = 2.0
_MAX_DURABLE_AFTER = 60.0


class Record:
    """A sent frame that is not durable yet."""

    __slots__ = ("answered", "counts", "lost", "members", "names", "number", "seen", "sent_at", "timed")

    def __init__(
        self, number: int, sent_at: float, members: list[tuple[Entry, Register]], names: Names | None, timed: bool
    ) -> None:
        self.number = number
        self.sent_at = sent_at
        self.members = members
        self.names = names
        self.timed = timed
        """Sent where frames get lost: it has a resend timer and tells about the path."""
        self.seen = False
        self.lost = False
        self.counts = True
        """Whether its loss says something about the path; not so in silence."""
        self.answered: set[int] = set()
        """Indexes whose refusal was dealt with."""


class Sender:
    """`number` is the last frame number used."""

    def __init__(self, outbox: Outbox, datagrams: int, path: Path) -> None:
        self._outbox = outbox
        self._lacking = outbox.keys
        self._datagrams = datagrams
        self.waiting = Waiting(datagrams)
        self._repeats: deque[tuple[float, float, Entry, Register]] = deque()  # due, sent
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._unseen: OrderedDict[int, Record] = OrderedDict()  # those with a resend timer, in the order of sending
        self._streamed: OrderedDict[int, Record] = OrderedDict()  # unseen ones on a stream
        self._undurable: OrderedDict[int, float] = OrderedDict()  # seen ones, and when
        self._unresolved: deque[Record] = deque(maxlen=_MAX_RECORDS)
        self._seen = Ranges(_INTERVALS)
        self._durable = Ranges(_INTERVALS)
        self._durable_after = _DURABLE_AFTER
        self._unheeded_since: float | None = None
        self._undurable_since: float | None = None
        self.giver = NameGiver()
        self.path = path
        self.active = False
        self.number = 0
        self.frames = 0
        self.fresh_sends = 0
        self.sends = 0

    # --- who sends ----------------------------------------------------------------------------------------------

    def activate(self) -> None:
        """From now on this link sends the registers: everything in the outbox is unsent."""
        self.active = True
        for entry in self._outbox:
            entry.renew()
            entry.queue = Queue.NONE
            self.waiting.offer(entry)

    def retire(self) -> None:
        """Another link sends the registers from now on; this one only learns what became of its frames."""
        self.active = False
        self.waiting.clear()
        self._repeats.clear()
        self._unresolved.clear()
        self._unseen.clear()
        self._streamed.clear()
        self._undurable.clear()
        self._undurable_since = None

    def forget(self) -> None:
        """Acknowledgements of this link mean nothing any more."""
        self._records.clear()

    @property
    def in_flight(self) -> int:
        return len(self._unseen)

    def unheeded_since(self) -> float | None:
        """Since when registers go out of which the peer says nothing at all; None if there is nothing to be said."""
        if not self.active or not self._lacking:
            self._unheeded_since = None
        return self._unheeded_since

    def undurable_since(self) -> float | None:
        """Since when registers were seen and nothing at all became durable; None if there is nothing of that kind."""
        if not self.active or not self._lacking:
            self._undurable_since = None
        return self._undurable_since

    def next_due(self, flush_at: float) -> float:
        """When a timer wants `tick` or a repeat wants a frame, which goes not before `flush_at`; else never."""
        due = self._next_tick()
        if self._repeats:
            due = min(due, max(self._repeats[0][0], flush_at))
        return due

    def _next_tick(self) -> float:
        due = inf
        if self._unseen:
            due = next(iter(self._unseen.values())).sent_at + self.path.resend_after
        if self._streamed:
            due = min(due, next(iter(self._streamed.values())).sent_at + _STREAM_PATIENCE)
        if self._undurable:
            due = min(due, next(iter(self._undurable.values())) + self._durable_wait)
        return due

    def has_repeats(self, now: float) -> bool:
        """Whether a copy is due."""
        while self._repeats:
            due, sent, entry, register = self._repeats[0]
            if due > now:
                return False
            if entry.register is register and entry.live and not entry.seen and now - sent < self.path.resend_after:
                return True
            self._repeats.popleft()
        return False

    # --- out ----------------------------------------------------------------------------------------------------

    def fill_repeats(self, builder: FrameBuilder, now: float) -> None:
        """Copies of unseen registers that are due, in what room is left."""
        while self.has_repeats(now):
            entry = self._repeats[0][2]
            goes = entry.frame == builder.number or entry.queue is not Queue.NONE
            if not goes and not builder.carry(entry):
                return
            self._repeats.popleft()

    def sent(self, builder: FrameBuilder, now: float, by_stream: bool) -> None:
        """The builder's frame goes out now."""
        self.number = builder.number
        self.frames += 1
        members, names = builder.sent, builder.names
        if not members and names is None:
            return
        if self._unheeded_since is None:
            self._unheeded_since = now
        record = self._records[self.number] = Record(self.number, now, members, names, timed=not by_stream)
        due = now + self.path.gap
        for entry, register in members:
            self.sends += 1
            if entry.fresh:
                entry.fresh = False
                entry.copies = self.path.copies - 1
                self.fresh_sends += 1
            if entry.copies > 0 and record.timed:
                entry.copies -= 1
                self._repeats.append((due, now, entry, register))
        if record.timed:
            self._unseen[self.number] = record
            self._unresolved.append(record)
        else:
            self._streamed[self.number] = record
        if len(self._records) > _MAX_RECORDS:
            _, oldest = self._records.popitem(last=False)
            for entry, register in oldest.members:
                if entry.register is register:
                    entry.seen = False
            self._expire(oldest)

    def _expire(self, record: Record) -> None:
        """Send again what only this frame carries."""
        self._untime(record.number)
        record.lost = not record.seen
        for entry, register in record.members:
            if entry.live and entry.register is register and not entry.seen and entry.frame == record.number:
                entry.copies = self.path.copies - 1
                self._resend(entry)

    def _untime(self, number: int) -> None:
        self._unseen.pop(number, None)
        self._streamed.pop(number, None)
        self._undurable.pop(number, None)

    def _resend(self, entry: Entry) -> None:
        entry.seen = False
        entry.frame = 0
        if self.active:
            self.waiting.again(entry)

    # --- time ---------------------------------------------------------------------------------------------------

    @property
    def _durable_wait(self) -> float:
        return self._durable_after + (self.path.rtt or 0.0)

    def tick(self, now: float) -> None:
        """Expire what has waited long enough."""
        if now < self._next_tick():
            return
        for timed, patience in ((self._unseen, self.path.resend_after), (self._streamed, _STREAM_PATIENCE)):
            while timed:
                record = next(iter(timed.values()))
                if record.sent_at + patience > now:
                    break
                self._expire(record)
        asked = False
        while self._undurable:
            number, seen_at = next(iter(self._undurable.items()))
            if seen_at + self._durable_wait > now:
                break
            del self._undurable[number]
            for entry, register in self._records[number].members:
                if entry.live and entry.register is register and entry.seen:
                    asked = True
                    self._resend(entry)
        if asked:
            self._durable_after = min(self._durable_after * 2, _MAX_DURABLE_AFTER)

    def spoken_to(self) -> None:
        """The end of a silence: what was lost in it says nothing about the path."""
        for record in self._unresolved:
            record.counts = False

    # --- in -----------------------------------------------------------------------------------------------------

    def check(self, answer: Answer) -> None:
        """Raises ProtocolViolation for the acknowledgement of a frame that was never sent."""
        if answer.highest > self.number:
            raise ProtocolViolation(f"frame {answer.highest} is acknowledged, {self.number} was the last sent")

    def acknowledged(self, answer: Answer, now: float) -> list[Event]:
        """What the peer says of our frames; the answer was checked."""
        for first, last in answer.seen:
            for fresh in self._seen.add(first, last):
                self._saw(*fresh, answer.seen[0][1], now)
        self._resolve()
        events: list[Event] = []
        progress = False
        for first, last in answer.durable:
            for low, high in self._durable.add(first, last):
                progress = True
                for number in self._recorded(low, high):
                    record = self._settle(number)
                    if record is not None:
                        self._clear(record.members, events)
        for item in answer.exceptions:
            self._except(item, events)
        if events:
            self._durable_after = _DURABLE_AFTER
        if events or progress:
            self._undurable_since = now if self._undurable else None
        return events

    def _recorded(self, first: int, last: int) -> Iterable[int]:
        """The numbers between these that may have a record; few, however much a peer acknowledges at once."""
        if last - first < len(self._records):
            return range(first, last + 1)
        return [number for number in self._records if first <= number <= last]

    def _settle(self, number: int) -> Record | None:
        """Nothing more is to be learnt about this frame."""
        record = self._records.pop(number, None)
        if record is not None:
            record.seen = True
            self._untime(number)
        return record

    def _saw(self, first: int, last: int, highest: int, now: float) -> None:
        self._unheeded_since = None
        for number in self._recorded(first, last):
            record = self._records.get(number)
            if record is None:
                continue
            record.seen = True
            if record.names is not None:
                self.giver.seen(record.names)
            if not self.active:
                continue
            self._unseen.pop(number, None)
            self._streamed.pop(number, None)
            self._undurable[number] = now
            if self._undurable_since is None:
                self._undurable_since = now
            if number == highest and (record.timed or not self._datagrams):
                self.path.sample(now - record.sent_at)
            for entry, register in record.members:
                if entry.register is register:
                    entry.seen = True

    def _resolve(self) -> None:
        """Tell the path which frames arrived, in the order of sending, as far as that is known."""
        while self._unresolved:
            record = self._unresolved[0]
            if not record.seen and not (record.lost and record.number < self._seen.highest):
                return
            self._unresolved.popleft()
            if record.counts or record.seen:
                self.path.resolved(not record.seen)

    def _clear(self, members: list[tuple[Entry, Register]], events: list[Event]) -> None:
        for entry, register in members:
            if entry.live and entry.register is register:
                self._outbox.clear(entry)
                events.append(Durable(register.key, register.version, entry.lsn))

    def _except(self, item: Exceptions, events: list[Event]) -> None:
        record = self._records.get(item.frame)
        if record is None:
            return
        refused: set[int] = set()
        for index, code, message in item.refused:
            refused.add(index)
            if index >= len(record.members) or index in record.answered:
                continue
            record.answered.add(index)
            entry, register = record.members[index]
            if not entry.live:
                continue
            if code == UNKNOWN_NAME:
                self.giver.unknown(register.key)
                self._resend(entry)
            elif entry.register is register:
                self._outbox.clear(entry)
                events.append(PeerRefused(register.key, register.version, code, message))
        if item.durable:
            if item.first == 0 and item.last >= len(record.members) - 1:
                self._settle(item.frame)
            members = enumerate(record.members[item.first : item.last + 1], item.first)
            self._clear([member for index, member in members if index not in refused], events)
