"""Polls devices by their documents and writes every exchange to a file."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from twingateway_modbus.adapter import ModbusAdapter
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.recording import Exchange
from twingateway_modbus.tools.silent_port import SilentPort


async def capture(devices: list[NamedSettings], output: Path, seconds: float) -> int:
    """Returns how many exchanges were written."""
    loop = asyncio.get_running_loop()
    began, count = loop.time(), 0
    adapter = ModbusAdapter()
    with output.open("a", encoding="utf-8") as file:

        def tap(unit: int, request: bytes, reply: bytes) -> None:
            nonlocal count
            count += 1
            file.write(Exchange(loop.time() - began, unit, request, reply).line() + "\n")

        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                    for each in devices:
                        driver = adapter.driver(each.device, SilentPort())
                        adapter.link(each.settings.address).tap = tap
                        group.create_task(driver.run())
        finally:
            await adapter.stop()
    return count
