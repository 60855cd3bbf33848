"""A played device whose trouble is a row of switches: what answers for it looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.node.sites import free_port
from twingateway.adapter import Value
from twingateway.testing.adapter_contract import PlayedDevice

#: By name of a device: where it listens again when it was away, so that nobody else is given it meanwhile. They are
#: taken here since what keeps them is a file that stays open, for which the kit looks from when a device is played.
PORTS = {name: free_port() for name in ("device-1", "device-2")}


class SwitchedDevice(PlayedDevice):
    """`others`: what it has at the start besides the first of what it shows."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        shows: Mapping[str, tuple[Value, Value]],
        takes: Mapping[str, tuple[Value, Value]] | None = None,
        **others: Value,
    ) -> None:
        super().__init__(spec, shows, takes)
        self.values: dict[str, Value] = {name: first for name, (first, _) in shows.items()} | others
        self.clock: int | None = None
        """What it says of the time, Unix milliseconds."""
        self.talks = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.talks.set()
        self.is_mad = self.is_slow = False
        self.spoilt = self.refused = self.ignored = ""
        """Properties that cannot be read, or whose writes it refuses, or acknowledges only."""

    @property
    def is_silent(self) -> bool:
        return not self.talks.is_set()

    async def changed(self) -> None:
        """A value or a switch is another one: to be overridden by what speaks by itself."""

    async def show(self, name: str, value: Value) -> None:
        self.values[name] = value
        await self.changed()

    async def held(self, name: str) -> Value:
        return self.values[name]

    async def fall_silent(self) -> None:
        self.talks.clear()

    async def dawdle(self) -> None:
        self.is_slow = True

    async def talk_nonsense(self) -> None:
        self.is_mad = True
        await self.changed()

    async def spoil(self, name: str) -> None:
        self.spoilt = name
        await self.changed()

    async def refuse(self, name: str) -> None:
        self.refused = name

    async def ignore(self, name: str) -> None:
        self.ignored = name

    async def date(self, time: int) -> None:
        self.clock = time

    async def recover(self) -> None:
        self.reset()
        await self.changed()
