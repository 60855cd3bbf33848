"""Several devices behind one unit are read together, and none of them notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.codec import Codec
from twingateway_modbus.layout import DataType
from twingateway_modbus.learned import Learned
from twingateway_modbus.plan import Limits, Range
from twingateway_modbus.point import Point, Table
from twingateway_modbus.pool import Pool, cut
from twingateway_modbus.request import Cells
from twingateway_modbus.simulator.memory import Memory

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.adapter import Driver
from twingateway.testing.device_port import RecordingPort


def registers(address: int, count: int = 1) -> Cells:
    return Cells(Table.HOLDING, address, count)


def point(address: int, period: float = 1.0) -> Point:
    return Point(str(address), Table.HOLDING, address, Codec(DataType.UINT16), period)


def pool(*devices: list[Point], limits: Limits | None = None) -> Pool:
    made = Pool(Learned(None, ""))
    for number, points in enumerate(devices):
        made.join(number, points, limits or Limits())
    return made


def test_a_block_becomes_that_of_all_devices_of_the_unit() -> None:
    shared = pool([point(0), point(3)], [point(7)], [point(100)], [point(9, period=5.0)])
    assert shared.widened(registers(0, 4), 1.0) == registers(0, 8)
    assert shared.widened(registers(7), 1.0) == registers(0, 8)
    assert shared.widened(registers(100), 1.0) == registers(100)
    assert shared.widened(registers(9), 5.0) == registers(9)


def test_one_device_alone_shares_nothing_and_those_who_declare_otherwise_do_not_either() -> None:
    alone = pool([point(0), point(3)])
    assert not alone.is_shared
    apart = pool([point(0)], limits=Limits(max_gap=3))
    apart.join("other", [point(2)], Limits(max_gap=4))
    assert apart.widened(registers(0), 1.0) == registers(0)


def test_what_was_read_serves_for_half_a_period_and_until_something_is_written() -> None:
    shared = pool([point(0)], [point(2)])
    wide = shared.widened(registers(2), 1.0)
    shared.keep(wide, bytes(range(6)), 10.0)
    assert shared.recent(wide, registers(2), 1.0, 10.5) == bytes([4, 5])
    assert shared.recent(wide, registers(2), 1.0, 10.6) is None
    shared.forget()
    assert shared.recent(wide, registers(2), 1.0, 10.1) is None


def test_a_gap_that_was_refused_is_bridged_no_more_whoever_comes_and_goes() -> None:
    shared = pool([point(0)], [point(2)])
    shared.learned.add_hole(Table.HOLDING, Range(1, 2))
    shared.plan()
    assert shared.widened(registers(2), 1.0) == registers(2)
    shared.join("third", [point(4)], Limits())
    assert shared.widened(registers(2), 1.0) == registers(2, 3)
    assert shared.widened(registers(0), 1.0) == registers(0)
    shared.leave("third")
    shared.leave(1)
    assert shared.widened(registers(0), 1.0) == registers(0)


def test_the_part_of_bits_is_a_byte_each() -> None:
    assert cut(Cells(Table.COIL, 10, 8), Cells(Table.COIL, 12, 2), bytes(range(8))) == bytes([2, 3])


class Site:
    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.asked: list[tuple[int, int]] = []
        self.ever: set[tuple[int, int]] = set()
        """Since the node was started."""
        self.server = make_server(Transport.TCP, 1, 2, witness=self._witness)
        self.adapter = make_adapter(folder)
        self.address: dict[str, Any] = {}
        self.runs: list[asyncio.Task[None]] = []

    def _witness(self, unit: int, pdu: bytes) -> None:
        if pdu[0] == 3 and unit == 1:
            self.asked.append((int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")))
            self.ever.add(self.asked[-1])

    def run(self, name: str, address: int, **more: Any) -> tuple[Driver, RecordingPort]:
        properties = {"value": {"table": "holding", "address": address, "type": "uint16", **more}}
        driver, port = make_driver(self.adapter, self.address | {"unit": 1}, properties, name=name)
        self.runs.append(asyncio.ensure_future(driver.run()))
        return driver, port

    async def asks(self, count: int) -> None:
        self.asked.clear()
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        for run in self.runs:
            run.cancel()
        await asyncio.gather(*self.runs, return_exceptions=True)
        await self.adapter.stop()

    async def restart(self) -> None:
        """The node, not the device."""
        await self.stop()
        self.adapter, self.runs = make_adapter(self.folder), []
        self.ever.clear()

    async def close(self) -> None:
        await self.stop()
        self.server.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.address = await serve(Transport.TCP, site.server)
    yield site
    await site.close()


async def test_thirteen_devices_of_one_unit_are_one_request(site: Site) -> None:
    """Each of them polls as if it were alone."""
    ports = [site.run(f"device-{number}", 2 * number)[1] for number in range(13)]
    for number, port in enumerate(ports):
        await port.until(lambda r, n=number: r.values == {"value": 2 * n})  # type: ignore[misc]
    await site.asks(10)
    assert set(site.asked) == {(0, 25)}

    site.server.units[1].set(Table.HOLDING, 0, range(500, 540))
    for number, port in enumerate(ports):
        await port.until(lambda r, n=number: r.values == {"value": 500 + 2 * n})  # type: ignore[misc]


async def test_a_gap_between_devices_that_the_unit_refuses_is_learned_once_and_for_the_next_start(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.address = await serve(Transport.TCP, site.server)
    memory = Memory()
    for address in (0, 1, 9, 11):
        memory.set(Table.HOLDING, address, [100 + address])
    site.server.units[1] = memory  # type: ignore[index]

    async def all_are_read() -> None:
        ports = {address: site.run(f"device-{address}", address)[1] for address in (0, 1, 9, 11)}
        for address, port in ports.items():
            await port.until(lambda r, at=address: r.values == {"value": 100 + at})  # type: ignore[misc]
        await site.asks(8)
        assert set(site.asked) == {(0, 2), (9, 1), (11, 1)}
        assert [problem for port in ports.values() for problem in port.problems] == []

    await all_are_read()
    assert (0, 12) in site.ever
    await site.restart()
    await all_are_read()
    assert all(count <= 2 for _, count in site.ever), "nothing is refused any more"
    await site.close()


async def test_a_value_of_one_device_that_the_unit_refuses_leaves_the_others_together(site: Site) -> None:
    memory = Memory()
    memory.set(Table.HOLDING, 4, [7, 7, 7])
    site.server.units[1] = memory  # type: ignore[index]
    ports = [site.run(f"device-{address}", address)[1] for address in (4, 5, 6)]
    _, bad = site.run("bad", 7)
    for port in ports:
        await port.until(lambda r: r.values == {"value": 7})
    await bad.until(lambda r: bool(r.problems))
    await site.asks(6)
    assert set(site.asked) == {(4, 3), (7, 1)}

    memory.set(Table.HOLDING, 7, [8])
    await bad.until(lambda r: r.values == {"value": 8})
    await site.asks(6)
    assert set(site.asked[2:]) == {(4, 4)}


async def test_what_was_read_before_a_write_is_never_reported_after_it(site: Site) -> None:
    driver, port = site.run("one", 0, writable=True)
    _, other = site.run("two", 2)
    await other.until(lambda r: r.values == {"value": 2})
    for number in range(600, 630):
        await driver.write("value", number)
    await site.asks(3)
    seen = [report.values["value"] for report in port.reports]
    assert seen[1:] == list(range(600, 630))


async def test_a_device_that_leaves_is_read_no_more(site: Site) -> None:
    driver, port = site.run("one", 0)
    _, other = site.run("two", 2)
    await port.until(lambda r: r.values == {"value": 0})
    site.runs[0].cancel()
    await asyncio.gather(site.runs[0], return_exceptions=True)
    await driver.close()
    await site.asks(3)
    assert set(site.asked[1:]) == {(2, 1)}
    assert other.presence is True
