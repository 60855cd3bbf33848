"""Properties that can be written and not read: by what the device does, or by what the model says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus import ADAPTER
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from tests.adapters_modbus.simulated import make_adapter
from twingateway.adapter import UNCONFIRMED, Access, Device, DeviceId, Driver, Model, Property, PropertyType
from twingateway.errors import DeviceRefused
from twingateway.testing.device_port import RecordingPort
from twingateway.twin.model import ModelRef

PROPERTIES: dict[str, Any] = {
    "level": {"table": "holding", "address": 0, "type": "uint16"},
    "reset": {"table": "holding", "address": 1, "type": "uint16", "writable": True},
}


class Deaf(Memory):
    """Register 1 takes what is written and refuses to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []
        self.set(Table.HOLDING, 0, [7])

    def change(self, table: Table, address: int, cells: list[int]) -> None:
        if address != 1:
            super().change(table, address, cells)
        self.written += cells


class Site:
    def __init__(self) -> None:
        self.memory = Deaf()
        self.asked: list[bytes] = []
        self.server = Server({1: self.memory}, witness=lambda unit, pdu: self.asked.append(pdu))
        self.adapter = make_adapter()
        self.port = 0

    def driver(self, properties: dict[str, Any], *, write_only: tuple[str, ...] = ()) -> tuple[Driver, RecordingPort]:
        address = {"host": "127.0.0.1", "port": self.port, "timeout": "500ms"}
        settings = ADAPTER.device.model_validate({"address": address, "properties": properties, "period": "20ms"})
        known = {
            name: Property(PropertyType.INTEGER, Access.WRITE if name in write_only else Access.READ_WRITE)
            for name in properties
        }
        recorder = RecordingPort()
        device = Device(DeviceId("default", "m"), settings, Model(ModelRef("m", "1"), known, "", "", {}))
        return self.adapter.driver(device, recorder), recorder

    def reads_of_register_one(self) -> int:
        spans = [(pdu[2], pdu[2] + pdu[4]) for pdu in self.asked if pdu[0] == 3]
        return sum(start <= 1 < end for start, end in spans)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.port = await site.server.serve_tcp()
    yield site
    await site.adapter.stop()
    site.server.close()


async def test_a_register_that_was_written_and_cannot_be_read_back_is_unconfirmed(site: Site) -> None:
    driver, _ = site.driver(PROPERTIES)
    assert await driver.write("reset", 5) == UNCONFIRMED
    assert site.memory.written == [5]


async def test_what_the_model_calls_write_only_is_neither_polled_nor_read_back(site: Site) -> None:
    driver, recorder = site.driver(PROPERTIES, write_only=("reset",))
    running = asyncio.ensure_future(driver.run())
    await recorder.until(lambda r: r.values == {"level": 7})
    assert await driver.write("reset", 5) == UNCONFIRMED
    with pytest.raises(DeviceRefused, match="can only be written"):
        await driver.read_back("reset")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert site.memory.written == [5]
    assert site.reads_of_register_one() == 0
    assert recorder.problems == []


async def test_a_device_that_has_nothing_to_read_is_asked_all_the_same(site: Site) -> None:
    driver, recorder = site.driver({"reset": PROPERTIES["reset"]}, write_only=("reset",))
    running = asyncio.ensure_future(driver.run())
    await recorder.until(lambda r: r.presence is True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
