"""What one end of a link in memory is still to do, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from twingateway.ports.hand_clock import Scheduler


class Agenda:
    """Calls in order of time, then of entry (an event loop keeps no order between calls of the same time)."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._count = 0
        self._entries: list[tuple[float, int, Callable[[float], None]]] = []
        self._scheduled: set[float] = set()

    def now(self) -> float:
        return self._scheduler.time()

    def add(self, when: float, call: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._entries, (when, self._count, call))
        if when not in self._scheduled:
            self._scheduled.add(when)
            self._scheduler.call_at(when, self._run, when)

    def _run(self, due: float) -> None:
        self._scheduled.discard(due)
        while self._entries and self._entries[0][0] <= due:
            _, _, call = heapq.heappop(self._entries)
            call(max(due, self._scheduler.time()))

    def clear(self) -> None:
        self._entries.clear()
