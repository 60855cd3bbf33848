"""Modbus devices for the tests: pymodbus's own server, and a hostile one that answers with any bytes it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from twingateway_modbus import ADAPTER

from twingateway.adapter import Device, DeviceId, Driver
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort


def sim_device(unit: int, **more: Any) -> SimDevice:
    """Forty registers and bits in each table; register n of the first two holds n."""
    registers = list(range(40))
    return SimDevice(
        unit,
        (
            [SimData(0, values=[False] * 40, datatype=DataType.BITS)],
            [SimData(0, values=[False, True] * 20, datatype=DataType.BITS)],
            [SimData(0, values=registers, datatype=DataType.REGISTERS)],
            [SimData(0, values=registers, datatype=DataType.REGISTERS)],
        ),
        **more,
    )


class Plant:
    """Servers and drivers of one test."""

    def __init__(self) -> None:
        self.servers: dict[int, ModbusTcpServer] = {}
        self.adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext())
        self._hostile: list[asyncio.Server] = []
        self._runs: list[asyncio.Task[None]] = []

    async def serve(self, *devices: SimDevice) -> int:
        """A pymodbus server → its port."""
        server = ModbusTcpServer(list(devices), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port: int = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.servers[port] = server
        return port

    async def serve_hostile(self, answer: Callable[[bytes], bytes | None]) -> int:
        """A server that answers each request frame with `answer(frame)`, or hangs up on None → its port."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readexactly(6)
                    reply = answer(head + await reader.readexactly(int.from_bytes(head[4:6], "big")))
                    if reply is None:
                        break
                    writer.write(reply)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        self._hostile.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def driver(
        self, port: int, properties: dict[str, Any], *, unit: int = 1, **spec: Any
    ) -> tuple[Driver, RecordingPort]:
        """A driver that is not running yet, and what it reports to."""
        address = {"host": "127.0.0.1", "port": port, "unit": unit, "timeout": spec.pop("timeout", "200ms")}
        settings = ADAPTER.device.model_validate(
            {"address": address, "properties": properties, "period": "20ms", **spec}
        )
        recorder = RecordingPort()
        return self.adapter.driver(Device(DeviceId("default", f"device-{unit}"), settings), recorder), recorder

    def run(self, port: int, properties: dict[str, Any], **spec: Any) -> tuple[Driver, RecordingPort]:
        """A driver that polls until the end of the test."""
        driver, recorder = self.driver(port, properties, **spec)
        self._runs.append(asyncio.ensure_future(driver.run()))
        return driver, recorder

    async def stop(self, port: int) -> None:
        await self.servers.pop(port).shutdown()

    async def close(self) -> None:
        for run in self._runs:
            run.cancel()
        for outcome in await asyncio.gather(*self._runs, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
        await self.adapter.stop()
        for server in self.servers.values():
            await server.shutdown()
        for hostile in self._hostile:
            hostile.close()
