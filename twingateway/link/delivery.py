"""What a link's acknowledgements prove of the path's bandwidth.

Each acknowledged packet proves a delivery rate: the bytes that were acknowledged between its departure and its own
acknowledgement, over the longer of the sending and the acknowledging interval. The bandwidth is the greatest of ten
round trips. A sample taken while the application had nothing to send may raise it, never age or lower it: it says how
little there was to send. (In the manner of BBR's delivery rate estimation.) Bytes are those of IP packets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: Round trips that the maximum looks back.
BANDWIDTH_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Departure:
    """The connection's state when a packet left. Bytes, seconds; `low`: more slowly than the path can carry."""

    delivered: int
    delivered_time: float
    first_sent_time: float
    application_limited: bool
    low: bool


class Delivery:
    """The connection's progress, `delivered` bytes so far, and the rates that it proves; counts round trips by it."""

    def __init__(self) -> None:
        self.delivered = 0
        self._delivered_time = 0.0
        self._first_sent_time = 0.0
        self._limited_until = 0
        self._rates: deque[tuple[int, float]] = deque()
        self._round = 0
        self._round_end = 0

    @property
    def bandwidth(self) -> float:
        """Bytes per second that the path has been seen to deliver; 0 while unknown."""
        return self._rates[0][1] if self._rates else 0.0

    @property
    def application_limited(self) -> bool:
        """Whether what leaves now leaves because there is no more to send."""
        return self._limited_until > 0

    def limited(self, in_flight: int) -> None:
        """Everything there was to send is `in_flight` (bytes)."""
        self._limited_until = max(self.delivered + in_flight, 1)

    def restarts(self, sent_time: float) -> None:
        """A packet leaves while nothing else is in flight: the pause before it is no part of any interval."""
        self._first_sent_time = self._delivered_time = sent_time

    def departs(self, *, low: bool) -> Departure:
        """What is to be kept of this moment until the packet that leaves now is acknowledged."""
        return Departure(
            delivered=self.delivered,
            delivered_time=self._delivered_time,
            first_sent_time=self._first_sent_time,
            application_limited=self.application_limited,
            low=low,
        )

    def arrived(self, now: float, sent_time: float, size: int, departure: Departure) -> bool:
        """A packet of so many bytes was acknowledged. Returns whether a round trip is over with it."""
        self.delivered += size
        self._delivered_time = now
        self._first_sent_time = sent_time
        if self.delivered > self._limited_until:
            self._limited_until = 0
        if departure.delivered < self._round_end:
            return False
        self._round += 1
        self._round_end = self.delivered
        return True

    def sample(self, now: float, sent_time: float, departure: Departure) -> None:
        """Take the rate that this acknowledgement proves into the maximum."""
        interval = max(sent_time - departure.first_sent_time, now - departure.delivered_time)
        if interval <= 0:
            return
        rate = (self.delivered - departure.delivered) / interval
        if departure.application_limited and rate < self.bandwidth:
            return
        while self._rates and self._rates[-1][1] <= rate:
            self._rates.pop()
        self._rates.append((self._round, rate))
        while self._rates[0][0] <= self._round - BANDWIDTH_ROUNDS:
            self._rates.popleft()
