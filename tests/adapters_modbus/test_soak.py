"""Every fault of the simulator on every transport: not one wrong value is taken, and all is right afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.errors import DeviceError, DeviceReplyInvalid
from twingateway.testing.device_port import RecordingPort

#: Values whose registers hold neither each other nor what a shifted or cut frame would give.
TRUE = {"wide": 10 << 16 | 11, "low": 3, "far": 37 << 16 | 38, "bit": True, "bits": [False, True, False, True]}
PROPERTIES: dict[str, Any] = {
    "wide": {"table": "holding", "address": 10, "type": "uint32"},
    "low": {"table": "holding", "address": 3, "type": "int16"},
    "far": {"table": "input", "address": 37, "type": "uint32"},
    "bit": {"table": "coil", "address": 1},
    "bits": {"table": "discrete", "address": 0, "count": 4},
}
#: On a line without check sums between request and transaction (RTU, ASCII) the reply before cannot be told from the
#: reply to the same request; everything else must be.
KINDS = [kind for kind in FaultKind if kind not in (FaultKind.DELAY, FaultKind.STALE)]


@pytest.mark.parametrize(
    ("transport", "connections"),
    [
        (Transport.TCP, 1),
        (Transport.TCP, 3),
        (Transport.UDP, 1),
        (Transport.UDP, 3),
        (Transport.RTU, 1),
        (Transport.ASCII_OVER_TCP, 1),
    ],
)
async def test_no_fault_makes_a_wrong_value(transport: Transport, connections: int) -> None:
    """Without a check sum (Modbus/TCP) altered bytes in the data cannot be seen, and that of ASCII has eight bits,
    which lets one in 256 pass: there the noise is left out."""
    kinds = [kind for kind in KINDS if kind is not FaultKind.NOISE or transport is Transport.RTU]
    if not transport.is_serial:
        kinds += [FaultKind.STALE] if transport in (Transport.TCP, Transport.UDP) else []
    server = make_server(transport, *range(1, 9), faults=Faults([Fault(k, 0.6 / len(kinds)) for k in kinds], seed=5))
    address = await serve(transport, server) | {"timeout": "20ms", "connections": connections}
    adapter = make_adapter()
    ports: list[RecordingPort] = []
    runs = []
    for unit in range(1, 9):
        driver, port = make_driver(adapter, address | {"unit": unit}, PROPERTIES)
        runs.append(asyncio.ensure_future(driver.run()))
        ports.append(port)
    await asyncio.sleep(1.0)
    async with asyncio.timeout(30):  # on a busy machine a second may hold no fault that is told of
        while not any(port.problems for port in ports):
            await asyncio.sleep(0.05)
    server.faults.clear()
    try:
        for port in ports:
            await port.until(lambda r: r.presence is True and not r.bad and r.values == TRUE, timeout=20)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        await adapter.stop()
        server.close()

    reports = [report.values for port in ports for report in port.reports]
    assert len(reports) >= 8
    assert [values for values in reports for name in values if values[name] != TRUE[name]] == []
    assert any(port.problems for port in ports)


@pytest.mark.parametrize("kind", [FaultKind.NOISE, FaultKind.FUNCTION, FaultKind.LENGTH, FaultKind.UNIT])
async def test_a_garbled_read_is_asked_once_more_at_once(kind: FaultKind) -> None:
    """So that one disturbance on a line is no missed poll."""
    asked: list[bytes] = []
    server = make_server(Transport.RTU, 1, witness=lambda unit, pdu: asked.append(pdu))
    spoiled = Faults([Fault(kind)], seed=3)
    server.faults[None] = spoiled
    address = await serve(Transport.RTU, server) | {"unit": 1, "timeout": "1s"}
    adapter = make_adapter()
    driver, _ = make_driver(adapter, address, {"low": PROPERTIES["low"]})

    def heal(unit: int, pdu: bytes) -> None:
        asked.append(pdu)
        spoiled.faults = ()  # this reply's was chosen before

    server._witness = heal
    try:
        assert await driver.read() == {"low": 3}
        assert len(asked) == 2
    finally:
        await adapter.stop()
        server.close()


@pytest.mark.parametrize("transport", [t for t in Transport if t is not Transport.TLS])
async def test_a_write_that_is_confirmed_has_happened(transport: Transport) -> None:
    """Whatever becomes of the replies to it, and to the read-back."""
    kinds = [kind for kind in KINDS if kind is not FaultKind.NOISE or transport.has_check_sum]
    server = make_server(transport, 1, faults=Faults([Fault(kind, 0.4 / len(kinds)) for kind in kinds], seed=7))
    address = await serve(transport, server) | {"unit": 1, "timeout": "30ms"}
    properties = {
        "two": {"table": "holding", "address": 20, "type": "int32", "writable": True},
        "one": {"table": "holding", "address": 24, "type": "int16", "writable": True},
    }
    confirmed = failed = 0
    for number in range(40):
        adapter = make_adapter()  # a link of its own, so that no quarantine makes the next one wait
        driver, _ = make_driver(adapter, address, properties)
        name, value, at, count = ("two", number * 100_003, 20, 2) if number % 2 else ("one", number * -809, 24, 1)
        try:
            written = await driver.write(name, value)
        except DeviceError:
            failed += 1
        else:
            cells = server.units[1].get(Table.HOLDING, at, count)
            held = int.from_bytes(b"".join(cell.to_bytes(2, "big") for cell in cells), "big", signed=True)
            assert not written.confirmed or held == written.observed == value
            confirmed += written.confirmed
        await adapter.stop()
    server.close()
    assert confirmed
    assert failed


async def test_the_echo_of_a_write_is_no_device() -> None:
    """On a two-wire line of which nobody said that it echoes, function 6 comes back as its own good reply."""
    server = make_server(Transport.RTU)
    address = await serve(Transport.RTU, server, echo=True)
    adapter = make_adapter()
    single = {"table": "holding", "address": 24, "type": "int16", "writable": True}
    undeclared = address | {"unit": 1, "timeout": "5s", "serial": address["serial"] | {"echo": False}}
    driver, _ = make_driver(adapter, undeclared, {"single": single})
    with pytest.raises(DeviceReplyInvalid, match="does the line echo"):
        await driver.write("single", 7)
    await adapter.stop()
    server.close()
