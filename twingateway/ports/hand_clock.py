"""Time for links in memory: the part of an event loop that they use, and a clock that a test advances by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Protocol


class Scheduler(Protocol):
    """What drives links: an asyncio event loop is one."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> object: ...


class HandClock:
    """A scheduler whose time passes only in `advance`."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._count = 0
        self._calls: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> object:
        self._count += 1
        heapq.heappush(self._calls, (when, self._count, callback, args))
        return None

    def advance(self, seconds: float) -> None:
        """Let time pass, making every call that falls due, at its time."""
        until = self._now + seconds
        while self._calls and self._calls[0][0] <= until:
            when, _, callback, args = heapq.heappop(self._calls)
            self._now = max(self._now, when)
            callback(*args)
        self._now = until
