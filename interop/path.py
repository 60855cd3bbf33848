"""One direction of an emulated link: which packets get lost, and when the others arrive. Pure: time is a parameter.

A packet is lost (at random, or in the bad state of a Gilbert-Elliott chain) before it reaches the bottleneck, as on a
radio hop before a slow line; then it waits in a finite queue for its turn at the link's rate, and travels for the
delay. Jitter keeps the order; reordering holds single packets back so that later ones overtake them: at 1,000
updates a second the product sends a frame every 4 ms, so one held back by 30 ms is overtaken by seven, which is more
than the three after which QUIC and TCP take a packet for lost.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Conditions:
    """Of both directions alike; every field may be changed while the link runs. Seconds, bit/s and shares.

    `burst`: mean run of lost packets, 1 for independent losses. `queue`: how long a packet may wait at the
    bottleneck; one that would wait longer is dropped. `reorder`: the share of packets that are `reorder_by` longer
    on their way than others. `down`: nothing passes.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    rate: float = 0.0
    queue: float = 0.3
    reorder: float = 0.0
    reorder_by: float = 0.03
    duplicate: float = 0.0
    down: bool = False


@dataclass(slots=True)
class Counters:
    """Packets and bytes (whole IP packets) that were handed to this direction, and what became of them."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    dropped: int = 0
    reordered: int = 0
    duplicated: int = 0
    passed_bytes: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)
    """(time, seconds waited at the bottleneck) of each packet that passed, while `record` is set."""
    record: bool = False


class Direction:
    """Decides over one packet after the other."""

    def __init__(self, conditions: Conditions, rng: random.Random) -> None:
        self.conditions = conditions
        self.counters = Counters()
        self._rng = rng
        self._bad = False
        self._free = 0.0
        self._latest = 0.0

    def arrivals(self, size: int, now: float) -> list[float]:
        """When a packet of `size` bytes that is sent now arrives: not at all, once or twice."""
        conditions, counters = self.conditions, self.counters
        counters.packets += 1
        counters.bytes += size
        if conditions.down or self._is_lost():
            counters.lost += 1
            return []
        leaves = now
        if conditions.rate:
            begins = max(now, self._free)
            if begins - now > conditions.queue:
                counters.dropped += 1
                return []
            leaves = self._free = begins + size * 8 / conditions.rate
            if counters.record:
                counters.waits.append((now, begins - now))
        counters.passed_bytes += size
        arrival = leaves + conditions.delay
        if conditions.jitter:
            arrival = max(self._latest, arrival + self._rng.random() * conditions.jitter)
        self._latest = arrival
        if conditions.reorder and self._rng.random() < conditions.reorder:
            arrival += conditions.reorder_by
            counters.reordered += 1
        twice = conditions.duplicate and self._rng.random() < conditions.duplicate
        counters.duplicated += bool(twice)
        return [arrival, arrival] if twice else [arrival]

    def _is_lost(self) -> bool:
        loss, burst = self.conditions.loss, self.conditions.burst
        if burst <= 1:
            return self._rng.random() < loss
        if self._bad:
            self._bad = self._rng.random() >= 1 / burst
        else:
            self._bad = self._rng.random() < loss / (burst * (1 - loss))
        return self._bad
