"""What one end of a link in memory is still to do, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twingateway.ports.hand_clock import Scheduler


class Agenda:
    """Calls in order of time, then of entry (an event loop keeps no order between calls of the same time)."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._calls: dict[float, deque[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        """By time; the scheduler is to call for each of these."""

    def now(self) -> float:
        return self._scheduler.time()

    def add(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call with these arguments and the time."""
        calls = self._calls.get(when)
        if calls is None:
            calls = self._calls[when] = deque()
            self._scheduler.call_at(when, self._run, when)
        calls.append((call, arguments))

    def _run(self, due: float) -> None:
        calls, time = self._calls[due], self._scheduler.time
        try:
            while calls:
                call, arguments = calls.popleft()
                now = time()
                call(*arguments, now if now > due else due)
        finally:
            if calls:  # one of them failed
                self._scheduler.call_at(due, self._run, due)
            else:
                del self._calls[due]

    def clear(self) -> None:
        for calls in self._calls.values():
            calls.clear()
