"""What the twin says of a unit's values while it is silent, resting, behind a lost link, and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.simulated import make_adapter, make_server, serve
from tests.gateway.devices.test_reporter import reporter
from tests.gateway.workbench import PUMP, Bench, bench
from twingateway.adapter import Device
from twingateway.testing.joined import until
from twingateway.twin.quality import Quality
from twingateway.twin.register import Section

NAMES = [f"p{number}" for number in range(30)]


class Site:
    """A unit with thirty values in a real gateway."""

    def __init__(self, b: Bench) -> None:
        self.b = b
        self.server = make_server(Transport.TCP, 1)
        self.adapter = make_adapter()
        self.run: asyncio.Future[None] | None = None

    async def start(self) -> None:
        from twingateway_modbus import ADAPTER

        address = await serve(Transport.TCP, self.server) | {"timeout": "60ms"}
        properties: dict[str, Any] = {
            name: {"table": "holding", "address": number, "type": "uint16"} for number, name in enumerate(NAMES)
        }
        settings = ADAPTER.device.model_validate({"address": address, "properties": properties, "period": "20ms"})
        driver = self.adapter.driver(Device(PUMP, settings), reporter(self.b))
        self.run = asyncio.ensure_future(driver.run())
        await until(lambda: self.values == list(range(30)) and self.quality == Quality())

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
