"""Polls devices by their documents and writes every exchange to a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from twingateway.errors import DeviceError
from twingateway_modbus.adapter import ModbusAdapter
from twingateway_modbus.connection import Tap
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.recording import Exchange
from twingateway_modbus.tools.silent_port import SilentPort


class Captured(NamedTuple):
    """`unanswered`: exchanges without a reply that could be believed. `absent`: name of a device that is away at the
    end → why."""

    exchanges: int
    unanswered: int
    absent: dict[str, str]


class _Port(SilentPort):
    """Keeps why the device is away."""

    def __init__(self) -> None:
        self.error: DeviceError | None = None

    def online(self) -> None:
        self.error = None

    def offline(self, error: DeviceError) -> None:
        self.error = error


async def capture(devices: list[NamedSettings], output: Path, seconds: float) -> Captured:
    """For so many seconds, or until it is cancelled: what came until then is in the file."""
    loop = asyncio.get_running_loop()
    began, count, unanswered = loop.time(), 0, 0
    adapter = ModbusAdapter()
    ports = {each.id.name: _Port() for each in devices}
    with output.open("a", encoding="utf-8") as file:

        def keep(exchange: Exchange) -> None:
            nonlocal count, unanswered
            count += 1
            unanswered += exchange.reply is None
            file.write(exchange.line() + "\n")

        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                    for each in devices:
                        driver = adapter.driver(each.device, ports[each.id.name])
                        address = each.settings.address
                        adapter.link(address).tap = _tap(keep, address.endpoint, lambda: loop.time() - began)
                        group.create_task(driver.run())
        finally:
            await adapter.stop()
    absent = {name: port.error.message for name, port in ports.items() if port.error is not None}
    return Captured(count, unanswered, absent)


def _tap(keep: Callable[[Exchange], None], endpoint: str, time: Callable[[], float]) -> Tap:
    def tap(unit: int, request: bytes, reply: bytes | None, fault: str) -> None:
        keep(Exchange(time(), unit, request, reply, endpoint, fault))

    return tap
