"""How much to keep in a queue that others fill as well.

The rule. A flow that reads every loss as congestion (TCP) fills the bottleneck's queue, loses, falls back, and fills
it again. Beside one, a model of bandwidth and round trip creeps upwards: whenever the other falls back more is
delivered, and what was once delivered is sent again. So where a queue stands although this end would not have it so,
and packets are lost beyond what the path loses at random, what is in flight is limited: each such round trip takes a
fifth, each other one adds one and a quarter packets. Beside one TCP CUBIC flow that comes to about half the rate.
Where no queue stands there is nobody to share with, and no limit: the loss is the path's.

The queue is measured against the shortest round trip of the last minute, since the others keep it from ever emptying.
(Simulated and measured beside the kernel's CUBIC: see `python -m interop.congestion --rival`.)
"""

from __future__ import annotations

import math
from collections import deque

from twingateway.link.queueing import STANDS, is_queued

#: How far back the shortest round trip is looked for, in seconds.
MEMORY = 60.0
#: What remains of the limit after a round trip with congestion, and packets that each other one adds to it.
LESS, MORE = 0.8, 1.25
#: Round trips without a queue after which nobody is there to share with.
CLEAR = 2


class Share:
    """`limit`: bytes that may be in flight."""

    def __init__(self, packet: int) -> None:
        self.limit = math.inf
        self._packet = packet
        self._shortest: deque[tuple[float, float]] = deque()
        self._cut_at = -math.inf
        self._most = 0
        self._acked = 0
        self._lost = 0
        self._clear = 0

    def acked(self, sent_time: float, in_flight: int) -> None:
        """A packet arrived; `in_flight`: bytes, itself included."""
        self._most = max(self._most, in_flight)
        self._acked += sent_time > self._cut_at

    def lost(self, sent_time: float) -> None:
        """One did not. Those that left before the last cut have been answered by it."""
        self._lost += sent_time > self._cut_at

    def round_over(self, now: float, shortest: float, random_loss: float) -> None:
        """A round trip is over. `shortest`: of its samples; `random_loss`: share that the path loses anyhow."""
        stands = is_queued(shortest, self._path(now, shortest), STANDS)
        usual = random_loss * (self._acked + self._lost)
        congested = self._lost > usual + 2 * math.sqrt(usual)
        most = self._most
        self._acked = self._lost = self._most = 0
        self._clear = 0 if stands else self._clear + 1
        if self._clear >= CLEAR:
            self.limit = math.inf
        elif stands and congested:
            self.limit = LESS * min(most, self.limit)
            self._cut_at = now
        elif stands:
            self.limit += MORE * self._packet

    def _path(self, now: float, shortest: float) -> float:
        """The shortest round trip within memory."""
        kept = self._shortest
        while kept and kept[-1][1] >= shortest:
            kept.pop()
        kept.append((now, shortest))
        while kept[0][0] < now - MEMORY:
            kept.popleft()
        return kept[0][1]
