"""All units of a serial line as one device that can only be written to: unit 0, to which none answers.

It is there while its line can be used. What was written ends as `delivered`, `unconfirmed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from twingateway.adapter import UNCONFIRMED, Device, DevicePort, Driver, Value, Written, not_writable
from twingateway.errors import DeviceUnreachable
from twingateway_modbus.link import Link, nobody_answers
from twingateway_modbus.point import Point
from twingateway_modbus.settings import DeviceSettings
from twingateway_modbus.writer import put_point

#: Seconds between two looks at whether the line is still there.
_LOOK = 5.0


class BroadcastDriver(Driver):
    """`release` is called once, when the driver needs `link` no more."""

    def __init__(
        self, device: Device, points: Iterable[Point], port: DevicePort, link: Link, release: Callable[[], None]
    ) -> None:
        settings: DeviceSettings = device.settings
        self._address = settings.address
        self._points = {point.name: point for point in points}
        self._port = port
        self._link = link
        self._release: Callable[[], None] | None = release
        self.writable = frozenset(self._points)

    async def run(self) -> None:
        while True:
            try:
                async with self._link.turn(self._address.unit, self._address.timeout) as turn:
                    await turn.connect()
            except DeviceUnreachable as error:
                wait = self._link.blocked_for(self._address.unit)
                self._port.offline(DeviceUnreachable(error.message, retry_in=wait))
            else:
                wait = _LOOK
                self._port.online()
            await asyncio.sleep(wait)

    async def read(self) -> Mapping[str, Value]:
        raise nobody_answers(self._address)

    async def write(self, name: str, value: Value) -> Written:
        if name not in self._points:
            raise not_writable(name)
        self._points[name].bounds.check(name, value)
        async with self._link.turn(self._address.unit, self._address.timeout, urgent=True) as turn:
            await put_point(turn, self._points[name], value, None)
        return UNCONFIRMED

    async def close(self) -> None:
        if self._release is not None:
            self._release()
            self._release = None
