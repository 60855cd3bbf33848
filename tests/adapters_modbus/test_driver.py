"""A driver against pymodbus's server: polling, reporting, writing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from tests.adapters_modbus.plant import Plant, sim_device
from twingateway.errors import DeviceRefused, DeviceUnreachable, InvalidValue, WriteMismatch

SETPOINT = {"table": "holding", "address": 20, "type": "int16", "scale": 0.1, "writable": True}
SPEED = {"table": "input", "address": 12, "type": "int16"}


async def test_every_table_is_read_and_decoded(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    driver, _ = plant.driver(
        port,
        {
            "wide": {"table": "input", "address": 10, "type": "uint32"},
            "swapped": {"table": "input", "address": 10, "type": "uint32", "order": "CDAB"},
            "scaled": {"table": "holding", "address": 23, "type": "int16", "scale": 0.1},
            "flag": {"table": "holding", "address": 8, "type": "uint16", "bit": 3},
            "coil": {"table": "coil", "address": 1},
            "contact": {"table": "discrete", "address": 1},
        },
    )
    assert await driver.read() == {
        "wide": 10 << 16 | 11,
        "swapped": 11 << 16 | 10,
        "scaled": 2.3,
        "flag": True,
        "coil": False,
        "contact": True,
    }


async def test_only_changes_beyond_the_deadband_are_reported(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    _, recorder = plant.run(port, {"calm": SPEED | {"deadband": 5}, "lively": SPEED | {"address": 13}})
    await recorder.until(lambda r: "calm" in r.values)

    server = plant.servers[port]
    await server.async_setValues(1, 4, 12, [17, 14])
    await recorder.until(lambda r: r.values["lively"] == 14)
    await server.async_setValues(1, 4, 12, [18])
    await recorder.until(lambda r: r.values["calm"] == 18)

    assert [dict(report.values) for report in recorder.reports] == [
        {"calm": 12, "lively": 13},
        {"lively": 14},
        {"calm": 18},
    ]


async def test_a_property_has_its_own_period(plant: Plant) -> None:
    reads: list[int] = []

    async def count(function: int, start: int, address: int, number: int, now: Any, new: Any) -> None:
        reads.append(address)

    port = await plant.serve(sim_device(1, action=count))
    plant.run(port, {"fast": SPEED, "slow": SPEED | {"address": 30, "period": "10s"}})
    async with asyncio.timeout(5):
        while reads.count(12) < 5:
            await asyncio.sleep(0.01)

    assert reads.count(30) == 1


async def test_an_address_the_device_does_not_have_marks_only_itself(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    _, recorder = plant.run(port, {"good": SPEED, "other": SPEED | {"address": 39}, "bad": SPEED | {"address": 41}})
    await recorder.until(lambda r: len(r.problems) > 0 and len(r.values) == 2)

    assert recorder.values == {"good": 12, "other": 39}
    assert recorder.presence is True
    assert isinstance(recorder.problems[0], DeviceRefused)
    assert "bad: illegal data address (2) reading 1 input register at 41" in recorder.problems[0].message


async def test_a_gap_that_cannot_be_read_costs_one_refusal_only(plant: Plant) -> None:
    asked: list[tuple[int, int]] = []

    async def forbid(function: int, start: int, address: int, count: int, now: Any, new: Any) -> ExcCodes | None:
        asked.append((address, count))
        return ExcCodes.ILLEGAL_ADDRESS if address <= 15 < address + count else None

    port = await plant.serve(sim_device(1, action=forbid))
    _, recorder = plant.run(port, {"low": SPEED, "high": SPEED | {"address": 20}})
    await recorder.until(lambda r: len(r.values) == 2)
    async with asyncio.timeout(5):
        while len(asked) < 9:
            await asyncio.sleep(0.01)

    assert recorder.problems == []
    assert asked.count((12, 9)) == 1
    assert asked[:5] == [(12, 9), (12, 1), (20, 1), (12, 1), (20, 1)]


async def test_a_single_read_returns_what_can_be_read_and_says_what_cannot(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    driver, recorder = plant.driver(port, {"good": SPEED, "bad": SPEED | {"address": 41}})
    assert await driver.read() == {"good": 12}
    assert [problem.detail["exception"] for problem in recorder.problems] == [2]

    hopeless, _ = plant.driver(port, {"bad": SPEED | {"address": 41}})
    with pytest.raises(DeviceRefused, match="illegal data address"):
        await hopeless.read()


async def test_a_write_is_confirmed_by_what_the_device_then_holds(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    driver, recorder = plant.driver(
        port,
        {
            "setpoint": SETPOINT,
            "energy": {"table": "holding", "address": 30, "type": "float64", "order": "CDAB", "writable": True},
            "fan": {"table": "coil", "address": 5, "writable": True},
            "name": {"table": "holding", "address": 34, "type": "string", "length": 4, "writable": True},
        },
    )
    assert driver.writable == {"setpoint", "energy", "fan", "name"}
    assert driver.period == 0.02
    for name, value in {"setpoint": 21.5, "energy": 1234.5, "fan": True, "name": "north"}.items():
        written = await driver.write(name, value)
        assert (written.confirmed, written.observed) == (True, value)
        assert recorder.values[name] == value

    rounded = await driver.write("setpoint", 21.52)
    assert (rounded.confirmed, rounded.observed) == (True, 21.5)
    assert await plant.servers[port].async_getValues(1, 3, 20, 1) == [215]


async def test_writing_a_bit_leaves_the_rest_of_its_register(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    driver, _ = plant.driver(
        port,
        {
            "flag": {"table": "holding", "address": 15, "type": "uint16", "bit": 1, "writable": True},
            "mode": {"table": "holding", "address": 15, "type": "uint16", "bits": [4, 6], "writable": True},
        },
    )
    await driver.write("flag", False)
    await driver.write("mode", 5)
    assert await plant.servers[port].async_getValues(1, 3, 15, 1) == [0b101_1101]


async def test_two_bits_of_one_register_written_at_once_both_stay(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    bit = {"table": "holding", "address": 0, "type": "uint16", "writable": True}
    drivers = [plant.driver(port, {"bit": bit | {"bit": n}})[0] for n in range(8)]

    await asyncio.gather(*(driver.write("bit", True) for driver in drivers))

    assert await plant.servers[port].async_getValues(1, 3, 0, 1) == [0xFF]


@pytest.mark.parametrize("value", [4000, "warm", True, None])
async def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent(plant: Plant, value: Any) -> None:
    asked: list[int] = []

    async def count(function: int, start: int, address: int, number: int, now: Any, new: Any) -> None:
        asked.append(function)

    port = await plant.serve(sim_device(1, action=count))
    driver, _ = plant.driver(port, {"setpoint": SETPOINT})
    with pytest.raises(InvalidValue, match="setpoint: "):
        await driver.write("setpoint", value)
    assert asked == []


async def test_a_device_that_keeps_another_value_is_a_mismatch(plant: Plant) -> None:
    async def clamp(function: int, start: int, address: int, count: int, now: Any, new: Any) -> None:
        if new:
            new[0] = min(new[0], 300)

    port = await plant.serve(sim_device(1, action=clamp))
    driver, recorder = plant.driver(port, {"setpoint": SETPOINT})

    with pytest.raises(WriteMismatch, match=r"setpoint is 30\.0 after 40 was written") as raised:
        await driver.write("setpoint", 40)

    assert raised.value.detail["observed"] == 30.0
    assert recorder.values == {"setpoint": 30.0}


async def test_a_controller_may_take_a_value_over_a_little_later(plant: Plant) -> None:
    reads = 0

    async def late(function: int, start: int, address: int, count: int, now: Any, new: Any) -> None:
        nonlocal reads
        reads += function == 3
        if new:
            new[0] = 200
        elif reads == 2:
            now[20] = 215

    port = await plant.serve(sim_device(1, action=late))
    driver, _ = plant.driver(port, {"setpoint": SETPOINT})
    assert (await driver.write("setpoint", 21.5)).observed == 21.5


async def test_a_write_the_device_refuses_says_why(plant: Plant) -> None:
    async def refuse(function: int, start: int, address: int, count: int, now: Any, new: Any) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_VALUE if new else None

    port = await plant.serve(sim_device(1, action=refuse))
    driver, _ = plant.driver(port, {"setpoint": SETPOINT})
    with pytest.raises(DeviceRefused, match=r"setpoint: illegal data value \(3\) writing 1 holding register at 20"):
        await driver.write("setpoint", 21)


async def test_a_server_that_went_away_is_offline_and_comes_back_by_itself(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    _, recorder = plant.run(port, {"speed": SPEED})
    await recorder.until(lambda r: r.presence is True)

    await plant.stop(port)
    await recorder.until(lambda r: r.presence is False)
    assert isinstance(recorder.offline_error, DeviceUnreachable)
    assert 0 < recorder.offline_error.detail["retry_in"] <= 1

    from pymodbus.server import ModbusTcpServer

    again = ModbusTcpServer([sim_device(1)], address=("127.0.0.1", port))
    plant.servers[port] = again
    await again.serve_forever(background=True)
    await recorder.until(lambda r: r.presence is True)
    assert [dict(report.values) for report in recorder.reports] == [{"speed": 12}, {"speed": 12}]


async def test_units_of_one_endpoint_share_one_connection_that_ends_with_the_last(plant: Plant) -> None:
    port = await plant.serve(sim_device(1), sim_device(2))
    drivers = [plant.driver(port, {"speed": SPEED}, unit=unit)[0] for unit in (1, 2)]
    assert [await driver.read() for driver in drivers] == [{"speed": 12}] * 2
    connections = plant.servers[port].active_connections
    assert len(connections) == 1

    await drivers[0].close()
    assert await drivers[1].read() == {"speed": 12}
    await drivers[1].close()
    async with asyncio.timeout(5):
        while connections:
            await asyncio.sleep(0.01)


async def test_a_value_read_before_a_write_is_not_reported_after_it(plant: Plant) -> None:
    blocked = asyncio.Event()
    free = asyncio.Event()

    async def hold_up_the_second_block(
        function: int, start: int, address: int, count: int, now: Any, new: Any
    ) -> None:
        if function == 4:
            blocked.set()
            await free.wait()

    port = await plant.serve(sim_device(1, action=hold_up_the_second_block))
    driver, recorder = plant.run(
        port, {"setpoint": SETPOINT, "a": SPEED, "b": SPEED | {"address": 35}}, timeout="5s", period="10s"
    )
    await blocked.wait()
    writing = asyncio.ensure_future(driver.write("setpoint", 30.0))
    await asyncio.sleep(0)
    free.set()
    await writing
    await recorder.until(lambda r: "b" in r.values)

    assert [report.values["setpoint"] for report in recorder.reports if "setpoint" in report.values] == [2.0, 30.0]
