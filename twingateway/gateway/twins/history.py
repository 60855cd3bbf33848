"""What a property was, as far back as its retention reaches: older points are not shown, deleted already or not.

Two series are read as one: the property's points, and the marks of its device (`quality_marks`). A mark ends what the
last point said, until the next point, or a mark that the value is good again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from twingateway.gateway.state.clock import Clock
from twingateway.gateway.twins.retention import Retention
from twingateway.ports.journal import Bucket, Point, Span
from twingateway.ports.store import Store
from twingateway.twin.quality import MARKS, Quality, Reason
from twingateway.twin.value import Value

#: Marks that are read at a time.
_PAGE = 1000
#: Behind every point of the same time.
_LAST = (1 << 63) - 1

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a property from some time on: its value, or why none is to be relied on. `key`: `(time,
    order)`, as of points."""

    key: Key
    value: Value
    reason: Reason | None = None

    @property
    def time(self) -> int:
        return self.key[0]


@dataclass(frozen=True, slots=True)
class Step:
    """A bucket, of no points perhaps, and for how much of it the value was bad, in milliseconds."""

    bucket: Bucket
    bad: int


class History:
    """Of all properties whose history is kept here. Retention counts from now, or from a property's newest point if
    that is earlier: as when points are deleted, so that no clock that is wrong can hide a series."""

    def __init__(self, store: Store, retention_of: Retention, clock: Clock) -> None:
        self._store = store
        self._retention_of = retention_of
        self._clock = clock

    async def readings(self, span: Span, after: Key | None, limit: int) -> tuple[list[Reading], Key | None]:
        """At most `limit` readings behind the key `after`, in order of time, and where to go on if that was not all.
        The first says so if the value is bad as the span begins. Raises StoreError."""
        retained = await self._retained(span)
        if retained is None:
            return [], None
        behind = after or (retained.first - 1, _LAST)
        points = await self._store.points(retained, behind, limit + 1)
        marks = await self._store.points(replace(retained, name=MARKS), behind, limit + 1)
        full = [_key(series[-1]) for series in (points, marks) if len(series) > limit]
        end = min(full, default=None)
        told = _Told(
            span.name,
            await self._store.last_point(span.device, span.name, behind),
            await self._store.last_point(span.device, MARKS, behind),
        )
        found = [Reading((retained.first, 0), None, told.bad)] if told.bad is not None and after is None else []
        each = [(_key(point), True, point) for point in points] + [(_key(mark), False, mark) for mark in marks]
        for key, is_point, entry in sorted(each, key=lambda one: one[0]):
            if end is None or key <= end:
                found += told.point(entry) if is_point else told.mark(entry)
        if len(found) > limit:
            return found[:limit], found[limit - 1].key
        return found, end

    async def steps(self, span: Span, step: int, limit: int) -> list[Step]:
        """At most `limit` steps of so many milliseconds counted from the span's start; those without points, in which
        the value was never bad, are left out. Raises StoreError."""
        retained = await self._retained(span)
        if retained is None:
            return []
        buckets = {bucket.time: bucket for bucket in await self._store.buckets(retained, step, limit)}
        bad = await self._bad_by_step(retained, step, limit)
        times = sorted({*buckets, *bad})[:limit]
        return [Step(buckets.get(time) or Bucket(time, 0, None, None, None), bad.get(time, 0)) for time in times]

    async def _bad_by_step(self, span: Span, step: int, limit: int) -> dict[int, int]:
        """Milliseconds by the time of the step; of the first `limit` steps at least, if there are so many."""
        bad: dict[int, int] = {}
        async for since, until in self._bad(span):
            while since < until:
                time = span.start + (since - span.start) // step * step
                end = min(until, time + step)
                bad[time] = bad.get(time, 0) + end - since
                since = end
                if len(bad) > limit:
                    return bad
        return bad

    async def _bad(self, span: Span) -> AsyncIterator[tuple[int, int]]:
        """From when to when the value was bad, within the span and up to now, in order."""
        behind = (span.first - 1, _LAST)
        told = _Told(span.name, None, await self._store.last_point(span.device, MARKS, behind))
        since = span.first
        while True:
            marks = await self._store.points(replace(span, name=MARKS), behind, _PAGE)
            for mark in marks:
                was_bad = told.bad is not None
                told.mark(mark)
                if was_bad and told.bad is None:
                    yield since, mark.time
                elif not was_bad:
                    since = mark.time
            if len(marks) < _PAGE:
                break
            behind = _key(marks[-1])
        if told.bad is not None:
            yield since, min(span.end, self._clock.wall_ms())

    async def _retained(self, span: Span) -> Span | None:
        """None if there never was a point."""
        newest = await self._store.last_point(span.device, span.name)
        if newest is None:
            return None
        retention = int(self._retention_of(span.device, span.name) * 1000)
        return replace(span, oldest=min(newest.time, self._clock.wall_ms()) - retention)


class _Told:
    """Follows one property through points and marks; `point` and `mark` are the last ones before."""

    def __init__(self, name: str, point: Point | None, mark: Point | None) -> None:
        self._name = name
        self._value: Value = None
        self._has_value = False
        self.bad: Reason | None = None
        if point is not None:
            self.point(point)
        if mark is not None and (point is None or _key(point) < _key(mark)):
            self.mark(mark)

    def point(self, point: Point) -> list[Reading]:
        self.bad, self._value, self._has_value = None, point.value, True
        return [Reading(_key(point), point.value)]

    def mark(self, mark: Point) -> list[Reading]:
        """A reading if it changes what is known of this property."""
        was, self.bad = self.bad, Quality.from_value(mark.value).of(self._name)
        if self.bad is not None:
            return [] if was == self.bad else [Reading(_key(mark), None, self.bad)]
        return [Reading(_key(mark), self._value)] if was is not None and self._has_value else []


def _key(point: Point) -> Key:
    return point.time, point.order
