"""Drivers against this package's own simulator, over any transport."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twingateway_modbus import ADAPTER
from twingateway_modbus.address import Transport
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Faults
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server, Witness

from twingateway.adapter import Adapter, Device, DeviceId, Driver
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort


def memory(size: int = 40) -> Memory:
    """So many cells in each table; register n holds n, odd bits are set."""
    made = Memory()
    for table in Table:
        made.set(table, 0, [number % 2 for number in range(size)] if table.of_bits else range(size))
    return made


async def serve(transport: Transport, server: Server, *, echo: bool = False, tls: Any = None) -> dict[str, Any]:
    """The address under which the server is then to be found."""
    address: dict[str, Any] = {"transport": str(transport), "timeout": "300ms"}
    if transport.is_serial:
        return address | {"serial": {"port": server.serve_pty(echo=echo), "echo": echo}}
    if transport is Transport.UDP:
        return address | {"host": "127.0.0.1", "port": await server.serve_udp()}
    return address | {"host": "127.0.0.1", "port": await server.serve_tcp(tls=tls)}


def make_server(
    transport: Transport, *units: int, faults: Faults | None = None, witness: Witness | None = None
) -> Server:
    return Server({unit: memory() for unit in units}, transport.framing, {None: faults} if faults else {}, witness)


def make_adapter(data_dir: Path | None = None) -> Adapter:
    return ADAPTER.open(ADAPTER.settings(), MemoryContext(data_dir=data_dir))


def make_driver(
    adapter: Adapter, address: dict[str, Any], properties: dict[str, Any], *, name: str = "", **spec: Any
) -> tuple[Driver, RecordingPort]:
    """A driver that is not running yet, and what it reports to."""
    settings = ADAPTER.device.model_validate({"address": address, "properties": properties, "period": "20ms", **spec})
    port = RecordingPort()
    return adapter.driver(Device(DeviceId("default", name or f"unit-{settings.address.unit}"), settings), port), port
