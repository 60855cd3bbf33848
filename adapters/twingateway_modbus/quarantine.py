"""When a unit or an endpoint that failed is tried again: after 1 s, doubling to 30 s. Pure; `now` is monotonic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twingateway.errors import DeviceError

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Quarantine:
    """Nothing is asked before `until`, so that one that does not answer costs its neighbours little."""

    pause: float = 0.0
    until: float = 0.0
    error: DeviceError | None = None
    failures: int = 0
    """In a row."""
    failed_at: float = -math.inf

    def failed(self, error: DeviceError, now: float, began: float = math.inf) -> None:
        """What `began` before the last failure was known is part of the same try. Clocks may tick in milliseconds."""
        if began <= self.failed_at:
            return
        self.failed_at = now
        self.pause = min(2 * self.pause, LONGEST_PAUSE) or FIRST_PAUSE
        self.until = now + self.pause
        self.error = error
        self.failures += 1

    def succeeded(self) -> None:
        self.pause = self.until = 0.0
        self.error = None
        self.failures = 0

    def remaining(self, now: float) -> float:
        """Seconds until the next try, 0 when it may be now."""
        return max(0.0, self.until - now)

    def check(self, now: float) -> None:
        """Raises the error that led here, with the time to the next try, while that has not come."""
        if self.error is not None and (wait := self.remaining(now)) > 0:
            raise type(self.error)(f"{self.error.message}; next try in {wait:.0f} s", retry_in=wait)
