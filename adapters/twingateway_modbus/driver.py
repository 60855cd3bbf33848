"""One Modbus device: polls its rounds by an absolute schedule, reports changes, writes and reads back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from twingateway.adapter import UNCONFIRMED, Device, DevicePort, Driver, Value, Written, not_writable
from twingateway.errors import DeviceError, DeviceRefused, WriteMismatch
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.changes import Changes
from twingateway_modbus.gate import Gate
from twingateway_modbus.introduction import Introduction
from twingateway_modbus.learned import Learned
from twingateway_modbus.link import Link
from twingateway_modbus.point import NoValue, Point
from twingateway_modbus.reader import Reader
from twingateway_modbus.schedule import Round
from twingateway_modbus.settings import DeviceSettings
from twingateway_modbus.writer import NotReadBack, put_point, read_exponent, read_point, write_point

#: Seconds between two tellings of the same problem.
_REPEAT = 10.0
#: Seconds between read-backs that show another value: a controller may need its next cycle to take a value over.
_SETTLING = (0.1, 0.4)


class ModbusDriver(Driver):
    """Each period has its own loop; a block's values are reported right when they came, before anybody else has a
    turn on the link, so that no older value follows a written one."""

    def __init__(
        self,
        device: Device,
        points: Sequence[Point],
        port: DevicePort,
        link: Link,
        learned: Learned,
        release: Callable[[], None],
        gate: Gate,
        phase: float = 0.0,
    ) -> None:
        """`points`: as the device's settings give them. `release` is called once, when the driver needs `link` no
        more. `gate` is the node's; `phase`: see `schedule`."""
        settings: DeviceSettings = device.settings
        self._address: AddressSettings = settings.address
        self._points: dict[str, Point] = {point.name: point for point in points if not point.is_scale}
        self._port = port
        self._link = link
        self._gate = gate
        self._release: Callable[[], None] | None = release
        self._unreadable = _unreadable(device)
        # Something has to be asked, or nobody would know that the device is there.
        polled = [point for point in points if point.name not in self._unreadable] or points
        self._reader = Reader(link, self._address.unit, self._address.timeout, polled, settings.limits(), learned)
        for item in self._reader.rounds:
            item.phase = phase
        link.pool(self._address.unit).join(self, polled, settings.limits())
        link.join(self, self._reader.rounds)
        self.period = max((item.period for item in self._reader.rounds), default=None)
        self._changes = Changes(self._points)
        self._introduction = Introduction(settings.identification)
        self._heard = asyncio.Event()
        self._told: dict[str, str] = {}
        self._tell_again = 0.0
        self.writable = frozenset(point.name for point in self._points.values() if point.writable)

    # --- polling ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            self._restart()
            error = await self._read_until_error()
            await self._stay_away(error)

    async def _read_until_error(self) -> DeviceError:
        """Every round in its own time, until the first of them fails; then none goes on."""
        # Not a TaskGroup: one that fails while its own task is cancelled swallows the cancellation (Python 3.11).
        rounds = [asyncio.ensure_future(self._keep_reading(item)) for item in self._reader.rounds]
        if self._introduction.is_wanted:
            rounds.append(asyncio.ensure_future(self._introduce()))
        try:
            ended, _ = await asyncio.wait(rounds, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for each in rounds:
                each.cancel()
            await asyncio.gather(*rounds, return_exceptions=True)
        try:
            for each in ended:
                each.result()
        except DeviceError as error:
            return error
        raise AssertionError("a round ends only by an error")

    def _restart(self) -> None:
        """Everything is read at once and reported whole."""
        now = asyncio.get_running_loop().time()
        self._changes.forget()
        self._heard.clear()
        self._reader.forget_refusals()
        for item in self._reader.rounds:
            item.start(now)

    async def _keep_reading(self, item: Round) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._gate.enter()
            heard = await self._reader.read(item, self._report, together=True)
            self._judge(heard)
            item.advance(loop.time())
            await asyncio.sleep(item.due - loop.time())

    async def _introduce(self) -> None:
        """Once the device is known to be there, it is asked who it is."""
        await self._heard.wait()
        while True:
            if values := await self._introduction.ask(self._link, self._address):
                self._port.report(values)
            self._complain()
            if self._introduction.again is None:
                return
            await asyncio.sleep(self._introduction.again)

    def _report(self, values: Mapping[str, Value], *, at_once: bool = False) -> None:
        self._mark()  # first, so that values are shown with what is known by now of those beside them
        due = self._changes.take(values, asyncio.get_running_loop().time(), at_once=at_once)
        if due.changed:
            self._port.report(due.changed)
        if due.again:
            self._port.report(due.again, again=True)
        if not due.changed and not due.again:
            self._port.online()

    def _judge(self, heard: bool) -> None:
        """After a round: the device is there if anything believable was heard, or some property is well."""
        problems = self._reader.problems
        if heard or len(problems) < len(self._points):
            self._heard.set()
            if problems or self._told or self._introduction.problems:
                self._complain()
        else:
            self._changes.forget()
            self._port.offline(next(iter(problems.values())))

    @property
    def _problems(self) -> Mapping[str, DeviceError]:
        return {**self._reader.problems, **self._introduction.problems}

    def _mark(self) -> None:
        """Tell which values are not good when that changes."""
        if not (self._told or self._reader.problems or self._introduction.problems):
            return
        problems = self._problems
        told = {name: error.message for name, error in problems.items()}
        if told != self._told:
            self._told, self._tell_again = told, 0.0
            self._port.quality(problems)

    def _complain(self) -> None:
        """Tell what is wrong when that changes, and again now and then, since a report takes it off the screen."""
        self._mark()
        now = asyncio.get_running_loop().time()
        faults = [error for error in self._problems.values() if not isinstance(error, NoValue)]
        if faults and now >= self._tell_again:
            self._port.problem(faults[0])
            self._tell_again = now + _REPEAT

    async def _stay_away(self, error: DeviceError) -> None:
        wait = self._link.blocked_for(self._address.unit)
        self._port.offline(type(error)(error.message, **error.detail | {"retry_in": wait}))
        await asyncio.sleep(wait)
        await asyncio.sleep(self._link.until_quiet(self, self._address.unit, self._address.timeout))

    # --- one-off reads ------------------------------------------------------------------------------------

    async def read(self) -> Mapping[str, Value]:
        values: dict[str, Value] = {}
        self._reader.forget_refusals()
        for item in self._reader.rounds:
            await self._reader.read(item, values.update)
        if not values:
            raise next(iter(self._reader.problems.values()))
        values |= await self._introduction.ask(self._link, self._address)
        problems = {**self._reader.problems, **self._introduction.problems}
        for problem in problems.values():
            if not isinstance(problem, NoValue):
                self._port.problem(problem)
        return values

    async def read_back(self, name: str) -> Value:
        point = self._points.get(name)
        if point is None:
            raise DeviceRefused(f"{name} is not read from this device", property=name)
        if name in self._unreadable:
            raise DeviceRefused(f"{name} can only be written, as the model says", property=name)
        async with self._link.turn(self._address.unit, self._address.timeout, urgent=True) as turn:
            exponent = await read_exponent(turn, point)
            self._remember(point, exponent)
            return await read_point(turn, point, exponent)

    # --- writing ------------------------------------------------------------------------------------------

    async def write(self, name: str, value: Value) -> Written:
        point = self._points.get(name)
        if point is None or not point.writable:
            raise not_writable(name)
        point.bounds.check(name, value)
        async with self._link.turn(self._address.unit, self._address.timeout, urgent=True) as turn:
            exponent = await read_exponent(turn, point)
            self._remember(point, exponent)
            if name in self._unreadable:
                await put_point(turn, point, value, exponent)
                return UNCONFIRMED
            try:
                observed = await write_point(turn, point, value, exponent)
            except NotReadBack:
                return UNCONFIRMED
        for pause in _SETTLING:
            if self.matches(name, value, observed):
                break
            await asyncio.sleep(pause)
            observed = await self.read_back(name)
        self._report({name: observed}, at_once=True)
        if not self.matches(name, value, observed):
            raise WriteMismatch(
                f"{name} is {observed!r} after {value!r} was written", property=name, observed=observed
            )
        return Written(confirmed=True, observed=observed)

    def _remember(self, point: Point, exponent: int | None) -> None:
        if point.scale_at is not None and exponent is not None:
            self._reader.exponents[point.table, point.scale_at] = exponent

    def problem_with(self, name: str) -> str:
        """What is wrong with a property at present, empty if nothing."""
        error = self._reader.problems.get(name) or self._introduction.problems.get(name)
        return "" if error is None else error.message

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        point = self._points[name]
        return point.matches(wanted, observed, self._exponent(point))

    def reads_as(self, name: str, value: Value) -> Value:
        """How `value` is read back, to the last digit. Raises InvalidValue, DeviceReplyInvalid."""
        point = self._points.get(name)
        if point is None:  # what the device says of itself
            return value
        return point.reads_as(value, self._exponent(point))

    def _exponent(self, point: Point) -> int | None:
        return None if point.scale_at is None else self._reader.exponents.get((point.table, point.scale_at))

    async def close(self) -> None:
        self._link.pool(self._address.unit).leave(self)
        self._link.leave(self)
        if self._release is not None:
            self._release()
            self._release = None


def _unreadable(device: Device) -> frozenset[str]:
    """What the model says can only be written: it is neither polled nor read back."""
    if device.model is None:
        return frozenset()
    return frozenset(name for name, source in device.model.properties.items() if not source.readable)
