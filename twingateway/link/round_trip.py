"""The path's own round trip, without any queue.

It is the shortest that was confirmed in the last ten seconds. If none was, the path may have become longer, or a
queue of ours has stood all the time: then `emptying` asks for the least in flight, for a round trip and a moment, and
the shortest that is seen in that time is the path's.
"""

from __future__ import annotations

import math

#: Seconds within which the shortest must be confirmed, and the factor up to which a sample does so.
MEMORY = 10.0
SAME = 1.1
#: Seconds beyond a round trip that it takes for a queue of ours to be empty.
EMPTYING = 0.2
#: Samples from which a round's shortest says whether packets wait in a queue.
TELLING_SAMPLES = 3


class RoundTrip:
    """`shortest`: seconds, infinite while unknown. `emptying`: whether the least should be in flight."""

    def __init__(self) -> None:
        self.shortest = math.inf
        self._confirmed_at = 0.0
        self._empty_at = 0.0
        self._emptied = math.inf
        self._round_shortest = math.inf
        self._round_samples = 0

    @property
    def emptying(self) -> bool:
        return self._empty_at > 0

    def sample(self, now: float, rtt: float) -> None:
        if rtt <= self.shortest:
            self.shortest = rtt
        if rtt <= SAME * self.shortest:
            self._confirmed_at, self._empty_at = now, 0.0
        elif self.emptying:
            self._emptied = min(self._emptied, rtt)
            if now >= self._empty_at:
                self.shortest, self._confirmed_at, self._empty_at = self._emptied, now, 0.0
        elif now - self._confirmed_at > MEMORY:
            self._empty_at, self._emptied = now + EMPTYING + rtt, math.inf
        self._round_shortest = min(self._round_shortest, rtt)
        self._round_samples += 1

    def round_over(self) -> float | None:
        """The shortest of the round that ends; None if there were too few samples to say anything of a queue."""
        shortest, samples = self._round_shortest, self._round_samples
        self._round_shortest, self._round_samples = math.inf, 0
        return shortest if samples >= TELLING_SAMPLES else None
