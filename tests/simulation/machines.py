"""The devices of the simulated world: one machine may be wired to several edges, is slow, and is sometimes off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from twingateway.adapter import Adapter, AdapterContext, AdapterKind, Device, DevicePort, Driver, Value, Written
from twingateway.errors import DeviceRefused, DeviceUnreachable

WRITABLE = ("speed", "mode")
#: Seconds that a write takes at most, before and after it has its effect.
SLOWEST = 0.01
FORBIDDEN = "forbidden"

#: (node, device, what) → what happens at this step of the node's work; it may not return.
Step = Callable[[str, str], Awaitable[None]]


@dataclass(eq=False)
class Machine:
    """What a device holds, who is wired to it at present, and whether it answers. `on_write(node, name, value)` is
    told of every write that has its effect, `on_begin` of every one that is asked for."""

    name: str
    on_begin: Callable[[str, str, Value], None]
    on_write: Callable[[str, str, Value], None]
    values: dict[str, Value] = field(default_factory=lambda: {"value": 0, **dict.fromkeys(WRITABLE, 0)})
    ports: dict[str, DevicePort] = field(default_factory=dict)
    off: bool = False
    turned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the machine goes off."""

    def say(self, **values: Value) -> None:
        """The device changes, and tells everyone who is wired to it."""
        self.values.update(values)
        if not self.off:
            for port in self.ports.values():
                port.report(values)

    def switch(self, *, off: bool) -> None:
        self.off = off
        (self.turned.set if off else self.turned.clear)()


class _Wire(Driver):
    writable = frozenset(WRITABLE)

    def __init__(self, node: str, machine: Machine, port: DevicePort, step: Step, chance: random.Random) -> None:
        self._node = node
        self._machine = machine
        self._port = port
        self._step = step
        self._chance = chance

    async def run(self) -> None:
        self._machine.ports[self._node] = self._port
        self._answers()
        self._port.report(dict(self._machine.values))
        await self._machine.turned.wait()
        self._answers()

    async def read(self) -> Mapping[str, Value]:
        self._answers()
        return dict(self._machine.values)

    async def write(self, name: str, value: Value) -> Written:
        machine = self._machine
        machine.on_begin(self._node, name, value)
        await self._step(self._node, f"before it writes {machine.name}.{name}={value}")
        await asyncio.sleep(self._chance.uniform(0.0, SLOWEST))
        self._answers()
        if str(value).startswith(FORBIDDEN):
            raise DeviceRefused("the device says no")
        machine.values[name] = value
        machine.on_write(self._node, name, value)
        await self._step(self._node, f"having written {machine.name}.{name}={value}")
        await asyncio.sleep(self._chance.uniform(0.0, SLOWEST))
        self._answers()
        return Written(True, value)

    def _answers(self) -> None:
        if self._machine.off:
            raise DeviceUnreachable(f"{self._machine.name} is off")


class _Wires(Adapter):
    def __init__(self, node: str, machines: Mapping[str, Machine], step: Step, chance: random.Random) -> None:
        self._node, self._machines, self._step, self._chance = node, machines, step, chance

    def driver(self, device: Device, port: DevicePort) -> Driver:
        return _Wire(self._node, self._machines[device.id.name], port, self._step, self._chance)


class _NoSettings(BaseModel):
    pass


def machine_kind(node: str, machines: Mapping[str, Machine], step: Step, chance: random.Random) -> AdapterKind:
    """The adapter kind through which one node sees machines, by device name."""

    def open_adapter(settings: Any, context: AdapterContext) -> Adapter:
        return _Wires(node, machines, step, chance)

    return AdapterKind("fake", "simulated machines", _NoSettings, _NoSettings, open_adapter)
