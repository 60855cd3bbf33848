"""The journal and history of the store in memory: the port's promises in plain dictionaries."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice, takewhile
from operator import attrgetter

from twingateway.ports.journal import (
    MOST_JOURNALS,
    OWN,
    TOLD_JOURNALS,
    About,
    Bucket,
    Depth,
    Filing,
    Placed,
    Point,
    Span,
    Told,
)
from twingateway.twin.entry import EVICTED, EXPIRED, HISTORY, LOST, JournalEntry, after, gap_for
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value

#: What an entry counts beside its texts, in bytes.
OVERHEAD = 64

_POSITION = attrgetter("position")


@dataclass(slots=True)
class MemoryQueue:
    """What waits in one class."""

    last_position: int = 0
    waiting: dict[int, tuple[Placed, int]] = field(default_factory=dict)
    """Position → entry and stamp, in order."""
    bytes: int = 0


@dataclass(slots=True)
class MemoryJournal:
    """Part of a `MemoryDisk`; a deep copy is a backup."""

    cursors: dict[tuple[str, bytes, str], int] = field(default_factory=dict)
    journals: dict[tuple[str, str, str], list[bytes]] = field(default_factory=dict)
    """By namespace, node and class, in the order in which they were met."""
    queued: dict[tuple[str, bytes, str], int] = field(default_factory=dict)
    """The last seq of each journal that was queued."""
    lost: set[tuple[str, bytes, str, int]] = field(default_factory=set)
    """Single seqs below a cursor that a gap record calls lost."""
    queues: dict[str, MemoryQueue] = field(default_factory=dict)
    kept: dict[str, list[Placed]] = field(default_factory=dict)
    history: dict[tuple[DeviceId, str], list[Point]] = field(default_factory=dict)
    history_size: int = 0
    counter: int = 0

    def begin(self, filings: Iterable[Filing], journal_id: bytes) -> None:
        """Entries of this store's own."""
        for filing in filings:
            entry = filing.entry
            cursor = (entry.namespace, journal_id, entry.class_name)
            if cursor not in self.cursors:
                self._meet(cursor, OWN)
            seq = self.cursors.get(cursor, 0) + 1
            self.cursors[cursor] = seq + entry.count - 1
            if filing.queue:
                self.queued[cursor] = self.cursors[cursor]
            self._file(entry.begun(journal_id, seq), filing)

    def receive(self, filings: Iterable[Filing]) -> list[JournalEntry]:
        taken = []
        for filing in filings:
            came = filing.entry
            cursor = (came.namespace, came.journal_id, came.class_name)
            if cursor not in self.cursors:
                self._meet(cursor, came.node)
            for entry in after(came, self.cursors.get(cursor, 0)):
                self._file(entry, filing)
                self.cursors[cursor] = entry.last
                if filing.queue:
                    self.queued[cursor] = entry.last
                if entry.gap == LOST:
                    self.lost.update((*cursor, seq) for seq in range(entry.seq, entry.last + 1))
                taken.append(entry)
            if not came.gap and (*cursor, came.seq) in self.lost:
                self.lost.remove((*cursor, came.seq))
                self._file(came, filing)
                taken.append(came)
        return taken

    def _meet(self, cursor: tuple[str, bytes, str], node: str) -> None:
        """A journal that was not known may push out the oldest of its node and class."""
        namespace, journal_id, class_name = cursor
        known = self.journals.setdefault((namespace, node, class_name), [])
        known.append(journal_id)
        if len(known) > MOST_JOURNALS:
            old = (namespace, known.pop(0), class_name)
            self.cursors.pop(old, None)
            self.queued.pop(old, None)
            self.lost = {lost for lost in self.lost if lost[:3] != old}

    def delivered(self, positions: Mapping[str, int]) -> None:
        for class_name, upto in positions.items():
            queue = self.queues.setdefault(class_name, MemoryQueue())
            for position in list(takewhile(upto.__ge__, queue.waiting)):
                queue.bytes -= queue.waiting.pop(position)[0].size

    def page(self, class_name: str, behind: int, max_bytes: int) -> list[Placed]:
        page: list[Placed] = []
        total = 0
        for position, (placed, _) in self.queues.get(class_name, MemoryQueue()).waiting.items():
            if position <= behind:
                continue
            total += placed.size
            if page and total > max_bytes:
                break
            page.append(placed)
        return page

    def told(self, namespace: str, class_name: str, behind: bytes, limit: int) -> list[Told]:
        queue = self.queues.get(class_name, MemoryQueue())
        waiting = {(p.entry.namespace, p.entry.key) for p, _ in queue.waiting.values()}
        found = []
        for of, known in self.journals.items():
            for journal_id in known[-TOLD_JOURNALS:] if (of[0], of[2]) == (namespace, class_name) else ():
                last = self.queued.get((namespace, journal_id, class_name), 0)
                if journal_id > behind and last and (namespace, (journal_id, last)) not in waiting:
                    found.append(Told(journal_id, of[1], last))
        return sorted(found, key=attrgetter("journal_id"))[:limit]

    def depths(self) -> list[Depth]:
        depths = []
        for class_name, queue in self.queues.items():
            waiting = queue.waiting.values()
            first, last = (next(iter(waiting)), next(reversed(waiting))) if waiting else (None, None)
            depths.append(
                Depth(
                    class_name,
                    len(waiting),
                    queue.bytes,
                    first[0].entry.time if first else 0,
                    first[1] if first else 0,
                    last[1] if last else 0,
                )
            )
        return depths

    def evict(self, class_name: str, max_bytes: int, before: int) -> int:
        queue = self.queues.get(class_name, MemoryQueue())
        total = queue.bytes
        excess = total - max_bytes * 9 // 10 if total > max_bytes else 0
        going: list[tuple[Placed, int]] = []
        for placed, stamp in queue.waiting.values():
            if excess <= 0 and stamp >= before:
                break
            excess -= placed.size
            going.append((placed, stamp))
        gone = sum(1 for placed, _ in going if not placed.entry.gap)
        if gone:
            self._replace_by_gaps(queue, going, EVICTED if total > max_bytes else EXPIRED)
        return gone

    def _replace_by_gaps(self, queue: MemoryQueue, going: list[tuple[Placed, int]], reason: str) -> None:
        """`going`: the first of those that wait."""
        left = islice(queue.waiting.items(), len(going), None)
        gaps: dict[int, tuple[Placed, int]] = {}
        ranges: dict[tuple[str, bytes], list[tuple[Placed, int]]] = {}
        for placed, stamp in going:
            queue.bytes -= placed.size
            ranges.setdefault((placed.entry.namespace, placed.entry.journal_id), []).append((placed, stamp))
        for members in ranges.values():
            last, stamp = members[-1]
            gap = gap_for(last.entry, members[0][0].entry.seq, last.entry.last, reason)
            gaps[last.position] = (Placed(last.position, gap, size_of(gap)), stamp)
            queue.bytes += size_of(gap)
        queue.waiting = dict(chain(sorted(gaps.items()), left))

    def kept_page(self, class_name: str, behind: int, limit: int, about: About) -> list[Placed]:
        kept = self.kept.get(class_name, [])
        later = islice(kept, bisect_right(kept, behind, key=_POSITION), None)
        return list(islice((placed for placed in later if _is_about(placed, about)), limit))

    def kept_before(self, class_name: str, before: int | None, limit: int, about: About) -> list[Placed]:
        kept = self.kept.get(class_name, [])
        end = len(kept) if before is None else bisect_left(kept, before, key=_POSITION)
        earlier = (kept[place] for place in range(end - 1, -1, -1))
        return list(islice((placed for placed in earlier if _is_about(placed, about)), limit))

    def prune_kept(self, class_name: str, most: int) -> int:
        kept = self.kept.get(class_name, [])
        gone = max(0, len(kept) - most)
        del kept[:gone]
        return gone

    def points(self, span: Span, behind: tuple[int, int], limit: int) -> list[Point]:
        points = self.history.get((span.device, span.name), [])
        chosen = [p for p in points if span.first <= p.time < span.end and (p.time, p.order) > behind]
        return sorted(chosen, key=lambda point: (point.time, point.order))[:limit]

    def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        points = self.points(span, (span.start - 1, 0), len(self.history.get((span.device, span.name), [])))
        steps: dict[int, list[Point]] = {}
        for point in points:
            steps.setdefault(span.start + (point.time - span.start) // step * step, []).append(point)
        return [_summed_up(time, members) for time, members in sorted(steps.items())][:limit]

    def last_point(self, device: DeviceId, name: str, upto: tuple[int, int]) -> Point | None:
        points = (p for p in self.history.get((device, name), []) if (p.time, p.order) <= upto)
        return max(points, key=attrgetter("time", "order"), default=None)

    def history_bytes(self) -> int:
        return self.history_size

    def trim_history(self, max_bytes: int) -> int:
        if self.history_size <= max_bytes:
            return 0
        excess = self.history_size - max_bytes * 9 // 10
        first = sorted((point.order, name) for name, points in self.history.items() for point in points)
        gone = 0
        for order, name in first:
            if excess <= 0:
                break
            (point,) = (each for each in self.history[name] if each.order == order)
            self.history[name].remove(point)
            self.history_size -= _size_of_point(point)
            excess -= _size_of_point(point)
            gone += 1
        return gone

    def prune_points(self, device: DeviceId, name: str, retention: int, now: int) -> int:
        points = self.history.get((device, name), [])
        oldest = min(now, max((point.time for point in points), default=now)) - retention
        keep = [point for point in points if point.time >= oldest]
        if keep:
            self.history[device, name] = keep
            self.history_size -= sum(_size_of_point(point) for point in points if point.time < oldest)
        return len(points) - len(keep)

    def _file(self, entry: JournalEntry, filing: Filing) -> None:
        if isinstance(entry.value, (list, dict)):
            entry = replace(entry, value=copied(entry.value))
        if filing.queue:
            queue = self.queues.get(entry.class_name)
            if queue is None:
                queue = self.queues[entry.class_name] = MemoryQueue()
            queue.last_position += 1
            placed = Placed(queue.last_position, entry, size_of(entry))
            queue.waiting[queue.last_position] = (placed, filing.stamp)
            queue.bytes += placed.size
        if filing.keep:
            self._keep(entry)

    def _keep(self, entry: JournalEntry) -> None:
        self.counter += 1
        device = entry.device_id
        if entry.class_name == HISTORY and not entry.gap and device is not None:
            point = Point(entry.time, self.counter, entry.value)
            self.history.setdefault((device, entry.name), []).append(point)
            self.history_size += _size_of_point(point)
        else:
            self.kept.setdefault(entry.class_name, []).append(Placed(self.counter, entry, size_of(entry)))


def _is_about(placed: Placed, about: About) -> bool:
    return about.namespace in (None, placed.entry.namespace) and about.device in (None, placed.entry.device)


def copied(value: Value) -> Value:
    """A caller may go on changing a list or object that it stored, or that it was given."""
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    return value


def size_of(entry: JournalEntry) -> int:
    """About what it takes on a disk."""
    return OVERHEAD + len(entry.node) + len(entry.device or "") + len(entry.name) + len(repr(entry.value))


def _size_of_point(point: Point) -> int:
    return OVERHEAD + len(repr(point.value))


def _summed_up(time: int, points: list[Point]) -> Bucket:
    numbers = [p.value for p in points if isinstance(p.value, int | float) and not isinstance(p.value, bool)]
    if not numbers:
        return Bucket(time, len(points), None, None, None)
    return Bucket(time, len(points), min(numbers), sum(numbers) / len(numbers), max(numbers))
