"""Devices that answer wrongly or not at all: no wrong value, the right error, and neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.adapters_modbus.plant import Plant, sim_device
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
)

VALUE = {"table": "holding", "address": 20, "type": "int16", "writable": True}


def reply(request: bytes, pdu: bytes, *, transaction: int = 0, unit: int = 0) -> bytes:
    """A frame that fits `request` but for what is asked to be off by so much."""
    number = int.from_bytes(request[:2], "big") + transaction
    body = bytes([request[6] + unit]) + pdu
    return number.to_bytes(2, "big") + bytes(2) + len(body).to_bytes(2, "big") + body


def exception(code: int) -> Callable[[bytes], bytes]:
    return lambda request: reply(request, bytes([request[7] | 0x80, code]))


#: Of a device that answers at once, however busy this machine is, and of one that does not answer at all.
PATIENCE, IMPATIENCE = "5s", "300ms"


def patience(case: str) -> str:
    return IMPATIENCE if case in ("silence", "half a frame") else PATIENCE


GOOD = bytes.fromhex("03 02 002a")

HOSTILE: dict[str, tuple[Callable[[bytes], bytes | None], type[DeviceError], str]] = {
    "silence": (lambda _: b"", DeviceTimeout, "did not answer within 0.3 s reading 1 holding register at 20"),
    "half a frame": (lambda r: reply(r, GOOD)[:8], DeviceTimeout, "only 8 bytes came"),
    "function": (lambda r: reply(r, b"\x04" + GOOD[1:]), DeviceReplyInvalid, "function 4 instead of 3"),
    "too many registers": (lambda r: reply(r, b"\x03\x04\0\1\0\2"), DeviceReplyInvalid, "4 bytes of values"),
    "no registers": (lambda r: reply(r, b"\x03\x00"), DeviceReplyInvalid, "0 bytes of values"),
    "unit": (lambda r: reply(r, GOOD, unit=1), DeviceReplyInvalid, "unit 2 instead of 1"),
    "transaction": (lambda r: reply(r, GOOD, transaction=1), DeviceReplyInvalid, "transaction"),
    "garbage": (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", DeviceReplyInvalid, "protocol identifier"),
    "two replies": (lambda r: 2 * reply(r, GOOD), DeviceReplyInvalid, "behind the reply"),
    "hanging up": (lambda _: None, DeviceUnreachable, "closed the connection"),
    "exception 1": (exception(1), DeviceRefused, r"illegal function \(1\)"),
    "exception 2": (exception(2), DeviceRefused, r"illegal data address \(2\)"),
    "exception 3": (exception(3), DeviceRefused, r"illegal data value \(3\)"),
    "exception 4": (exception(4), DeviceError, r"device failure \(4\)"),
    "exception 8": (exception(8), DeviceError, r"memory parity error \(8\)"),
    "exception 6": (exception(6), DeviceTimeout, r"device busy \(6\)"),
    "exception 11": (exception(11), DeviceUnreachable, r"gateway target failed to respond \(11\)"),
    "exception 99": (exception(99), DeviceRefused, r"exception of the vendor \(99\)"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_wrong_answer_is_no_value_and_the_right_error(plant: Plant, case: str) -> None:
    answer, error, words = HOSTILE[case]
    port = await plant.serve_hostile(answer)
    driver, recorder = plant.driver(port, {"value": VALUE}, timeout=patience(case))

    with pytest.raises(error, match=words) as raised:
        await driver.read()

    assert type(raised.value) is error
    assert recorder.reports == []


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_wrong_answer_to_a_write_confirms_nothing(plant: Plant, case: str) -> None:
    answer, error, _ = HOSTILE[case]
    port = await plant.serve_hostile(answer)
    driver, recorder = plant.driver(port, {"value": VALUE}, timeout=patience(case))

    with pytest.raises(DeviceError) as raised:
        await driver.write("value", 42)

    assert raised.value.transient == error.transient
    assert recorder.reports == []


@pytest.mark.parametrize("case", ["silence", "function", "garbage", "half a frame", "hanging up", "exception 4"])
async def test_a_neighbour_on_another_connection_notices_nothing(plant: Plant, case: str) -> None:
    hostile = await plant.serve_hostile(HOSTILE[case][0])
    _, victim = plant.run(hostile, {"value": VALUE}, timeout="5s")
    port = await plant.serve(sim_device(1))
    _, neighbour = plant.run(port, {"value": VALUE | {"address": 12}})

    for number in range(5):
        await plant.servers[port].async_setValues(1, 16, 12, [100 + number])
        await neighbour.until(lambda r, n=number: r.values.get("value") == 100 + n, timeout=1)  # type: ignore[misc]

    assert neighbour.problems == []
    assert victim.reports == []


async def test_a_silent_unit_is_left_alone_so_that_its_neighbours_on_the_wire_go_on(plant: Plant) -> None:
    asked: list[int] = []

    def answer(request: bytes) -> bytes:
        asked.append(request[6])
        return b"" if request[6] == 1 else reply(request, GOOD)

    port = await plant.serve_hostile(answer)
    _, silent = plant.run(port, {"value": VALUE}, unit=1, timeout="50ms")
    await silent.until(lambda r: r.presence is False)
    _, lively = plant.run(port, {"value": VALUE}, unit=2, timeout="50ms")
    asked.clear()
    async with asyncio.timeout(5):
        while asked.count(2) < 20:
            await asyncio.sleep(0.01)

    assert asked.count(1) <= 1
    assert lively.values == {"value": 42}
    assert isinstance(silent.offline_error, DeviceTimeout)


async def test_a_write_to_a_unit_in_quarantine_fails_at_once_and_may_be_tried_again(plant: Plant) -> None:
    port = await plant.serve_hostile(lambda _: b"")
    driver, _ = plant.driver(port, {"value": VALUE}, timeout=IMPATIENCE)
    with pytest.raises(DeviceTimeout):
        await driver.read()

    with pytest.raises(DeviceTimeout, match="next try in 1 s") as raised:
        await driver.write("value", 1)
    assert raised.value.transient


async def test_a_device_that_has_come_to_its_senses_is_believed_again(plant: Plant) -> None:
    sane = False
    port = await plant.serve_hostile(lambda r: reply(r, GOOD if sane else b"\x04" + GOOD[1:]))
    _, recorder = plant.run(port, {"value": VALUE})
    await recorder.until(lambda r: r.presence is False)
    assert isinstance(recorder.offline_error, DeviceReplyInvalid)
    assert recorder.reports == []

    sane = True
    await recorder.until(lambda r: r.values == {"value": 42})
    assert recorder.presence is True


async def test_a_device_that_refuses_everything_is_there_all_the_same(plant: Plant) -> None:
    port = await plant.serve_hostile(exception(4))
    _, recorder = plant.run(port, {"value": VALUE})
    await recorder.until(lambda r: bool(r.problems))

    assert recorder.presence is True
    assert recorder.reports == []


async def test_the_same_problem_is_not_told_with_every_poll(plant: Plant) -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return reply(request, GOOD) if request[9] == 20 else exception(4)(request)

    port = await plant.serve_hostile(answer)
    _, recorder = plant.run(port, {"good": VALUE, "bad": VALUE | {"address": 90}})
    async with asyncio.timeout(5):
        while len(asked) < 12:
            await asyncio.sleep(0.01)

    assert [problem.message.split(":")[0] for problem in recorder.problems] == ["bad"]
    assert recorder.values == {"good": 42}


async def test_nobody_there_is_unreachable(plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    await plant.stop(port)
    driver, _ = plant.driver(port, {"value": VALUE})
    with pytest.raises(DeviceUnreachable, match=f"no connection to 127.0.0.1:{port}"):
        await driver.read()
