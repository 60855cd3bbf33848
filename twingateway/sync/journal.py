"""The journal between two nodes: every class in order and reliably, each on a stream (*channel*) of its own.

A link's streams break off with it; what was not acknowledged is sent again on the next one, and the receiving store
takes each entry once (see `twin.entry.after`). Batches are numbered per link, class and direction; an acknowledgement
says that all up to one are durable. The newest link sends, all receive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from twingateway.errors import ProtocolViolation
from twingateway.sync.journal_sender import WINDOW, ClassSender, Track, Waiting
from twingateway.sync.journal_wire import (
    Batch,
    NamesIn,
    Resume,
    decode_message,
    encode_ack,
    encode_resume,
)
from twingateway.twin.entry import ALARM, JournalEntry, JournalKey

#: Channels of a link.
MAX_CHANNELS = 8
#: A peer that leaves this much behind uncommitted batches ignores the window.
MAX_UNCOMMITTED = 4 * WINDOW


@dataclass(frozen=True, slots=True)
class EntriesReceived:
    """Make these durable, each once, then `JournalSession.committed`."""

    channel: int
    number: int
    entries: list[JournalEntry]


@dataclass(frozen=True, slots=True)
class EntriesDelivered:
    """Everything queued in the class up to `position` is durable at the peer: delete it (late or not at all does no
    harm)."""

    class_name: str
    position: int


JournalEvent: TypeAlias = EntriesReceived | EntriesDelivered


@dataclass(slots=True)
class _Channel:
    class_name: str
    ready: bool = False
    """The peer's resume has come, with what it has."""
    theirs: JournalKey | None = None
    track: Track = field(default_factory=Track)
    names: NamesIn = field(default_factory=NamesIn)
    received: int = 0
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and bytes of batches received."""
    waiting_bytes: int = 0
    committed: int = 0
    told: int = 0
    resume: bytes | None = None


class JournalSession:
    """One per peer, without I/O. `classes`: by priority, the first goes first. `namespace`: the peer's. `sends`:
    whether the queues in the store are for this peer. `journal_id`: of the journal that this opening of the store
    writes."""

    def __init__(self, classes: Sequence[str], namespace: str, *, sends: bool, journal_id: bytes) -> None:
        self._classes = list(classes[:MAX_CHANNELS])
        self._namespace = namespace
        self._senders = {name: ClassSender(journal_id) for name in self._classes} if sends else {}
        self._links: dict[int, dict[int, _Channel]] = {}
        self._answering: set[int] = set()
        """Links on which something may be to be answered."""
        self._opener: dict[int, bool] = {}
        self._active: int | None = None
        self._last: dict[str, JournalKey] = {}

    # --- links ----------------------------------------------------------------------------------------------------

    def attach(self, link: int, *, opens: bool) -> None:
        """A new link, numbered higher than all before; `opens`: its streams are for us to open."""
        self._links[link] = {}
        self._opener[link] = opens
        for channel, class_name in enumerate(self._classes) if opens else ():
            self._open(link, channel, class_name)
        self._activate_newest()

    def detach(self, link: int) -> None:
        if self._links.pop(link, None) is not None:
            del self._opener[link]
            self._answering.discard(link)
            self._activate_newest()

    def _activate_newest(self) -> None:
        newest = max(self._links, default=None)
        if newest == self._active:
            return
        self._active = newest
        for sender in self._senders.values():
            sender.stop()
        for known in () if newest is None else self._links[newest].values():
            self._start(known)

    def _start(self, known: _Channel) -> None:
        sender = self._senders.get(known.class_name)
        if known.ready and sender is not None:
            sender.start(known.track, known.theirs)

    def _open(self, link: int, channel: int, class_name: str) -> _Channel:
        opened = self._links[link][channel] = _Channel(class_name)
        opened.resume = encode_resume(Resume(class_name, self._last.get(class_name)))
        self._answering.add(link)
        return opened

    def in_flight(self, class_name: str) -> int:
        """Bytes of a class that were sent and not acknowledged."""
        return self._senders[class_name].in_flight if class_name in self._senders else 0

    # --- what comes in --------------------------------------------------------------------------------------------

    def receive(self, link: int, channel: int, message: bytes) -> list[JournalEvent]:
        """One message of one channel. Raises ProtocolViolation; the link is of no further use then."""
        channels = self._links.get(link)
        if channels is None:
            return []
        parsed = decode_message(message)
        if isinstance(parsed, Resume):
            self._resume(link, channel, parsed)
            return []
        known = channels.get(channel)
        if known is None:
            raise ProtocolViolation("a journal stream begins with resume")
        if isinstance(parsed, Batch):
            return [self._batch(channel, known, parsed, len(message))]
        return self._acked(link, known, parsed)

    def _resume(self, link: int, channel: int, resume: Resume) -> None:
        known = self._links[link].get(channel)
        if known is None:
            if self._opener[link] or not 0 <= channel < MAX_CHANNELS:
                raise ProtocolViolation("a journal stream that nobody opened")
            if any(other.class_name == resume.class_name for other in self._links[link].values()):
                raise ProtocolViolation(f"a second stream for {resume.class_name}")
            known = self._open(link, channel, resume.class_name)
        if known.ready or known.class_name != resume.class_name:
            raise ProtocolViolation("a journal stream is resumed once, for its class")
        known.ready = True
        known.theirs = resume.last
        if link == self._active:
            self._start(known)

    def _batch(self, channel: int, known: _Channel, batch: Batch, size: int) -> EntriesReceived:
        if batch.number != known.received + 1:
            raise ProtocolViolation(f"batch {batch.number} after {known.received}")
        if known.waiting_bytes > MAX_UNCOMMITTED:
            raise ProtocolViolation("more journal entries than the window allows", 0x97)
        entries = known.names.entries(batch, known.class_name, self._namespace)
        known.received = batch.number
        known.uncommitted.append((batch.number, size))
        known.waiting_bytes += size
        return EntriesReceived(channel, batch.number, entries)

    def _acked(self, link: int, known: _Channel, number: int) -> list[JournalEvent]:
        if number > known.track.number:
            raise ProtocolViolation(f"batch {number} was never sent")
        if link != self._active:
            return []
        return self._moved(known.class_name, self._senders[known.class_name].acked(number))

    def _moved(self, class_name: str, moved: bool) -> list[JournalEvent]:
        return [EntriesDelivered(class_name, self._senders[class_name].delivered)] if moved else []

    # --- answers ----------------------------------------------------------------------------------------------------

    def committed(self, link: int, event: EntriesReceived) -> None:
        """Everything in the batch is durable here; batches of one channel in their order."""
        known = self._links.get(link, {}).get(event.channel)
        if known is None:
            return
        if event.entries:
            self._last[known.class_name] = event.entries[-1].key
        while known.uncommitted and known.uncommitted[0][0] <= event.number:
            known.waiting_bytes -= known.uncommitted.popleft()[1]
        known.committed = event.number
        self._answering.add(link)

    @property
    def hungry(self) -> bool:
        """Whether `wants` or `reminds` has something to say."""
        return any(sender.wants is not None or sender.reminds is not None for sender in self._senders.values())

    def wants(self) -> Iterator[tuple[str, int]]:
        """Pages to read: class and the position behind which; each is to be answered with `page` or `failed`."""
        for class_name, sender in self._senders.items():
            after = sender.wants
            if after is not None:
                sender.asked()
                yield class_name, after

    def page(self, class_name: str, after: int, entries: Iterable[Waiting]) -> list[JournalEvent]:
        return self._moved(class_name, self._senders[class_name].page(after, entries))

    def reminds(self) -> Iterator[tuple[str, bytes]]:
        """What the peer was told before is to be looked up: class and the journal id behind which; each is to be
        answered with `remind` or `failed`."""
        for class_name, sender in self._senders.items():
            behind = sender.reminds
            if behind is not None:
                sender.reminders.asked()
                yield class_name, behind

    def remind(self, class_name: str, behind: bytes, gaps: Sequence[JournalEntry]) -> None:
        """A gap record for each of these journals, from its first seq to the last that was told."""
        self._senders[class_name].reminders.take(behind, gaps)

    def failed(self, class_name: str) -> None:
        """What was asked for could not be read."""
        self._senders[class_name].failed()
        self._senders[class_name].reminders.failed()

    def appended(self, class_name: str) -> None:
        """The store has more to send in this class."""
        if class_name in self._senders:
            self._senders[class_name].appended()

    # --- what goes out ----------------------------------------------------------------------------------------------

    def next_answer(self, link: int) -> tuple[int, bytes] | None:
        """The next small message, and its channel: these are sent at once."""
        if link not in self._answering:
            return None
        for channel, known in self._links.get(link, {}).items():
            if known.resume is not None:
                message, known.resume = known.resume, None
                return channel, message
            if known.told < known.committed:
                known.told = known.committed
                return channel, encode_ack(known.committed)
        self._answering.discard(link)
        return None

    def alarm_channel(self, link: int) -> int | None:
        """On which channel of the link alarms go out; None if none do."""
        if ALARM in self._senders:
            for channel, known in self._links.get(link, {}).items():
                if known.class_name == ALARM:
                    return channel
        return None

    @property
    def has_batch(self) -> bool:
        """Whether `next_batch` has something to say on the newest link."""
        return any(sender.has_batch for sender in self._senders.values())

    def next_batch(self, link: int, *, alarms_only: bool = False) -> tuple[int, bytes] | None:
        """The next batch of the first class that has one: to be sent only while little else is unsent, but for
        alarms."""
        if link != self._active:
            return None
        channels = {known.class_name: channel for channel, known in self._links[link].items()}
        for class_name, sender in self._senders.items():
            if alarms_only and class_name != ALARM:
                continue
            if class_name in channels and (message := sender.next_batch(reminding=not alarms_only)) is not None:
                return channels[class_name], message
        return None
