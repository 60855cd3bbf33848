"""How much per second, of late: an exponential mean over a few seconds."""

from __future__ import annotations

from math import exp

#: Seconds over which is averaged.
SPAN = 5.0


class Meter:
    __slots__ = ("_at", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._at = 0.0

    def add(self, amount: float, now: float) -> None:
        self._rate = self.rate(now) + amount / SPAN
        self._at = max(self._at, now)

    def rate(self, now: float) -> float:
        """Amount per second."""
        return self._rate * exp(-max(0.0, now - self._at) / SPAN)
