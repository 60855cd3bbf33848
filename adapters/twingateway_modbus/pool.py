"""What the devices behind one unit read together: a unit may be the door to many logical devices. Pure.

Each device reads the blocks of its own plan. Where several devices have the same unit, a block is widened to that of
the plan for all of them, and what came serves the others for half of their period: they are polled in phase, so that
one request is made for all. What the unit refuses to have read so is learned, as that which it refuses to one of
them is, and kept for the next start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from twingateway_modbus.learned import Learned
from twingateway_modbus.plan import Block, Limits, Range, plan
from twingateway_modbus.point import Point
from twingateway_modbus.request import Cells

#: The share of its period for which a device is content with what was read for another.
_CONTENT = 0.5


class _Read(NamedTuple):
    time: float
    data: bytes


class Pool:
    """Of one unit; times are on the event loop's clock."""

    __slots__ = ("_blocks", "_members", "_reads", "_wide", "learned")

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self._members: dict[object, tuple[tuple[Point, ...], Limits]] = {}
        self._blocks: dict[float, list[Block]] = {}
        self._wide: dict[tuple[Cells, float], Cells] = {}
        self._reads: dict[Cells, _Read] = {}

    @property
    def is_shared(self) -> bool:
        return len(self._members) > 1

    def join(self, member: object, points: Iterable[Point], limits: Limits) -> None:
        """`limits` as declared: only those who declare the same read together."""
        self._members[member] = tuple(points), limits
        self.plan()

    def leave(self, member: object) -> None:
        self._members.pop(member, None)
        self.plan()

    def plan(self) -> None:
        """Anew, with what was learned."""
        self._wide.clear()
        self.forget()
        self._blocks = defaultdict(list)
        if not self.is_shared:
            return
        groups: list[tuple[Limits, list[Point]]] = []
        for points, limits in self._members.values():
            group = next((held for known, held in groups if known == limits), None)
            if group is None:
                groups.append((limits, list(points)))
            else:
                group += points
        for limits, joined in groups:
            for period, blocks in plan(joined, self.learned.limits(limits)).items():
                self._blocks[period] += blocks

    def widened(self, cells: Cells, period: float) -> Cells:
        """What to read instead of `cells`; themselves if nobody else has anything near."""
        key = cells, period
        wide = self._wide.get(key)
        if wide is None:
            block = self.block(cells, period)
            wide = self._wide[key] = cells if block is None else block.cells
        return wide

    def block(self, cells: Cells, period: float) -> Block | None:
        """What is read for all, that `cells` are a part of."""
        end = cells.address + cells.count
        for block in self._blocks.get(period, ()):
            if block.table is cells.table and block.address <= cells.address and end <= block.end:
                return block
        return None

    def keep(self, wide: Cells, data: bytes, now: float) -> None:
        self._reads[wide] = _Read(now, data)
        alone = Range(wide.address, wide.address + wide.count)
        if self.learned.alone and self.learned.discard_alone(wide.table, alone):
            self.plan()
            self.learned.save()

    def forget(self) -> None:
        """Something was written: nothing read before says how things are."""
        self._reads.clear()

    def recent(self, wide: Cells, cells: Cells, period: float, now: float) -> bytes | None:
        """The data of `cells` as they were read a little while ago, if they were."""
        read = self._reads.get(wide)
        if read is None or now - read.time > _CONTENT * period:
            return None
        return cut(wide, cells, read.data)


def cut(wide: Cells, cells: Cells, data: bytes) -> bytes:
    """The part of `data`, read as `wide`, that is `cells`."""
    width = cells.table.width
    start = width * (cells.address - wide.address)
    return data[start : start + width * cells.count]
