"""What is read together and when. Pure; times are on the event loop's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from twingateway_modbus.plan import Block

#: Steps of this size, taken modulo 1, fill the interval ever more evenly.
_GOLDEN = 0.6180339887498949
#: The share of a period by which floating point may be off.
_ROUNDING = 1e-6


def phases() -> Iterator[float]:
    """Where in their period devices are polled, from 0 to 1, so that not all are polled at once."""
    phase = 0.0
    while True:
        yield phase
        phase = (phase + _GOLDEN) % 1.0


@dataclass(slots=True)
class Round:
    """The blocks read every `period` seconds: once at the start, then at `phase` of each period of the clock.

    `due` moves in whole periods, so it never drifts; rounds of one phase and period are together, whenever begun.
    """

    period: float
    blocks: list[Block]
    phase: float = 0.0
    due: float = 0.0
    _grid: float = 0.0

    def start(self, now: float) -> None:
        """Read at once, from then on by the grid: the first point of it after `now`."""
        self.due = now
        self._grid = self.period * (math.floor(now / self.period - self.phase + _ROUNDING) + 1 + self.phase)

    def advance(self, now: float) -> None:
        """To the next point of the grid that lies ahead; rounds that were missed are left out. A timer that fires a
        little early does not make a round happen twice."""
        passed = (max(now, self.due) - self._grid) / self.period
        periods = math.floor(passed + _ROUNDING) + 1
        self.due = self._grid + self.period * max(0, periods)
