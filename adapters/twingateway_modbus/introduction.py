"""Asks one device who it is, for the properties that are to say so.

A device that knows no such function may refuse it, stay silent or hang up. That is no fault of anything else about
it: it is not held against the unit, and what did not answer is left in peace for an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from twingateway.errors import DeviceError, DeviceRefused, DeviceTimeout, DeviceUnreachable
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.identity import ObjectId, level_of, name_of, number_of, texts
from twingateway_modbus.link import Link

#: Seconds before a device that did not answer this is asked again.
_PEACE = 3600.0


class Introduction:
    """`problems`: what is wrong with which property at present."""

    def __init__(self, wanted: Mapping[str, ObjectId]) -> None:
        self._wanted = {name: number_of(each) for name, each in wanted.items()}
        self._level = max(map(level_of, self._wanted.values()), default=0)
        self._peace_until = 0.0
        self.problems: dict[str, DeviceError] = {}

    async def ask(self, link: Link, address: AddressSettings) -> dict[str, str]:
        """What the device says now; nothing if nothing is wanted or it says nothing."""
        loop = asyncio.get_running_loop()
        if not self._wanted or loop.time() < self._peace_until:
            return {}
        try:
            async with link.turn(address.unit, address.timeout) as turn:
                objects = await turn.identify(self._level)
        except DeviceError as error:
            if isinstance(error, DeviceTimeout | DeviceUnreachable | DeviceRefused):
                self._peace_until = loop.time() + _PEACE
            self.problems = {name: type(error)(f"{name}: {error.message}", **error.detail) for name in self._wanted}
            return {}
        found = texts(self._wanted, objects)
        self.problems = {
            name: DeviceRefused(f"{name}: the device does not say its {name_of(number)}", property=name)
            for name, number in self._wanted.items()
            if name not in found
        }
        return found
