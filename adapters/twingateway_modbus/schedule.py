"""What is read together and when. Pure; times are on the event loop's clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twingateway_modbus.plan import Block

#: Steps of this size, taken modulo 1, fill the interval ever more evenly.
_GOLDEN = 0.6180339887498949
#: The share of a period by which floating point may be off.
_ROUNDING = 1e-6
#: Seconds for which a quiet moment is looked for.
_AHEAD = 1.0


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

    def dues(self, start: float, end: float) -> Iterator[float]:
        """When it is due between these times, if it goes on as it does."""
        at = self.due + self.period * max(0, math.ceil((start - self.due) / self.period))
        while at < end:
            yield at
            at += self.period


def quiet_moment(rounds: Iterable[Round], now: float, span: float, taken: float) -> float:
    """When to ask something that keeps the line busy for `span` seconds: the first moment within a second at which
    none of `rounds`, each of which takes `taken` seconds, is due meanwhile; else that before the longest pause."""
    end = now + _AHEAD
    busy = sorted(
        due for each in rounds if each.due >= now - each.period for due in each.dues(now - taken, end + span)
    )
    best, widest, free = now, 0.0, now
    for due in (*busy, math.inf):
        if due - free > widest:
            best, widest = free, due - free
        free = max(free, due + taken)
        if widest >= span or free > end:
            break
    return best
