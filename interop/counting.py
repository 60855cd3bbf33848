"""An adapter kind whose one device lives outside the node, so that it survives the node and can bear witness.

The device counts up with every poll and notes when each count was handed out; it notes every write it is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from interop.control import ask, serve
from twingateway.adapter import Adapter, AdapterContext, AdapterKind, Device, DevicePort, Driver
from twingateway.adapter.driver import Written
from twingateway.twin.value import Value

#: Properties that are set at the cloud, and those that are overridden at the edge.
WRITABLE = tuple(f"w{number}" for number in range(8))
OVERRIDDEN = ("o0", "o1", "o2", "o3")
_PERIOD = 0.02


@dataclass
class Witness:
    """The device. `handed[n]`: when count n was handed out; `written`: (property, value) in order."""

    handed: dict[int, float] = field(default_factory=dict)
    written: list[tuple[str, int]] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*WRITABLE, *OVERRIDDEN), 0))
    counting: bool = True
    writing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a write is not answered yet."""

    async def serve(self, path: Path) -> asyncio.Server:
        return await serve(path, {"count": self._count, "look": self._look, "write": self._write})

    async def _count(self) -> dict[str, Any]:
        if self.counting or not self.handed:
            self.handed[len(self.handed) + 1] = time.monotonic()
        return {"count": len(self.handed), **self.values}

    async def _look(self) -> dict[str, Any]:
        return dict(self.values)

    async def _write(self, name: str, value: int) -> dict[str, Any]:
        self.written.append((name, value))
        self.values[name] = value
        self.writing.set()
        await asyncio.sleep(0.01)  # time to be killed between the write and its answer
        self.writing.clear()
        return {}


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Path
    """Unix socket of the device."""


class _DeviceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Counting(Driver):
    writable = frozenset((*WRITABLE, *OVERRIDDEN))

    def __init__(self, device: Path, port: DevicePort) -> None:
        self._device = device
        self._port = port

    async def run(self) -> None:
        while True:
            self._port.report(await ask(self._device, "count"))
            await asyncio.sleep(_PERIOD)

    async def read(self) -> Mapping[str, Value]:
        return await ask(self._device, "look")

    async def write(self, name: str, value: Value) -> Written:
        await ask(self._device, "write", name=name, value=value)
        observed = (await self.read())[name]
        return Written(observed == value, observed)


class _Adapter(Adapter):
    def __init__(self, settings: _Settings) -> None:
        self._device = settings.device

    async def start(self) -> None:
        pass

    def driver(self, device: Device, port: DevicePort) -> Driver:
        return _Counting(self._device, port)

    async def stop(self) -> None:
        pass


def _open(settings: _Settings, context: AdapterContext) -> Adapter:
    del context
    return _Adapter(settings)


ADAPTER = AdapterKind("counting", "A device that counts and remembers", _Settings, _DeviceSettings, _open)
