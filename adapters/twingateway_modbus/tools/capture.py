"""Polls devices by their documents and writes every exchange to a file."""

from __future__ import annotations

import asyncio
import contextlib
import signal
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
    """For so many seconds, or until Ctrl-C."""
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # no signals in this thread or system
        loop.add_signal_handler(signal.SIGINT, enough.set)
    began, count, unanswered = loop.time(), 0, 0
    adapter = ModbusAdapter()
    ports = {each.id.name: _Port() for each in devices}
    polling: list[asyncio.Task[None]] = []
    with output.open("a", encoding="utf-8") as file:

        def keep(exchange: Exchange) -> None:
            nonlocal count, unanswered
            count += 1
            unanswered += exchange.reply is None
            file.write(exchange.line() + "\n")

        try:
            for each in devices:
                driver = adapter.driver(each.device, ports[each.id.name])
                address = each.settings.address
                adapter.link(address).tap = _tap(keep, address.endpoint, lambda: loop.time() - began)
                polling.append(asyncio.ensure_future(driver.run()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), seconds)
        finally:
            for task in polling:
                task.cancel()
            await asyncio.gather(*polling, return_exceptions=True)
            await adapter.stop()
    absent = {name: port.error.message for name, port in ports.items() if port.error is not None}
    return Captured(count, unanswered, absent)


def _tap(keep: Callable[[Exchange], None], endpoint: str, time: Callable[[], float]) -> Tap:
    def tap(unit: int, request: bytes, reply: bytes | None, fault: str) -> None:
        keep(Exchange(time(), unit, request, reply, endpoint, fault))

    return tap
