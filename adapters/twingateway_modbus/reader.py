"""Reads the blocks of one device, side by side where its link has several connections, and learns from what it
refuses: after a round in which a block was refused for an address (exception 2 or 3) the plan is made anew. See
`bisection`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from twingateway.adapter import Value
from twingateway.errors import DeviceError, DeviceRefused, DeviceReplyInvalid
from twingateway_modbus.bisection import Answer, bisect
from twingateway_modbus.learned import Learned
from twingateway_modbus.link import Link
from twingateway_modbus.plan import Block, Limits, Range, plan
from twingateway_modbus.point import NoValue, Point, Table
from twingateway_modbus.raw import CodecError
from twingateway_modbus.request import Cells
from twingateway_modbus.schedule import Round

#: Seconds before something that the device refused to read is asked for again.
_REFUSED_PAUSE = 30.0

#: Takes the values of one block, right when they came.
Deliver = Callable[[Mapping[str, Value]], None]


class Slot(NamedTuple):
    """Where in a block's data a property lies. `decode`: None where it takes more than the data."""

    name: str
    start: int
    end: int
    decode: Callable[[bytes], Value] | None
    point: Point


class Layout(NamedTuple):
    """A block's properties, ready to be decoded."""

    block: Block
    slots: tuple[Slot, ...]
    has_scales: bool

    @classmethod
    def of(cls, block: Block) -> Layout:
        slots = tuple(_slot(point, block) for point in block.points if not point.is_scale)
        return cls(block, slots, len(slots) < len(block.points))


def _slot(point: Point, block: Block) -> Slot:
    start = block.table.width * (point.address - block.address)
    plain = point.scale_at is None and not block.table.of_bits and not point.is_whole
    end = start + block.table.width * point.count
    return Slot(point.name, start, end, point.codec.decode if plain else None, point)


