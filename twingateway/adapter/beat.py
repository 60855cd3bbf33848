"""How often a device speaks that speaks by itself: stated in its document, or learnt when it keeps to a beat.

A device that reports every ten seconds is stale after thirty without a word; one that only reports what changes may
be well for days without one. So a period is believed only of a device whose last intervals were all alike.
"""

from __future__ import annotations

from collections import deque

#: Intervals that have to be alike, and by which factor the longest of them may exceed the shortest.
INTERVALS = 6
ALIKE = 2.0
#: Seconds within which messages count as one: a device may say on several topics what it has to say.
MOMENT = 0.25


class Beat:
    """`stated`: seconds, None to learn it. Times are seconds of one monotonic clock."""

    def __init__(self, stated: float | None = None) -> None:
        self._stated = stated
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._last: float | None = None

    def heard(self, now: float) -> None:
        """The device spoke, just now."""
        if self._last is not None and now - self._last < MOMENT:
            return
        if self._last is not None:
            self._intervals.append(now - self._last)
        self._last = now

    @property
    def period(self) -> float | None:
        """Seconds within which a device that is well speaks; None if there is no such time, or not known yet."""
        if self._stated is not None:
            return self._stated
        if len(self._intervals) < INTERVALS or max(self._intervals) > ALIKE * min(self._intervals):
            return None
        return max(self._intervals)
