"""The demo's MQTT process on a real broker, its truth reader, and the adapter between them with its documents."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twingateway_mqtt import ADAPTER

import twingateway.demo
from twingateway import validate
from twingateway.adapter import Device, Driver
from twingateway.broker.client import PahoBroker
from twingateway.broker.embedded import EmbeddedBroker
from twingateway.config.device import load_devices
from twingateway.demo.truth_mqtt import read_truth
from twingateway.plugins.registry import AdapterRegistry
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

NAMES = ("greenhouse", "lamp", "pump")
SITE = Path(twingateway.demo.__file__).parent / "site"
DEVICES = [SITE / "devices" / f"{name}.yaml" for name in NAMES]
MODELS = [SITE / "models" / f"{name}.yaml" for name in NAMES]


@dataclass
class Running:
    """A broker, the site's process, and one driver for each device, running."""

    port: int
    process: Process
    drivers: dict[str, tuple[Driver, RecordingPort]]

    async def say(self, command: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n".encode())
        return json.loads(await self.process.stdout.readline())

    async def truth(self) -> dict[str, dict[str, Any]]:
        return await asyncio.to_thread(read_truth, self.port)


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    broker = EmbeddedBroker(("127.0.0.1", 0))
    await broker.start()
    client = PahoBroker(*broker.address)
    await client.start()
    port = broker.address[1]
    command = [sys.executable, "-m", "twingateway.demo.mqtt_site", "--port", str(port), "--seed", "7"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext(client))
    ports = {name: RecordingPort() for name in NAMES}
    loaded = load_devices(DEVICES, AdapterRegistry.installed(), environ={})
    drivers = {d.id.name: adapter.driver(Device(d.id, d.settings), ports[d.id.name]) for d in loaded}
    tasks = [asyncio.create_task(driver.run()) for driver in drivers.values()]
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == {"ready": True}
    yield Running(port, process, {name: (driver, ports[name]) for name, driver in drivers.items()})
    await process.communicate(b"quit\n")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.stop()
    await broker.stop()
    assert process.returncode == 0


def test_the_documents_are_valid() -> None:
    assert validate([*MODELS, *DEVICES]) == []


async def test_commands_move_the_device_and_frozen_the_twin_is_the_truth_until_a_device_lies(site: Running) -> None:
    lamp, shown = site.drivers["lamp"]
    await shown.until(lambda port: len(port.values) == 4)
    assert (await lamp.write("brightness", 77)).observed == 77
    assert (await lamp.write("brightness", 77)).confirmed, "a command that changes nothing is answered, too"
    pump, _ = site.drivers["pump"]
    assert (await pump.write("speed", 2100)).observed == 2100
    assert all(report.time is not None for report in shown.reports)

    assert await site.say("freeze") == {"frozen": True}
    truth = await site.truth()
    assert truth["lamp"]["brightness"] == 77
    assert truth["pump"]["speed"] == 2100
    for name, (_, port) in site.drivers.items():
        await port.until(lambda port, name=name: port.values == truth[name])  # type: ignore[misc]

    assert await site.say("corrupt greenhouse") == {"corrupted": "greenhouse"}
    lie = await site.truth()
    assert {(d, p) for d in truth for p in truth[d] if truth[d][p] != lie[d][p]} == {("greenhouse", "humidity")}
    assert "no command" in (await site.say("corrupt toaster"))["error"]


async def test_when_the_process_ends_its_devices_are_offline(site: Running) -> None:
    await site.process.communicate(b"")
    assert site.process.returncode == 0
    _, port = site.drivers["lamp"]
    await port.until(lambda port: port.presence is False)
