"""A bounded set of frame numbers, kept as ascending, disjoint, never touching intervals.

When there are more intervals than the limit the lowest is forgotten and `floor` rises above it. Gaps are never
filled: a number that was not added is never said to be in the set.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TypeAlias

#: First and last number, both included.
Interval: TypeAlias = tuple[int, int]


class Ranges:
    """Numbers from 1. `floor` is the lowest number that can still be added."""

    __slots__ = ("_firsts", "_lasts", "_limit", "floor")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.floor = 1

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __len__(self) -> int:
        """How many intervals."""
        return len(self._firsts)

    @property
    def highest(self) -> int:
        """The highest number, 0 when empty."""
        return self._lasts[-1] if self._lasts else 0

    def add(self, first: int, last: int) -> list[Interval]:
        """Add an interval; what of it was new, ascending. Numbers below `floor` are ignored."""
        firsts, lasts = self._firsts, self._lasts
        if first < self.floor:
            first = self.floor
        if first > last:
            return []
        within = bisect_right(firsts, first) - 1
        if within >= 0 and last <= lasts[within]:
            return []
        # The intervals left..right-1 overlap the new one or touch it.
        left = bisect_left(lasts, first - 1)
        right = bisect_right(firsts, last + 1)
        fresh: list[Interval] = []
        position = first
        for at in range(left, right):
            if position < firsts[at]:
                fresh.append((position, firsts[at] - 1))
            position = max(position, lasts[at] + 1)
        if position <= last:
            fresh.append((position, last))
        if left < right:
            first = min(first, firsts[left])
            last = max(last, lasts[right - 1])
        firsts[left:right] = [first]
        lasts[left:right] = [last]
        if len(firsts) > self._limit:
            self.floor = lasts[0] + 1
            del firsts[0], lasts[0]
        return fresh

    def newest(self, count: int) -> list[Interval]:
        """At most `count` intervals, highest first."""
        return list(zip(self._firsts[: -count - 1 : -1], self._lasts[: -count - 1 : -1], strict=True))
