"""The port to the journal and history in a store: what waits for the parent, what is kept here, what has arrived.

An entry may be *queued* (for the parent, deleted once that has it) and *kept* (here, for people: history as points of
a series, anything else as it came). Both, and the cursor that keeps an entry from being taken twice, are one unit of
durability. A queue is read in pages and never held in memory whole.

Every opening of the store where entries begin is a journal of its own, so a receiver has to forget old ones. It keeps
its place in the newest `MOST_JOURNALS` of each node and class. That is more than what one sender's window can
hold, so nothing that is merely sent again is taken twice; only a sender's store that was put back to a copy from more
openings ago could tell again what it told before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.record import record
from twingateway.twin.value import Value

#: Journals of one node and class in which a receiver keeps its place.
MOST_JOURNALS = 8192
#: Of these the newest, of which a sender can say how far it has told them.
TOLD_JOURNALS = 16
#: In place of a node's name: the journal is the store's own. No node can be called so.
OWN = ""


@record
class Filing:
    """An entry and where it goes. `stamp`: milliseconds of this node's running time, growing, from which its time to
    live counts."""

    entry: JournalEntry
    stamp: int
    queue: bool
    keep: bool


@record
class Placed:
    """An entry at its place: in a class's queue, or among those kept. `size` in bytes as the store counts them."""

    position: int
    entry: JournalEntry
    size: int


@record
class Told:
    """A journal of which everything up to seq `last` was queued and waits no more. `node`: where it began, `OWN` if
    here."""

    journal_id: bytes
    node: str
    last: int


@dataclass(frozen=True, slots=True)
class About:
    """Which of the entries that are kept: of one tenant, about devices of one name, or (None) whichever. A gap record
    is about no device."""

    namespace: str | None = None
    device: str | None = None


ALL = About()


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits in one class. `oldest`: Unix milliseconds of its first entry, `oldest_stamp` and `newest_stamp`: of
    the first and last; 0 while nothing waits."""

    class_name: str
    entries: int
    bytes: int
    oldest: int
    oldest_stamp: int
    newest_stamp: int


@dataclass(frozen=True, slots=True)
class Point:
    """One value in history. `order` tells points of the same time apart: greater is later."""

    time: int
    order: int
    value: Value


#: Behind every point.
NEWEST = ((1 << 63) - 1, (1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One step of history from `time` on. Numbers only count in `minimum`, `mean` and `maximum`, all points in
    `count`."""

    time: int
    count: int
    minimum: float | None
    mean: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one property's history: from `start` to before `end`, Unix milliseconds, without what is older than
    `oldest`."""

    device: DeviceId
    name: str
    start: int
    end: int
    oldest: int | None = None

    @property
    def first(self) -> int:
        """The earliest time that a point of it may have."""
        return self.start if self.oldest is None else max(self.start, self.oldest)


class JournalStore(Protocol):
    """Entries begin in a store with `Changes.journal` and leave it with `Changes.delivered`."""

    async def receive(self, filings: Sequence[Filing]) -> list[JournalEntry]:
        """Take entries from other stores, each exactly once however often it comes (as long as its journal is one of
        the newest `MOST_JOURNALS` of its node and class): those that were news, with gap records for what is missing
        before them, durable on return. Raises StoreFull (nothing was kept) or StoreError."""
        ...

    async def journal_page(self, class_name: str, after: int, max_bytes: int) -> list[Placed]:
        """What waits behind position `after`, in order: at least one entry if there is any, otherwise as many as make
        no more than `max_bytes`."""
        ...

    async def journal_told(self, namespace: str, class_name: str, behind: bytes, limit: int) -> list[Told]:
        """Journals behind the id `behind`, in order of their ids: of each node the newest `TOLD_JOURNALS`, but for
        those whose last entry waits still."""
        ...

    async def journal_depths(self) -> list[Depth]:
        """What waits, by class; classes that never had anything are not listed."""
        ...

    async def evict(self, class_name: str, max_bytes: int, before: int) -> int:
        """Let gap records stand for the oldest entries: for those stamped before `before`, and, if more than
        `max_bytes` wait, for so many that a tenth of that is free. Returns how many entries went."""
        ...

    async def kept_page(self, class_name: str, after: int, limit: int, about: About = ALL) -> list[Placed]:
        """What is kept behind position `after`, in the order in which it came."""
        ...

    async def kept_before(self, class_name: str, before: int | None, limit: int, about: About = ALL) -> list[Placed]:
        """What is kept before position `before` (None: to the end), the newest first."""
        ...

    async def prune_kept(self, class_name: str, most: int) -> int:
        """Delete all but the last `most` that are kept; returns how many went."""
        ...

    async def points(self, span: Span, after: tuple[int, int], limit: int) -> list[Point]:
        """Points behind `(time, order)`, in that order."""
        ...

    async def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        """Points summed up per `step` milliseconds counted from the span's start; empty steps are left out."""
        ...

    async def last_point(self, device: DeviceId, name: str, upto: tuple[int, int] = NEWEST) -> Point | None:
        """The last point of a property that is not behind `(time, order)`, None if there is none."""
        ...

    async def series(self) -> list[tuple[DeviceId, str]]:
        """Every property that has history."""
        ...

    async def history_bytes(self) -> int:
        """About what all points take, with their share of the index."""
        ...

    async def trim_history(self, max_bytes: int) -> int:
        """If all points take more than `max_bytes`, delete those that came first until a tenth of that is free;
        returns how many went."""
        ...

    async def prune_points(self, device: DeviceId, name: str, retention: int, now: int) -> int:
        """Delete points that are older than `retention` (milliseconds), seen both from `now` and from the newest
        point, so that no clock that is wrong can empty a series; returns how many went."""
        ...
