"""One Modbus device: polls its blocks by an absolute schedule, reports changes, writes and reads back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from twingateway.adapter import Device, DevicePort, Driver, Value, Written
from twingateway.errors import DeviceError, DeviceRefused, WriteMismatch
from twingateway_modbus.exceptions import ILLEGAL_ADDRESS, ILLEGAL_VALUE
from twingateway_modbus.link import Link, Turn
from twingateway_modbus.plan import Block, plan
from twingateway_modbus.point import Point
from twingateway_modbus.schedule import Round
from twingateway_modbus.settings import AddressSettings

#: Exceptions by which a device refuses a block because of one address in it.
_SPLITTING = frozenset({ILLEGAL_ADDRESS, ILLEGAL_VALUE})
#: Seconds before something that the device refused to read is asked for again.
_REFUSED_PAUSE = 30.0
#: Seconds between two tellings of the same problem.
_REPEAT = 10.0
#: Seconds between read-backs that show another value: a controller may need its next cycle to take a value over.
_SETTLING = (0.1, 0.4)


class ModbusDriver(Driver):
    """Reports a property when it changed by more than its deadband since its last report."""

    def __init__(self, device: Device, port: DevicePort, link: Link, release: Callable[[], None]) -> None:
        """`release` is called once, when the driver needs `link` no more."""
        self._address: AddressSettings = device.settings.address
        self._points: dict[str, Point] = {point.name: point for point in device.settings.points()}
        self._port = port
        self._link = link
        self._release: Callable[[], None] | None = release
        self._rounds = [Round(period, list(blocks)) for period, blocks in plan(self._points.values()).items()]
        self._reported: dict[str, Value] = {}
        self._problems: dict[str, DeviceError] = {}
        self._refused_until: dict[Block, float] = {}
        self._told: dict[str, str] = {}
        self._tell_again = 0.0
        self.writable = frozenset(point.name for point in self._points.values() if point.writable)

    # --- polling ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._restart(loop.time())
        while True:
            upcoming = min(self._rounds, key=lambda item: item.due)
            await asyncio.sleep(max(0.0, upcoming.due - loop.time()))
            await self._poll(upcoming)
            upcoming.advance(loop.time())

    def _restart(self, now: float) -> None:
        """Everything is read at once and reported whole."""
        self._reported.clear()
        self._refused_until.clear()
        for item in self._rounds:
            item.due = now

    async def _poll(self, item: Round) -> None:
        """One round; leaves the device marked online, or offline and, if it cost a time-out, after the wait for the
        next try. Each block is reported before anybody else has a turn, so no older value follows a written one."""
        heard = False
        try:
            async for values in self._answers(item):
                heard = True
                self._report(values)
        except DeviceError as gone:
            await self._stay_away(gone)
            return
        if heard or len(self._problems) < len(self._points):
            self._complain()
        else:
            self._reported.clear()
            self._port.offline(next(iter(self._problems.values())))

    async def _answers(self, item: Round) -> AsyncIterator[dict[str, Value]]:
        """The values of each block of the round, as the device answers; none for a block it refuses, which marks only
        its own properties and is split for this and all later rounds. Raises what took the device away."""
        todo = list(item.blocks)
        while todo:
            block = todo.pop(0)
            if self._is_resting(block):
                yield {}
                continue
            try:
                cells = await self._read(block)
            except DeviceError as error:
                if self._link.blocked_for(self._address.unit):
                    raise
                code = error.detail.get("exception")
                if code in _SPLITTING and len(block.points) > 1:
                    todo[:0] = item.split(block)
                else:
                    self._refused(block, error)
                if code is not None:
                    yield {}
            else:
                yield self._decode(block, cells)

    def _is_resting(self, block: Block) -> bool:
        return asyncio.get_running_loop().time() < self._refused_until.get(block, 0.0)

    def _refused(self, block: Block, error: DeviceError) -> None:
        for point in block.points:
            self._problems[point.name] = _about(block.points, error)
        if error.detail.get("exception") in _SPLITTING:
            self._refused_until[block] = asyncio.get_running_loop().time() + _REFUSED_PAUSE

    def _decode(self, block: Block, cells: list[int]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for point in block.points:
            start = point.address - block.address
            try:
                values[point.name] = point.decode(cells[start : start + point.count])
            except DeviceError as error:
                self._problems[point.name] = error
            else:
                self._problems.pop(point.name, None)
        return values

    def _report(self, values: Mapping[str, Value]) -> None:
        changed = {
            name: value
            for name, value in values.items()
            if name not in self._reported or self._points[name].changed(self._reported[name], value)
        }
        self._reported |= changed
        if changed:
            self._port.report(changed)
        else:
            self._port.online()

    def _complain(self) -> None:
        """Tell what is wrong when that changes, and again now and then, since a report takes it off the screen."""
        now = asyncio.get_running_loop().time()
        told = {name: error.message for name, error in self._problems.items()}
        if told and (told != self._told or now >= self._tell_again):
            self._port.problem(next(iter(self._problems.values())))
            self._tell_again = now + _REPEAT
        self._told = told

    async def _stay_away(self, error: DeviceError) -> None:
        wait = self._link.blocked_for(self._address.unit)
        self._port.offline(type(error)(error.message, **error.detail | {"retry_in": wait}))
        await asyncio.sleep(wait)
        self._restart(asyncio.get_running_loop().time())

    # --- one-off reads ------------------------------------------------------------------------------------

    async def read(self) -> Mapping[str, Value]:
        values: dict[str, Value] = {}
        self._refused_until.clear()
        for item in self._rounds:
            async for answered in self._answers(item):
                values |= answered
        if not values:
            raise next(iter(self._problems.values()))
        for problem in self._problems.values():
            self._port.problem(problem)
        return values

    async def read_back(self, name: str) -> Value:
        async with self._link.turn(self._address.unit, self._address.timeout, urgent=True) as turn:
            return await self._value(turn, self._points[name])

    async def _read(self, block: Block) -> list[int]:
        async with self._link.turn(self._address.unit, self._address.timeout) as turn:
            return await turn.read(block.table, block.address, block.count)

    @staticmethod
    async def _value(turn: Turn, point: Point) -> Value:
        try:
            cells = await turn.read(point.table, point.address, point.count)
        except DeviceError as error:
            raise _about((point,), error) from error
        return point.decode(cells)

    # --- writing ------------------------------------------------------------------------------------------

    async def write(self, name: str, value: Value) -> Written:
        point = self._points[name]
        if not point.writable:
            raise DeviceRefused(f"{name} cannot be written", property=name)
        async with self._link.turn(self._address.unit, self._address.timeout, urgent=True) as turn:
            await self._put(turn, point, value)
            observed = await self._value(turn, point)
        for pause in _SETTLING:
            if self.matches(name, value, observed):
                break
            await asyncio.sleep(pause)
            observed = await self.read_back(name)
        self._report({name: observed})
        if not self.matches(name, value, observed):
            raise WriteMismatch(
                f"{name} is {observed!r} after {value!r} was written", property=name, observed=observed
            )
        return Written(confirmed=True, observed=observed)

    async def _put(self, turn: Turn, point: Point, value: Value) -> None:
        """A bit inside a register is changed in what the register holds now; the turn keeps others away meanwhile."""
        try:
            current: list[int] = []
            if point.codec.bits is not None:
                point.encode(value, [0] * point.count)
                current = await turn.read(point.table, point.address, point.count)
            cells = point.encode(value, current)
            if point.table.of_bits:
                await turn.write_coil(point.address, bool(cells[0]))
            else:
                await turn.write_registers(point.address, cells)
        except DeviceError as error:
            raise _about((point,), error) from error

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        return self._points[name].codec.matches(wanted, observed)

    async def close(self) -> None:
        if self._release is not None:
            self._release()
            self._release = None


def _about(points: Iterable[Point], error: DeviceError) -> DeviceError:
    """`error` with the properties it concerns in front."""
    names = ", ".join(point.name for point in points)
    if error.message.startswith(names):
        return error
    return type(error)(f"{names}: {error.message}", **error.detail)
