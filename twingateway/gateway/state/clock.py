"""Time as the gateway's parts see it: a parameter that a simulation can own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds, the same clock that links pass to their handlers."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds; for people, never for decisions between versions."""
        ...


class SystemClock:
    """The event loop's clock and the system's."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
