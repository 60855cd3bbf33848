"""What the twin says of a unit's values while it is silent, resting, behind a lost link, and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus import ADAPTER
from twingateway_modbus.address import Transport
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.simulated import make_adapter, make_server, serve
from tests.gateway.devices.test_reporter import reporter
from tests.gateway.workbench import PUMP, Bench, bench
from twingateway.adapter import Device
from twingateway.gateway.devices.models import read_model
from twingateway.testing.joined import until
from twingateway.twin.model import Model
from twingateway.twin.quality import Quality
from twingateway.twin.register import Section

NAMES = [f"p{number}" for number in range(30)]
PLAIN: dict[str, Any] = {
    name: {"table": "holding", "address": number, "type": "uint16"} for number, name in enumerate(NAMES)
}
LEVELS = {"table": "holding", "address": 0, "type": "uint16", "count": 4, "sentinels": [0xFFFF]}
MODES = {"table": "holding", "address": 10, "type": "uint16", "count": 3, "enum": {10: "off", 11: "on", 12: "auto"}}
ARRAYS: dict[str, Any] = {
    "levels": LEVELS,
    "modes": MODES,
    "free": LEVELS,
    "flow": {"table": "holding", "address": 20, "type": "uint16"},
}
"""`free` is none of the model's."""
MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "tanks", "version": "1"},
    "spec": {
        "properties": {
            "levels": {"type": "array", "items": {"type": "integer"}},
            "modes": {"type": "array", "items": {"type": "enum", "values": ["off", "on", "auto"]}},
            "flow": {"type": "integer"},
        }
    },
}


class Site:
    """A unit with thirty values in a real gateway."""

    def __init__(self, b: Bench, properties: dict[str, Any] = PLAIN, model: Model | None = None) -> None:
        self.b = b
        self.properties = properties
        self.model = model
        self.server = make_server(Transport.TCP, 1)
        self.adapter = make_adapter()
        self.run: asyncio.Future[None] | None = None

    async def start(self) -> None:
        address = await serve(Transport.TCP, self.server) | {"timeout": "60ms"}
        spec = {"address": address, "properties": self.properties, "period": "20ms"}
        if self.model is not None:
            await self.b.gateway.models.add("default", self.model)
        port = reporter(self.b, None if self.model is None else str(self.model.ref))
        device = Device(PUMP, ADAPTER.device.model_validate(spec), self.model)
        self.run = asyncio.ensure_future(self.adapter.driver(device, port).run())

    def value(self, name: str) -> Any:
        return self.b.value(Section.REPORTED, name)

    def reason(self, name: str) -> str:
        found = self.quality.of(name)
        return "" if found is None else found.message

    @property
    def values(self) -> list[Any]:
        return [self.b.value(Section.REPORTED, name) for name in NAMES]

    @property
    def versions(self) -> list[Any]:
        shown = self.b.gateway.table.section(PUMP, Section.REPORTED)
        return [shown[name].register.version for name in NAMES]

    @property
    def quality(self) -> Quality:
        return self.b.gateway.queries.quality(PUMP)

    async def until_bad(self, code: str) -> str:
        await until(lambda: [r and r.code for r in map(self.quality.of, NAMES)] == [code] * 30)
        assert self.quality.whole is not None
        return self.quality.whole.message

    async def close(self) -> None:
        if self.run is not None:
            self.run.cancel()
            await asyncio.gather(self.run, return_exceptions=True)
        await self.adapter.stop()
        self.server.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with bench() as b:
        site = Site(b)
        try:
            await site.start()
            await until(lambda: site.values == list(range(30)) and site.quality == Quality())
            yield site
        finally:
            await site.close()


async def test_a_silent_units_values_are_bad_with_the_reason_and_good_again_unwritten(site: Site) -> None:
    versions, position = site.versions, site.b.gateway.ledger.position
    site.server.faults[None] = Faults([Fault(FaultKind.SILENCE)])
    assert "did not answer within 0.06 s" in await site.until_bad("device-timeout")
    assert site.values == list(range(30)), "the last good ones are still there"

    site.server.faults.clear()
    site.server.units[1].set(Table.HOLDING, 3, [99])
    await until(lambda: site.quality == Quality() and site.values[3] == 99)
    changed = [name for name, old, new in zip(NAMES, versions, site.versions, strict=True) if old != new]
    assert changed == ["p3"]
    assert site.b.gateway.ledger.position - position <= 8


async def test_a_lost_link_and_one_that_is_not_there_are_reasons_too(site: Site) -> None:
    versions = site.versions
    site.server.close()
    assert "127.0.0.1" in await site.until_bad("device-unreachable")
    assert site.versions == versions


async def test_one_bad_element_marks_its_array_by_its_number_and_nothing_else() -> None:
    """Where null is no element; elsewhere those without a value are null. The last whole array stays."""
    async with bench() as b:
        site = Site(b, ARRAYS, read_model(MODEL))
        memory = site.server.units[1]
        try:
            await site.start()
            await until(lambda: site.value("levels") == [0, 1, 2, 3] and site.value("modes") == ["off", "on", "auto"])

            seen: list[Any] = []
            watch = b.gateway.ledger.watch
            watch(lambda stored: seen.append((stored.register.key.name, site.reason("levels"))), Section.REPORTED)
            memory.set(Table.HOLDING, 0, [7, 7, 0xFFFF, 7])
            memory.set(Table.HOLDING, 20, [21])
            await until(lambda: "element 2 of 0 to 3: the device has no value" in site.reason("levels"))
            await until(lambda: site.value("free") == [7, 7, None, 7] and site.value("flow") == 21)
            assert all("element 2 of 0 to 3" in reason for name, reason in seen if name in ("free", "flow")), seen
            memory.set(Table.HOLDING, 11, [99])
            await until(lambda: "element 1 of 0 to 2: the device sent 99" in site.reason("modes"))
            assert site.value("levels") == [0, 1, 2, 3]
            assert site.value("modes") == ["off", "on", "auto"]
            assert site.quality.of("free") is site.quality.of("flow") is None
            assert b.value(Section.PRESENCE, "refused") is None

            memory.set(Table.HOLDING, 0, [0xFFFF] * 4)
            await until(lambda: site.value("levels") is None)
            memory.set(Table.HOLDING, 0, [4, 5, 6, 7])
            memory.set(Table.HOLDING, 11, [12])
            await until(lambda: site.quality == Quality() and site.value("levels") == [4, 5, 6, 7])
            assert site.value("modes") == ["off", "auto", "auto"]
        finally:
            await site.close()