class Reader:
    """`problems`: what is wrong with which property at present. `exponents`: the scale-factor registers' content."""

    def __init__(
        self, link: Link, unit: int, timeout: float, points: Iterable[Point], limits: Limits, learned: Learned
    ) -> None:
        self._link = link
        self._unit = unit
        self._timeout = timeout
        self._points = tuple(points)
        self._limits = limits
        self._learned = learned
        self._has_learned = False
        self._refused_until: dict[Cells, float] = {}
        self._layouts: dict[int, Layout] = {}
        self.problems: dict[str, DeviceError] = {}
        self.exponents: dict[tuple[Table, int], int] = {}
        self.rounds = [Round(period, list(blocks)) for period, blocks in self._plan().items()]

    def _plan(self) -> dict[float, tuple[Block, ...]]:
        return plan(self._points, self._learned.limits(self._limits))

    def forget_refusals(self) -> None:
        """Ask again at once for what was refused."""
        self._refused_until.clear()

    async def read(self, item: Round, deliver: Deliver, *, together: bool = False) -> bool:
        """One round, block by block. Returns whether anything that could be believed was heard, be it a refusal.
        Raises the error that took the device away. `together`: what was just read for another device of the unit will
        do."""
        period = item.period if together else 0.0
        if self._refused_until:
            self._ask_for_something()
        heard, blocks = False, tuple(item.blocks)
        if len(blocks) == 1 or self._link.connections == 1:
            for block in blocks:
                heard = await self._read(block, deliver, period) or heard
        else:  # a plan begins with the scale factors, which the others may need
            for _, alike in groupby(blocks, _has_scales):
                heard = await self._read_side_by_side(deque(alike), deliver, period) or heard
        if self._has_learned:
            self._has_learned = False
            planned = self._plan()
            self._layouts.clear()
            for each in self.rounds:
                each.blocks = list(planned[each.period])
            self._learned.save()
        return heard

    async def _read_side_by_side(self, todo: deque[Block], deliver: Deliver, period: float) -> bool:
        """As many at a time as there are connections; after an error that takes the device away none is begun."""

        async def work() -> bool:
            heard = False
            try:
                while todo:
                    heard = await self._read(todo.popleft(), deliver, period) or heard
            except BaseException:
                todo.clear()
                raise
            return heard

        workers = (work() for _ in range(min(len(todo), self._link.connections)))
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return any(outcomes)

    def _ask_for_something(self) -> None:
        """Where everything was refused one block is asked for in each round, by turns: nobody would know otherwise
        whether the device is still there."""
        everything = [block.cells for each in self.rounds for block in each.blocks]
        if all(map(self._is_resting, everything)):
            del self._refused_until[min(everything, key=self._refused_until.__getitem__)]

    async def _read(self, block: Block, deliver: Deliver, period: float) -> bool:
        """A block, in halves if need be."""
        answer = await self._ask(block, deliver, period)
        if answer is Answer.REFUSED and await bisect(block, lambda half: self._ask(half, deliver), self._learned):
            self._has_learned = True
        return answer is not Answer.NOTHING

    async def _ask(self, block: Block, deliver: Deliver, period: float = 0.0) -> Answer:
        cells = block.cells
        if self._refused_until and self._is_resting(cells):
            return Answer.EXCEPTION
        try:
            data = await self._link.read(self._unit, self._timeout, cells, period)
        except DeviceError as error:
            if not isinstance(error, DeviceRefused) and self._link.blocked_for(self._unit):
                raise
            return self._failed(block, cells, error, deliver)
        deliver(self.decode(block, data))
        if self._learned.alone and self._learned.discard_alone(block.table, Range(block.address, block.end)):
            self._refused_until.pop(cells, None)
            self._has_learned = True
        return Answer.DATA

    def _is_resting(self, cells: Cells) -> bool:
        return asyncio.get_running_loop().time() < self._refused_until.get(cells, 0.0)

    def _failed(self, block: Block, cells: Cells, error: DeviceError, deliver: Deliver) -> Answer:
        answer = Answer.of(error)
        if answer is not Answer.REFUSED or not block.is_divisible:
            self._blame(block, error)
        if answer is Answer.REFUSED and not block.is_divisible:
            self._refused_until[cells] = asyncio.get_running_loop().time() + _REFUSED_PAUSE
        if answer is not Answer.NOTHING:
            deliver({})
        return answer

    def _blame(self, block: Block, error: DeviceError) -> None:
        told = about(block.points, error)
        self.problems |= {point.name: told for point in block.points if not point.is_scale}

    def decode(self, block: Block, data: bytes) -> dict[str, Value]:
        """The values of a block; what cannot be decoded becomes a problem of its property alone."""
        values: dict[str, Value] = {}
        problems = self.problems
        known = self._layouts.get(id(block))
        if known is None or known.block is not block:
            known = self._layouts[id(block)] = Layout.of(block)
        if known.has_scales:
            self._take_exponents(block, data)
        for name, start, end, decode, point in known.slots:
            try:
                if decode is not None:
                    value = decode(data[start:end])
                else:
                    value = point.decode(data[start:end], self._exponent(point))
            except CodecError as error:
                problems[name] = DeviceReplyInvalid(f"{name}: {error}", property=name)
                continue
            except DeviceError as error:
                problems[name] = error
                continue
            values[name] = value
            if value is None:
                problems[name] = NoValue(name)
            elif problems:
                problems.pop(name, None)
        return values

    def _exponent(self, point: Point) -> int | None:
        return None if point.scale_at is None else self.exponents.get((point.table, point.scale_at))

    def _take_exponents(self, block: Block, data: bytes) -> None:
        for point in block.points:
            if point.is_scale:
                start = 2 * (point.address - block.address)
                exponent = int.from_bytes(data[start : start + 2], "big", signed=True)
                self.exponents[point.table, point.address] = exponent


def _has_scales(block: Block) -> bool:
    return any(point.is_scale for point in block.points)


def about(points: Iterable[Point], error: DeviceError) -> DeviceError:
    """`error` with the properties it concerns in front."""
    names = ", ".join(point.name for point in points if not point.is_scale)
    if not names or error.message.startswith(names):
        return error
    return type(error)(f"{names}: {error.message}", **error.detail)
