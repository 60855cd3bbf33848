"""Asks one device who it is, for the properties that are to say so.

A device that knows no such function may refuse it, stay silent or hang up. That is no fault of anything else about
it and not held against the unit. One that refused is asked again when it has been away, one from which nothing came
that could be believed after a minute, then ever more seldom: it may cost its neighbours a time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from twingateway.errors import DeviceError, DeviceRefused
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.identity import ObjectId, level_of, name_of, number_of, texts
from twingateway_modbus.link import Link

#: Seconds before a device that did not answer this is asked again, doubling.
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0


class Introduction:
    """`problems`: what is wrong with which property at present. `again`: seconds after which to ask once more; None:
    that would be of no use."""

    def __init__(self, wanted: Mapping[str, ObjectId]) -> None:
        self._wanted = {name: number_of(each) for name, each in wanted.items()}
        self._level = max(map(level_of, self._wanted.values()), default=0)
        self._pause = 0.0
        self._until = 0.0
        self.problems: dict[str, DeviceError] = {}
        self.again: float | None = None

    @property
    def is_wanted(self) -> bool:
        return bool(self._wanted)

    async def ask(self, link: Link, address: AddressSettings) -> dict[str, str]:
        """What the device says now; nothing if nothing is wanted, it says nothing, or it did not a moment ago."""
        loop = asyncio.get_running_loop()
        if not self.is_wanted or loop.time() < self._until:
            return {}
        try:
            async with link.turn(address.unit, address.timeout) as turn:
                objects = await turn.identify(self._level)
        except DeviceError as error:
            self._failed(error, loop.time())
            return {}
        self._pause, self._until, self.again = 0.0, 0.0, None
        found = texts(self._wanted, objects)
        self.problems = {
            name: DeviceRefused(f"{name}: the device does not say its {name_of(number)}", property=name)
            for name, number in self._wanted.items()
            if name not in found
        }
        return found

    def _failed(self, error: DeviceError, now: float) -> None:
        self.problems = {name: type(error)(f"{name}: {error.message}", **error.detail) for name in self._wanted}
        if isinstance(error, DeviceRefused):
            self.again = None
            return
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) or _FIRST_PAUSE
        self._until, self.again = now + self._pause, self._pause
