"""What is reported, when, and with which quality; scale-factor registers; writes before polls."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus import ADAPTER
from twingateway_modbus.address import Transport
from twingateway_modbus.changes import Changes
from twingateway_modbus.codec import Codec
from twingateway_modbus.layout import DataType
from twingateway_modbus.point import Point, Table
from twingateway_modbus.reporting import Reporting
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.adapter import Driver
from twingateway.errors import DeviceRefused, DeviceReplyInvalid
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort


def changes(**policy: Any) -> Changes:
    return Changes({"p": Point("p", Table.INPUT, 0, Codec(DataType.INT16), 1.0, Reporting(**policy))})


def reported(kept: Changes, *values: Any) -> list[Any]:
    """Which of the values, read one second apart, are reported as changed."""
    return [value for now, value in enumerate(values) if kept.take({"p": value}, now).changed]


@pytest.mark.parametrize(
    ("policy", "values", "expected"),
    [
        ({}, [1, 1, 2], [1, 2]),
        ({"deadband": 2}, [10, 11, 12, 13, 12, 10], [10, 13, 10]),
        ({"percent": 10}, [100, 109, 111, 100, 99], [100, 111, 99]),
        ({"percent": 10, "deadband": 5}, [10, 14, 16, 100, 109, 111], [10, 16, 100, 111]),
        ({"min_interval": 3}, [1, 2, 3, 4, 5, 6, 7], [1, 4, 7]),
        ({"min_interval": 3}, [1, 2, 1, 1], [1]),
        ({"deadband": 2}, [[10, 20], [11, 19], [10, 23], [None, 23]], [[10, 20], [10, 23], [None, 23]]),
    ],
)
def test_which_changes_are_reported(policy: dict[str, Any], values: list[float], expected: list[float]) -> None:
    assert reported(changes(**policy), *values) == expected


def test_a_value_that_stays_is_reported_again_after_the_longest_interval() -> None:
    kept = changes(max_interval=3, deadband=10)
    again = [now for now in range(8) if kept.take({"p": 5 + now % 2}, now).again]
    assert again == [3, 6]


class Site:
    def __init__(self) -> None:
        self.server = make_server(Transport.TCP, 1, 2, witness=lambda unit, pdu: self.asked.append((unit, pdu[0])))
        self.adapter = make_adapter()
        self.asked: list[tuple[int, int]] = []
        self.address: dict[str, Any] = {}
        self._runs: list[asyncio.Task[None]] = []

    def run(self, properties: dict[str, Any], unit: int = 1, **spec: Any) -> tuple[Driver, RecordingPort]:
        driver, port = make_driver(self.adapter, self.address | {"unit": unit}, properties, **spec)
        self._runs.append(asyncio.ensure_future(driver.run()))
        return driver, port

    async def close(self) -> None:
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self.adapter.stop()
        self.server.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.address = await serve(Transport.TCP, site.server)
    yield site
    await site.close()


ENUM = {"table": "holding", "address": 3, "type": "uint16", "enum": {3: "idle", 4: "busy"}}


async def test_each_value_that_is_not_good_says_why_and_is_good_again_later(site: Site) -> None:
    _, port = site.run(
        {
            "state": ENUM,
            "level": {"table": "holding", "address": 5, "type": "int16", "sentinels": [0x8000]},
            "gone": {"table": "input", "address": 90, "type": "int16"},
        }
    )
    await port.until(lambda r: set(r.bad) == {"gone"} and len(r.values) == 2)
    assert "illegal data address" in port.bad["gone"].message

    memory = site.server.units[1]
    memory.set(Table.HOLDING, 3, [9])
    memory.set(Table.HOLDING, 5, [0x8000])
    await port.until(lambda r: set(r.bad) == {"gone", "state", "level"})
    assert "stands for none of the names" in port.bad["state"].message
    assert "the device has no value" in port.bad["level"].message
    assert port.values == {"state": "idle", "level": None}

    memory.set(Table.HOLDING, 3, [4, 0, 7])
    await port.until(lambda r: set(r.bad) == {"gone"})
    await port.until(lambda r: r.values == {"state": "busy", "level": 7})
    assert port.presence is True


async def test_a_sign_of_life_is_a_report_that_says_so(site: Site) -> None:
    _, port = site.run({"state": ENUM | {"max_interval": "40ms"}})
    await port.until(lambda r: sum(report.again for report in r.reports) >= 2)
    assert [report.again for report in port.reports[:2]] == [False, True]


async def test_a_scale_factor_register_is_read_with_the_value_and_when_it_is_written(site: Site) -> None:
    memory = site.server.units[1]
    memory.set(Table.HOLDING, 30, [0xFFFF])
    properties = {
        "power": {"table": "holding", "address": 12, "type": "int16", "scale_register": 30},
        "limit": {"table": "holding", "address": 13, "type": "int16", "scale_register": 30, "writable": True},
    }
    driver, port = site.run(properties, read={"max_gap": 0})
    await port.until(lambda r: r.values == {"power": 1.2, "limit": 1.3})

    memory.set(Table.HOLDING, 30, [2])
    await port.until(lambda r: r.values == {"power": 1200, "limit": 1300})
    assert (await driver.write("limit", 4200)).observed == 4200
    assert memory.get(Table.HOLDING, 13, 1) == [42]
    assert driver.matches("limit", 4240, 4200)

    memory.set(Table.HOLDING, 30, [0x8000])
    await port.until(lambda r: set(r.bad) == {"power", "limit"})
    assert "as a scale factor" in port.bad["power"].message
    with pytest.raises(DeviceReplyInvalid, match="limit: the device sent -32768 as a scale factor"):
        await driver.write("limit", 4200)
    assert memory.get(Table.HOLDING, 13, 1) == [42]


async def test_bits_that_are_written_with_a_mask_are_scaled_by_the_register_too(site: Site) -> None:
    memory = site.server.units[1]
    memory.set(Table.HOLDING, 30, [1])
    bits = {"table": "holding", "address": 15, "type": "uint16", "bits": [4, 6], "scale_register": 30}
    driver, _ = site.run({"stage": bits | {"writable": True, "write_with": "mask"}})
    assert (await driver.write("stage", 50)).observed == 50
    assert memory.get(Table.HOLDING, 15, 1) == [0b101_1111]
    assert (1, 22) in site.asked


async def test_what_the_device_has_not_needs_no_scale_factor_that_it_has_not_either(site: Site) -> None:
    site.server.units[1].set(Table.HOLDING, 12, [0x8000, 0x8000])
    power = {"table": "holding", "address": 12, "type": "int16", "scale_register": 13, "sentinels": [0x8000]}
    _, port = site.run({"power": power})
    await port.until(lambda r: "power" in r.bad)
    assert "no value" in port.bad["power"].message
    assert port.problems == []


async def test_a_fast_property_does_not_wait_for_a_slow_round(site: Site) -> None:
    """Thirty blocks of the slow period take 15 ms each."""
    site.server.faults[None] = Faults([Fault(FaultKind.DELAY, 1.0, 0.015)])
    slow = {f"s{n}": {"table": "holding", "address": n, "type": "int16", "period": "10s"} for n in range(0, 30, 2)}
    memory = site.server.units[1]
    _, port = site.run(slow | {"fast": {"table": "input", "address": 7, "type": "int16"}}, read={"max_gap": 0})
    await port.until(lambda r: "fast" in r.values)
    memory.set(Table.INPUT, 7, [77])
    await port.until(lambda r: r.values["fast"] == 77)
    assert len(port.values) < 16


async def test_a_simulated_device_does_not_do_what_it_refuses(site: Site) -> None:
    properties = {"out": {"table": "holding", "address": 1, "type": "int16", "writable": True}}
    driver, _ = site.run(properties)
    site.server.faults[None] = Faults([Fault(FaultKind.EXCEPTION, 1.0, 3)])
    with pytest.raises(DeviceRefused, match=r"illegal data value \(3\) writing 1 holding register at 1"):
        await driver.write("out", 99)
    assert site.server.units[1].get(Table.HOLDING, 1, 1) == [1]


async def test_a_write_goes_before_all_polls_that_wait(site: Site) -> None:
    site.server.faults[None] = Faults([Fault(FaultKind.DELAY, 1.0, 0.01)])
    poll = {f"p{n}": {"table": "input", "address": n, "type": "int16"} for n in range(0, 30, 2)}
    site.run(poll, unit=1, read={"max_gap": 0})
    writer, _ = site.run({"out": {"table": "holding", "address": 1, "type": "int16", "writable": True}}, unit=2)
    await asyncio.sleep(0.05)
    before = len(site.asked)
    await writer.write("out", 5)
    functions = [function for _, function in site.asked[before:]]
    assert functions.index(6) <= 1


async def test_a_silent_unit_is_tried_with_little_patience_once_it_is_known_to_be(site: Site) -> None:
    """Its neighbour is polled every 20 ms, and its time-out is 900 ms."""
    site.address["timeout"] = "900ms"
    site.server.faults[2] = Faults([Fault(FaultKind.SILENCE)])
    times: list[float] = []
    loop = asyncio.get_running_loop()
    value = {"v": {"table": "input", "address": 1, "type": "int16"}}
    _, lively = site.run(value, unit=1)
    _, silent = site.run(value, unit=2)
    await silent.until(lambda r: r.presence is False)
    site.server._witness = lambda unit, pdu: times.append(loop.time()) if unit == 1 else site.asked.append((2, 0))
    site.asked.clear()
    async with asyncio.timeout(5):
        while not site.asked:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < 0.8
    assert lively.presence is True


async def test_what_the_node_says_of_reporting_holds_for_devices_that_say_nothing() -> None:
    server = make_server(Transport.TCP, 1)
    adapter = ADAPTER.open(ADAPTER.settings.model_validate({"deadband": 5}), MemoryContext())
    values = {
        "v": {"table": "holding", "address": 7, "type": "int16"},
        "w": {"table": "holding", "address": 8, "type": "int16"},
    }
    driver, port = make_driver(adapter, await serve(Transport.TCP, server), values)
    running = asyncio.ensure_future(driver.run())
    await port.until(lambda r: r.values == {"v": 7, "w": 8})
    server.units[1].set(Table.HOLDING, 7, [12, 14])
    await port.until(lambda r: r.values["w"] == 14)
    assert port.values["v"] == 7
    running.cancel()
    await adapter.stop()
    server.close()
