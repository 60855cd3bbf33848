"""An adapter kind whose devices are made up: it reports what a measurement's generator tells it to.

It is registered like any other, by entry point (see `interop.nodes`), and the node treats it like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from interop.control import serve
from interop.workload import Generator
from twingateway.adapter import Adapter, AdapterContext, AdapterKind, Device, DevicePort, Driver
from twingateway.twin.value import Value


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    control: Path
    """Unix socket on which to start the generator."""


class _DeviceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    index: int
    properties: tuple[str, ...]
    """Every report has a value for each."""


class _Silent(Driver):
    """A device that has nothing to say by itself."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def read(self) -> Mapping[str, Value]:
        return {}


class _Synthetic(Adapter):
    def __init__(self, settings: _Settings) -> None:
        self._control = settings.control
        self._ports: dict[int, tuple[DevicePort, tuple[str, ...]]] = {}
        self._server: asyncio.Server | None = None
        self._generator: Generator | None = None

    async def start(self) -> None:
        self._server = await serve(self._control, {"prime": self._prime, "run": self._run})

    def driver(self, device: Device, port: DevicePort) -> Driver:
        self._ports[device.settings.index] = (port, device.settings.properties)
        return _Silent()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _prime(self) -> dict[str, Any]:
        self._generator = Generator(len(self._ports), self._report)
        return await self._generator.prime()

    async def _run(self, **how: Any) -> dict[str, Any]:
        assert self._generator is not None
        return await self._generator.run(**how)

    def _report(self, device: int, n: int) -> None:
        port, properties = self._ports[device]
        port.report(dict.fromkeys(properties, n))


def _open(settings: _Settings, context: AdapterContext) -> Adapter:
    del context
    return _Synthetic(settings)


ADAPTER = AdapterKind("synthetic", "Made-up devices for measurements", _Settings, _DeviceSettings, _open)
