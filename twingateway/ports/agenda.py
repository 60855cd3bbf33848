"""What one end of a link in memory is still to do, and when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twingateway.ports.hand_clock import Scheduler


class Agenda:
    """Calls in order of time, then of entry (an event loop keeps no order between calls of the same time)."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._count = 0
        self._entries: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled: set[float] = set()

    def now(self) -> float:
        return self._scheduler.time()

    def add(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call with these arguments and the time."""
        self._count += 1
        heappush(self._entries, (when, self._count, call, arguments))
        if when not in self._scheduled:
            self._scheduled.add(when)
            self._scheduler.call_at(when, self._run, when)

    def _run(self, due: float) -> None:
        entries, time = self._entries, self._scheduler.time
        try:
            while entries and entries[0][0] <= due:
                _, _, call, arguments = heappop(entries)
                now = time()
                call(*arguments, now if now > due else due)
        finally:
            self._scheduled.discard(due)  # only now: what is added for this very time has had its turn

    def clear(self) -> None:
        self._entries.clear()
