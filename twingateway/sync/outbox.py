"""What a peer has not made durable: per register only the newest version, however long the peer is away.

An entry lives as long as its key is in the outbox; a newer version replaces the register *inside* the entry, so that
it keeps its place in every queue it waits in. Whoever remembers having sent something remembers the register too, and
an acknowledgement counts only if the entry still holds that very register.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import islice

from twingateway.errors import TooLarge
from twingateway.sync.cbor import value_size
from twingateway.sync.frame import MAX_FRAME, MAX_NAME
from twingateway.twin.register import Register, RegisterKey, StoredRegister

#: Leaves room for a frame's head and the longest names.
_MAX_SIZE = MAX_FRAME - 8192


class Queue(Enum):
    """Which of the active link's queues an entry waits in."""

    NONE = auto()
    URGENT = auto()
    RESEND = auto()
    ROUTINE = auto()
    STREAM = auto()

    __hash__ = (
        object.__hash__
    )  # members are single; Enum's own is written in Python and the queues are looked up often


#: What waits in these may go in a datagram; the first go first.
DATAGRAM_QUEUES = (Queue.URGENT, Queue.RESEND, Queue.ROUTINE)


class Entry:
    """One register on its way. All but `register`, `lsn`, `size`, `urgent` and `live` belong to the active link."""

    __slots__ = ("copies", "frame", "fresh", "live", "lsn", "queue", "register", "seen", "size", "urgent")

    def __init__(self, register: Register, lsn: int, size: int, urgent: bool) -> None:
        self.register = register
        self.lsn = lsn
        self.size = size
        """Bytes that the value takes at most."""
        self.urgent = urgent
        self.live = True
        self.queue = Queue.NONE
        self.fresh = True
        """Whether this version was not sent yet."""
        self.seen = False
        self.frame = 0
        """The newest frame that carries this version, 0 for none."""
        self.copies = 0
        """How many more times it is to be repeated."""

    def renew(self) -> None:
        """Nothing of it was sent yet."""
        self.fresh = True
        self.seen = False
        self.frame = 0


class Outbox:
    """`len()` is the number of registers the peer lacks."""

    def __init__(self) -> None:
        self._entries: dict[RegisterKey, Entry] = {}
        # What was put, by lsn: nearly all in ascending order, the others in a heap. Outdated pairs are dropped when
        # they surface.
        self._ascending: deque[tuple[int, RegisterKey]] = deque()
        self._others: list[tuple[int, RegisterKey]] = []
        self._recent: deque[Entry] = deque(maxlen=16)
        self.keys = self._entries.keys()
        """A view of what is in it."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: RegisterKey) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def put(self, stored: StoredRegister, urgent: bool) -> Entry | None:
        """The entry that now holds this register; None if it held the same or a newer version.

        Raises InvalidValue or TooLarge for what may not be sent.
        """
        register = stored.register
        entry = self._entries.get(register.key)
        if entry is not None and entry.register.version >= register.version:
            return None
        size = value_size(register.value)
        if size > _MAX_SIZE or len(register.key.name) > MAX_NAME:
            raise TooLarge(f"{register.key} is too large to be sent: {size} bytes")
        if entry is None:
            entry = self._entries[register.key] = Entry(register, stored.lsn, size, urgent)
        else:
            entry.register, entry.lsn, entry.size = register, stored.lsn, size
            entry.urgent = entry.urgent or urgent
            entry.renew()
        if len(self._ascending) + len(self._others) > 2 * len(self._entries) + 64:
            self._ascending = deque(sorted((other.lsn, key) for key, other in self._entries.items()))
            self._others.clear()
        elif not self._ascending or stored.lsn >= self._ascending[-1][0]:
            self._ascending.append((stored.lsn, register.key))
        else:
            heappush(self._others, (stored.lsn, register.key))
        self._recent.append(entry)
        return entry

    def clear(self, entry: Entry) -> None:
        """The peer has it, or will never have it."""
        entry.live = False
        entry.queue = Queue.NONE
        del self._entries[entry.register.key]

    def withdraw(self, register: Register) -> None:
        """It is not to be sent any more, unless a newer version took its place."""
        entry = self._entries.get(register.key)
        if entry is not None and entry.register.version <= register.version:
            self.clear(entry)

    def low(self, last_lsn: int) -> int:
        """Every lsn up to this one is durable at the peer, or none of its business."""
        first = self._first()
        return last_lsn if first is None else min(first.lsn - 1, last_lsn)

    def _first(self) -> Entry | None:
        """The entry with the lowest lsn."""
        entries, ascending, others = self._entries, self._ascending, self._others
        early = late = None
        while ascending:
            lsn, key = ascending[0]
            early = entries.get(key)
            if early is not None and early.lsn == lsn:
                break
            early = None
            ascending.popleft()
        while others:
            lsn, key = others[0]
            late = entries.get(key)
            if late is not None and late.lsn == lsn:
                break
            late = None
            heappop(others)
        if early is None or late is None:
            return early or late
        return early if early.lsn <= late.lsn else late

    def oldest_time(self) -> int | None:
        """The time (Unix milliseconds, of its writer) of the register that waits longest; None when empty."""
        first = self._first()
        return None if first is None else first.register.time

    def newest(self, count: int) -> Iterator[Entry]:
        """Up to `count` entries, those put last first; what to say when there is room for little."""
        recent = dict.fromkeys(entry for entry in reversed(self._recent) if entry.live)
        others = (entry for entry in self._entries.values() if entry not in recent)
        yield from islice((*recent, *islice(others, count)), count)
