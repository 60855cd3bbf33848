"""One class of the journal on its way to one peer.

The queue itself stays in the store: here are the next few pages of it and, of what was sent, only where it stands in
the queue. A new link begins at the front of the queue again, less what the peer says that it has.

Behind the queue a peer is reminded of what was told before: see `reminders`. A queue that has no end makes way for
them now and then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from twingateway.sync.journal_wire import NamesOut, encode_batch, size_of
from twingateway.sync.reminders import Reminders
from twingateway.twin.entry import JournalEntry, JournalKey

#: Bytes in flight at most, per class.
WINDOW = 256 * 1024
#: Bytes asked of the store at a time.
PAGE = 64 * 1024
#: A batch is closed when it has about so many bytes.
BATCH_SIZE = 8 * 1024
#: Bytes of the queue behind which a batch of reminders goes, should there be more of the queue.
REMIND_AFTER = 64 * 1024


class Waiting(NamedTuple):
    """An entry and its place in the class's queue in the store."""

    position: int
    entry: JournalEntry


class _Flying(NamedTuple):
    number: int
    position: int
    size: int


class Track:
    """What was said on one link's stream so far: how many batches, and which names."""

    def __init__(self) -> None:
        self.number = 0
        self.names = NamesOut()


class ClassSender:
    """`wants` → `page` brings entries, `next_batch` takes them away, `acked` says how far they may be deleted.
    `journal_id`: of the journal that this opening of the store writes."""

    def __init__(self, journal_id: bytes) -> None:
        self._journal_id = journal_id
        self.delivered = 0
        """Everything up to this position is durable at the peer."""
        self.reminders = Reminders()
        self._read = 0
        self._more = True
        self._appended = False
        self._asked: int | None = None
        self._buffer: deque[Waiting] = deque()
        self._buffered = 0
        self.stop()

    @property
    def in_flight(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._unacknowledged

    # --- the link -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """There is no link to send on, or one on which the peer has not said yet where to begin."""
        self._track: Track | None = None
        self._seek: JournalKey | None = None
        self._flying: deque[_Flying] = deque()
        self._unacknowledged = 0
        self._sent = 0
        """Bytes since the last reminders."""
        self._buffer.clear()
        self._buffered = 0
        self._read = self.delivered
        self._more = True
        self._asked = None
        self.reminders.stop()

    def start(self, track: Track, last: JournalKey | None) -> None:
        """The peer is ready; `last` is the newest entry that it has from here, if it remembers. It had that from this
        very queue only if it is of the journal that was begun with this opening of the store. Any other can have come
        from a store that this one replaced: then what is queued here before it need not have been told."""
        self._track = track
        self.reminders.start(forgotten=last is None)
        self._seek = last if last is not None and last.journal_id == self._journal_id else None

    @property
    def has_batch(self) -> bool:
        """Whether there is something to send, and the window is not full."""
        waits = bool(self._buffer) or self.reminders.waiting
        return waits and self._seek is None and self._unacknowledged < WINDOW

    def next_batch(self, *, reminding: bool = True) -> bytes | None:
        """The next message, None while there is none; `reminding`: also one that says what was told before as soon
        as nothing else waits."""
        track = self._track
        reminds = self.reminders.waiting and (self._is_turn or (reminding and not self._buffer))
        if track is None or not self.has_batch or not (self._buffer or reminds):
            return None
        track.number += 1
        position, entries = self._reminded(track.number) if reminds else self._taken()
        message = encode_batch(track.names.batch(track.number, entries))
        self._flying.append(_Flying(track.number, position, len(message)))
        self._unacknowledged += len(message)
        self._sent = 0 if reminds else self._sent + len(message)
        return message

    @property
    def _is_turn(self) -> bool:
        """Whether so much of the queue was sent that reminders wait for its end no longer."""
        return self._sent >= REMIND_AFTER

    def _reminded(self, number: int) -> tuple[int, list[JournalEntry]]:
        """They stand nowhere in the queue: behind what was sent of it."""
        position = self._flying[-1].position if self._flying else self.delivered
        return position, self.reminders.batch(number)

    def _taken(self) -> tuple[int, list[JournalEntry]]:
        """As much of what waits as goes into a batch, and the position of its last."""
        entries: list[JournalEntry] = []
        position = self._read
        size = 0
        while self._buffer and (not entries or size < BATCH_SIZE):
            following = size_of(self._buffer[0].entry)
            if entries and size + following > 2 * BATCH_SIZE:
                break
            position, entry = self._buffer.popleft()
            entries.append(entry)
            size += following
        self._buffered -= size
        return position, entries

    def acked(self, number: int) -> bool:
        """Batches up to `number` are durable at the peer; whether `delivered` moved."""
        before = self.delivered
        while self._flying and self._flying[0].number <= number:
            _, position, size = self._flying.popleft()
            self._unacknowledged -= size
            self.delivered = max(self.delivered, position)
        self.reminders.acked(number)
        return self.delivered > before

    # --- the store ------------------------------------------------------------------------------------------------

    @property
    def wants(self) -> int | None:
        """Read a page of the queue behind this position, None for not now. Answer with `page`."""
        if not self._more or self._track is None or self._asked is not None:
            return None
        return self._read if self._buffered < (PAGE if self._seek is None else WINDOW) else None

    def asked(self) -> None:
        """The page that `wants` names is being read."""
        self._asked = self._read
        self._appended = False

    def page(self, after: int, entries: Iterable[Waiting]) -> bool:
        """The page behind `after`, empty at the end of the queue; whether `delivered` moved."""
        if after != self._asked:
            return False  # asked for on a link that is gone
        self._asked = None
        last = self._read
        for waiting in entries:
            self._buffer.append(waiting)
            self._buffered += size_of(waiting.entry)
            last = waiting.position
        if last == self._read:
            self._more = self._appended
        self._read = last
        if self._seek is not None and (self._buffered >= WINDOW or not self._more):
            return self._skip(self._seek)
        return False

    @property
    def reminds(self) -> bytes | None:
        """See `Reminders.wanted`: when the queue was sent to its end, or when it is their turn."""
        at_end = not self._more and not self._buffer
        may = self._track is not None and self._seek is None and (at_end or self._is_turn)
        return self.reminders.wanted if may else None

    def failed(self) -> None:
        """The page could not be read; it is wanted again."""
        self._asked = None

    def appended(self) -> None:
        """The queue has become longer."""
        self._more = self._appended = True

    def _skip(self, last: JournalKey) -> bool:
        """Leave out what the peer has: everything before the entry that it named, and that one. It is one of the
        first, since what was acknowledged is not here any more; if it is not found, or has become part of a gap that
        reaches further (which stands behind what was queued before its last), all is sent again."""
        self._seek = None
        found = next((index for index, (_, entry) in enumerate(self._buffer, 1) if entry.key == last), 0)
        if not found:
            return False
        for _ in range(found):
            position, entry = self._buffer.popleft()
            self._buffered -= size_of(entry)
            self.delivered = max(self.delivered, position)
        return True
