"""Which requests read which properties. Pure.

A request costs about the same however much it reads, so neighbours are joined even across a gap: sorted by address,
a block grows while the gap and the whole span stay within limits. A value is never split.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from twingateway_modbus.point import Point, Table

#: Cells that nobody asked for but that may be read to join two neighbours.
MAX_GAP = 16
#: What one request may read by the Modbus specification.
MAX_REGISTERS = 125
MAX_BITS = 2000


@dataclass(frozen=True, slots=True)
class Block:
    """One read request and the points it answers, in address order."""

    table: Table
    address: int
    count: int
    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Block:
        """The smallest block that holds `points`, at least one and all of one table."""
        held = tuple(sorted(points, key=attrgetter("address", "end", "name")))
        first = held[0].address
        return cls(held[0].table, first, max(point.end for point in held) - first, held)


def plan(points: Iterable[Point], *, max_gap: int = MAX_GAP) -> dict[float, tuple[Block, ...]]:
    """Period in seconds → the blocks to read in each."""
    by_period = groupby(
        sorted(points, key=attrgetter("period", "table", "address", "end", "name")), attrgetter("period")
    )
    return {
        period: tuple(
            block
            for _, neighbours in groupby(group, attrgetter("table"))
            for block in _joined(list(neighbours), max_gap)
        )
        for period, group in by_period
    }


def _joined(points: list[Point], max_gap: int) -> list[Block]:
    """Points of one table in address order → as few blocks as the limits allow."""
    limit = MAX_BITS if points[0].table.of_bits else MAX_REGISTERS
    runs: list[list[Point]] = []
    end = 0
    for point in points:
        fits = runs and point.address - end <= max_gap and max(end, point.end) - runs[-1][0].address <= limit
        if fits:
            runs[-1].append(point)
            end = max(end, point.end)
        else:
            runs.append([point])
            end = point.end
    return [Block.of(run) for run in runs]


def split(block: Block) -> tuple[Block, Block]:
    """A block of several points, refused as a whole → two: at its widest gap, which is the likeliest reason, or else
    in the middle."""
    points = block.points
    ends: list[int] = []
    for point in points:
        ends.append(max(point.end, ends[-1] if ends else 0))
    gaps = [point.address - end for point, end in zip(points[1:], ends, strict=False)]
    widest = max(range(len(gaps)), key=lambda index: gaps[index])
    cut = widest + 1 if gaps[widest] > 0 else len(points) // 2
    return Block.of(points[:cut]), Block.of(points[cut:])
