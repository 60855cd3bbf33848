"""Registers a second at full speed, read and decoded but not reported: this adapter against bare pymodbus.

Three ways to read the same 100 registers as 50 32-bit floats, again and again over one connection: pymodbus one value
a request, pymodbus all in one request, and this adapter by its own plan. In turns, so that all see the same machine.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

_VALUES = 50
#: Times that each way has its turn.
_TURNS = 4


async def measure(port: int, seconds: float) -> dict[str, float]:
    """Registers a second, by way."""
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    await client.connect()

    async def one_by_one() -> int:
        for number in range(_VALUES):
            reply = await client.read_holding_registers(2 * number, count=2, device_id=1)
            client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32)
        return 2 * _VALUES

    async def by_block() -> int:
        reply = await client.read_holding_registers(0, count=2 * _VALUES, device_id=1)
        struct.unpack(f">{_VALUES}f", struct.pack(f">{2 * _VALUES}H", *reply.registers))
        return 2 * _VALUES

    read, close = _adapter(port)
    ways: dict[str, Callable[[], Awaitable[int]]] = {
        "pymodbus_one_by_one": one_by_one, "pymodbus_by_block": by_block, "adapter": read,
    }  # fmt: skip
    totals = dict.fromkeys(ways, 0.0)
    for _ in range(_TURNS):
        for name, way in ways.items():
            totals[name] += await _rate(way, seconds / _TURNS)
    client.close()
    await close()
    return {name: total / _TURNS for name, total in totals.items()}


async def _rate(way: Callable[[], Awaitable[int]], seconds: float) -> float:
    began, registers = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        registers += await way()
    return registers / passed


def _adapter(port: int) -> tuple[Callable[[], Awaitable[int]], Callable[[], Awaitable[None]]]:
    from twingateway_modbus import ADAPTER

    from twingateway.adapter import Device, DeviceId
    from twingateway.testing.adapter_context import MemoryContext
    from twingateway.testing.device_port import RecordingPort

    properties: dict[str, Any] = {
        f"value{number}": {"table": "holding", "address": 2 * number, "type": "float32"} for number in range(_VALUES)
    }
    settings = ADAPTER.device.model_validate(
        {"address": {"host": "127.0.0.1", "port": port, "unit": 1}, "properties": properties}
    )
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext())
    driver = adapter.driver(Device(DeviceId("default", "meter"), settings), RecordingPort())

    async def read() -> int:
        await driver.read()
        return 2 * _VALUES

    return read, adapter.stop


def run(port: int, seconds: float) -> dict[str, float]:
    return asyncio.run(measure(port, seconds))
