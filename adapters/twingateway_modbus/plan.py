"""Which requests read which properties. Pure.

A request costs about the same however much it reads, so neighbours are joined even across a gap: sorted by address,
a block grows while the gap and the whole span stay within limits and nothing known as unreadable is bridged. A value
is never split. Taking as many as fit from the left needs the fewest requests: any part of what one request can read
can be read by one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from twingateway_modbus.point import Point, Table
from twingateway_modbus.request import Cells

#: Cells that nobody asked for but that may be read to join two neighbours.
MAX_GAP = 16
#: What one request may read by the Modbus specification.
MAX_REGISTERS = 125
MAX_BITS = 2000


class Range(NamedTuple):
    """Addresses from `start` up to, not including, `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may read.

    readable: where it is given for a table, a block lies within one of its ranges. forbidden: never touched.
    holes: gaps that were found to be unreadable: no block holds what lies before and what lies behind one (an empty
    one is a place where the device does not let a request pass). alone: addresses whose values spoil a block.
    """

    max_gap: int = MAX_GAP
    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    readable: Mapping[Table, tuple[Range, ...]] = field(default_factory=dict)
    forbidden: Mapping[Table, tuple[Range, ...]] = field(default_factory=dict)
    holes: Mapping[Table, tuple[Range, ...]] = field(default_factory=dict)
    alone: Mapping[Table, frozenset[Range]] = field(default_factory=dict)

    def most(self, table: Table) -> int:
        return self.max_bits if table.of_bits else self.max_registers

    def allows(self, table: Table, start: int, end: int) -> bool:
        """Whether addresses `start` to `end` may be read in one request as far as was declared."""
        readable = self.readable.get(table)
        if readable is not None and not any(each.start <= start and end <= each.end for each in readable):
            return False
        # By the addresses both hold, so that an empty range forbids nothing.
        return not any(max(start, each.start) < min(end, each.end) for each in self.forbidden.get(table, ()))

    def joins(self, table: Table, start: int, end: int, point: Point) -> bool:
        """Whether the block `start` to `end` may grow by `point`, which does not begin before it."""
        reach = max(end, point.end)
        if point.address - end > self.max_gap or reach - start > self.most(table):
            return False
        if any(hole.start >= end and hole.end <= point.address for hole in self.holes.get(table, ())):
            return False
        return self.allows(table, start, reach)

    def is_alone(self, point: Point) -> bool:
        return Range(point.address, point.end) in self.alone.get(point.table, frozenset())


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

    @property
    def end(self) -> int:
        return self.address + self.count

    @property
    def cells(self) -> Cells:
        return Cells(self.table, self.address, self.count)

    def gaps(self) -> list[Range]:
        """What lies between each point, with all before it, and the next; empty where they touch or overlap."""
        gaps, end = [], 0
        for point, following in pairwise(self.points):
            end = max(end, point.end)
            gaps.append(Range(end, max(end, following.address)))
        return gaps

    @property
    def is_divisible(self) -> bool:
        """Whether two smaller requests could read its points."""
        return bool(self.cuts())

    def cuts(self) -> list[int]:
        """Numbers of points behind which it can be cut without dividing a value."""
        pairs = zip(self.gaps(), self.points[1:], strict=True)
        return [number for number, (gap, point) in enumerate(pairs, 1) if point.address >= gap.start]


def plan(points: Iterable[Point], limits: Limits | None = None) -> dict[float, tuple[Block, ...]]:
    """Period in seconds → the blocks to read in each, those with scale-factor registers first."""
    limits = limits or Limits()
    by_period = groupby(
        sorted(points, key=attrgetter("period", "table", "address", "end", "name")), attrgetter("period")
    )
    return {
        period: tuple(
            sorted(
                (
                    block
                    for _, neighbours in groupby(group, attrgetter("table"))
                    for block in _joined(list(neighbours), limits)
                ),
                key=lambda block: not any(point.is_scale for point in block.points),
            )
        )
        for period, group in by_period
    }


def _joined(points: list[Point], limits: Limits) -> list[Block]:
    """Points of one table in address order → as few blocks as the limits allow."""
    runs: list[list[Point]] = []
    lonely = groupby((point for point in points if limits.is_alone(point)), attrgetter("address", "end"))
    singles = [list(group) for _, group in lonely]
    end = 0
    for point in points:
        if limits.is_alone(point):
            continue
        if runs and limits.joins(point.table, runs[-1][0].address, end, point):
            runs[-1].append(point)
            end = max(end, point.end)
        else:
            runs.append([point])
            end = point.end
    return [Block.of(run) for run in (*runs, *singles)]


def split(block: Block) -> tuple[Block, Block]:
    """A divisible block, refused as a whole → two: at its widest gap, which is the likeliest reason, or else as near
    to the middle as its points allow."""
    points = block.points
    gaps = block.gaps()
    middle = len(points) / 2
    cut = max(block.cuts(), key=lambda at: (gaps[at - 1].end - gaps[at - 1].start, -abs(at - middle)))
    return Block.of(points[:cut]), Block.of(points[cut:])


def hole_between(first: Block, second: Block) -> Range:
    """What a device must have refused if it answers both blocks but not the one that they were split from."""
    return Range(first.end, second.address)
