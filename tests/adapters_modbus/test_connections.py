"""Several connections to one endpoint: what goes side by side, what never does, and who is left room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus.point import Table

from tests.adapters_modbus.held_device import HeldDevice
from tests.adapters_modbus.simulated import make_adapter, make_driver
from twingateway.adapter import Driver
from twingateway.errors import DeviceTimeout
from twingateway.testing.device_port import RecordingPort

#: Eight requests, since nothing joins them.
APART = {f"p{n}": {"table": "holding", "address": 4 * n, "type": "uint16"} for n in range(8)}
VALUES = {f"p{n}": 4 * n for n in range(8)}


class Site:
    def __init__(self, connections: int) -> None:
        self.device = HeldDevice()
        self.adapter = make_adapter()
        self.address: dict[str, Any] = {"host": "127.0.0.1", "timeout": "2s", "connections": connections}
        self.runs: list[asyncio.Task[None]] = []

    def driver(self, unit: int, properties: dict[str, Any], **more: Any) -> tuple[Driver, RecordingPort]:
        spec = {"read": {"max_gap": 0}, "period": "10s", **more}
        return make_driver(self.adapter, self.address | {"unit": unit}, properties, **spec)

    def run(self, unit: int, properties: dict[str, Any], **more: Any) -> tuple[Driver, RecordingPort]:
        driver, port = self.driver(unit, properties, **more)
        self.runs.append(asyncio.ensure_future(driver.run()))
        return driver, port

    async def known(self, unit: int, properties: dict[str, Any] = APART, **more: Any) -> Driver:
        """A driver whose device has answered, all of whose replies are held back from now on."""
        driver, _ = self.driver(unit, properties, **more)
        self.device.release()
        await driver.read()
        self.device.hold()
        return driver

    def figure(self, name: str) -> float:
        return next(each.value for each in self.adapter.figures() if each.name == name)

    async def close(self) -> None:
        for run in self.runs:
            run.cancel()
        await asyncio.gather(*self.runs, return_exceptions=True)
        await self.adapter.stop()
        self.device.close()


@pytest.fixture
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(request.param)
    site.address["port"] = await site.device.serve()
    yield site
    await site.close()


async def ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("site", [3], indirect=True)
async def test_a_devices_blocks_are_read_side_by_side_one_on_each_connection(site: Site) -> None:
    driver = await site.known(1)
    reading = asyncio.ensure_future(driver.read())
    waiting = await site.device.until(3)
    assert len({request.connection for request in waiting}) == len(waiting) == 3
    site.device.reply(waiting[1])
    waiting = await site.device.until(3)
    assert len({request.connection for request in waiting}) == len(waiting) == 3
    site.device.release()
    assert await reading == VALUES


@pytest.mark.parametrize("site", [1], indirect=True)
async def test_with_one_connection_they_come_one_after_another(site: Site) -> None:
    driver = await site.known(1)
    reading = asyncio.ensure_future(driver.read())
    assert len(await site.device.until(1)) == 1
    site.device.release()
    assert await reading == VALUES


@pytest.mark.parametrize("site", [4], indirect=True)
async def test_one_connection_is_left_to_the_other_units(site: Site) -> None:
    first, second = await site.known(1), await site.known(2)
    reads = [asyncio.ensure_future(first.read())]
    assert [request.unit for request in await site.device.until(3)] == [1, 1, 1]
    reads.append(asyncio.ensure_future(second.read()))
    assert sorted(request.unit for request in await site.device.until(4)) == [1, 1, 1, 2]
    site.device.reply(site.device.waiting[0])
    assert sorted(request.unit for request in await site.device.until(4)) == [1, 1, 2, 2]
    site.device.release()
    assert await asyncio.gather(*reads) == [VALUES, VALUES]


@pytest.mark.parametrize("site", [4], indirect=True)
async def test_a_unit_that_has_not_answered_yet_is_asked_one_thing(site: Site) -> None:
    driver, _ = site.driver(1, APART)
    reading = asyncio.ensure_future(driver.read())
    assert len(await site.device.until(1)) == 1
    site.device.reply(site.device.waiting[0])
    assert len(await site.device.until(4)) == 4
    site.device.release()
    assert await reading == VALUES


@pytest.mark.parametrize("site", [4], indirect=True)
async def test_silence_on_several_connections_is_one_failure_and_the_next_try_one_request(site: Site) -> None:
    site.address["timeout"] = "60ms"
    driver = await site.known(1)
    with pytest.raises(DeviceTimeout):
        await driver.read()
    assert site.figure("units_resting") == 1
    link = driver._link  # type: ignore[attr-defined]
    assert 0 < link.blocked_for(1) <= 1.0

    site.device.waiting.clear()
    link._units[1].until = 0.0
    with pytest.raises(DeviceTimeout):
        await driver.read()
    assert len(site.device.waiting) == 1
    assert 1.0 < link.blocked_for(1) <= 2.0


@pytest.mark.parametrize("site", [3], indirect=True)
async def test_a_write_waits_for_what_is_being_read_of_its_unit_and_nothing_is_read_during_it(site: Site) -> None:
    """Else an older value would be reported after the written one."""
    properties = {**APART, "p0": APART["p0"] | {"writable": True}}
    driver, port = site.driver(1, properties, period="20ms")
    site.device.release()
    await driver.read()
    site.device.hold()
    site.runs.append(asyncio.ensure_future(driver.run()))
    reads = list(await site.device.until(3))
    writing = asyncio.ensure_future(driver.write("p0", 77))
    for read in reads:
        assert [request.pdu[0] for request in await site.device.until(1)] == [3] * len(site.device.waiting)
        site.device.reply(read)
    assert [request.pdu[0] for request in await site.device.until(1)] == [6]
    site.device.reply(site.device.waiting[0])
    assert [request.pdu for request in await site.device.until(1)] == [bytes.fromhex("03 0000 0001")]
    site.device.reply(site.device.waiting[0])
    assert (await writing).observed == 77
    site.device.release()
    await asyncio.sleep(0.05)
    said = [report.values["p0"] for report in port.reports if "p0" in report.values]
    assert said == [0, 77]


@pytest.mark.parametrize("site", [3], indirect=True)
async def test_scale_factors_are_read_before_what_they_scale(site: Site) -> None:
    site.device.units[1].set(Table.HOLDING, 36, [1])
    scaled = {name: each | {"scale_register": 36} for name, each in APART.items()}
    driver = await site.known(1, scaled)
    site.device.units[1].set(Table.HOLDING, 36, [2])
    reading = asyncio.ensure_future(driver.read())
    waiting = await site.device.until(1)
    assert [request.address for request in waiting] == [36]
    site.device.reply(waiting[0])
    assert len(await site.device.until(3)) == 3
    site.device.release()
    assert await reading == {name: 100 * value for name, value in VALUES.items()}


@pytest.mark.parametrize("site", [3], indirect=True)
async def test_what_several_devices_of_a_unit_want_is_asked_for_once_all_the_same(site: Site) -> None:
    properties = {"a": APART["p0"]}, {"b": {"table": "holding", "address": 1, "type": "uint16"}}
    site.device.release()
    ports = []
    for number, each in enumerate(properties):
        driver, port = make_driver(site.adapter, site.address, each, name=f"device-{number}", period="300ms")
        site.runs.append(asyncio.ensure_future(driver.run()))
        ports.append(port)
    for port in ports:
        await port.until(lambda r: bool(r.values))
    site.device.hold()
    waiting = await site.device.until(1)
    assert [request.pdu for request in waiting] == [bytes.fromhex("03 0000 0002")]
    site.device.release()


@pytest.mark.parametrize("site", [4], indirect=True)
async def test_a_device_that_takes_fewer_connections_is_read_on_those_it_takes(site: Site) -> None:
    site.device.most = 2
    driver = await site.known(1)
    reading = asyncio.ensure_future(driver.read())
    assert len(await site.device.until(2)) == 2
    site.device.release()
    assert await reading == VALUES
    assert (site.figure("connections"), site.figure("units_resting")) == (2, 0)
    assert site.device.opened == 4
    assert await driver.read() == VALUES
    assert site.device.opened == 4
