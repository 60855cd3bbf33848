"""An asyncio event loop whose clock counts only while its process is let run: what a busy machine takes is no time.

A time-out then says how long the loop looked for something in vain, and not how long others had the processor. A
timer is never late; what arrived before it was due comes before it. A long wait is made of short ones, each of which
counts for what it was to be, however late the machine comes back from it: whoever else is to do something, the other
end in this loop, a thread or another process, had as many turns meanwhile.
"""

from __future__ import annotations

import asyncio
import selectors
import time

#: The most seconds that one look at the sockets may count, and the work between two.
MOST_OF_A_LOOK = 0.005
MOST_OF_A_TURN = 0.001

#: The shortest wait, in seconds, that a selector is good at.
LEAST_LOOK = 0.001


class FairClock:
    """`pace`: seconds that a second of waiting counts."""

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace
        self._counted = self._since = time.monotonic()

    def now(self) -> float:
        return self._counted + min(time.monotonic() - self._since, MOST_OF_A_TURN)

    def wait_begins(self) -> None:
        self._counted, self._since = self.now(), time.monotonic()

    def wait_ended(self, most: float) -> None:
        """It counts `most` seconds at most."""
        now = time.monotonic()
        self._counted += min(self.pace * (now - self._since), most)
        self._since = now


class FairSelector(selectors.DefaultSelector):
    """Looks again and again for as long as it is to wait."""

    def __init__(self, clock: FairClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        left = float("inf") if timeout is None else max(timeout, 0.0)
        self._clock.wait_begins()
        while True:
            look = min(left, self._clock.pace * MOST_OF_A_LOOK)
            ready = self._look(look / self._clock.pace)
            self._clock.wait_ended(look)
            left -= look
            if ready or left <= 0.0:
                return ready

    def _look(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        if seconds >= LEAST_LOOK or seconds == 0.0:
            return super().select(seconds)
        ready = super().select(0.0)
        if not ready:
            time.sleep(seconds)
            ready = super().select(0.0)
        return ready


class FairLoop(asyncio.SelectorEventLoop):
    def __init__(self, pace: float = 1.0) -> None:
        self._clock = FairClock(pace)
        super().__init__(FairSelector(self._clock))

    def time(self) -> float:
        return self._clock.now()
