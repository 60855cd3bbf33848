"""Every way to a device: read, written and identified over all transports, against pymodbus and our own simulator."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus import ModbusDeviceIdentification
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from twingateway_modbus import ADAPTER
from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.identity import REGULAR, text_of
from twingateway_modbus.line_timing import silence
from twingateway_modbus.link import Link
from twingateway_modbus.point import Table
from twingateway_modbus.request import Cells
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.plant import sim_device
from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.adapter import UNCONFIRMED
from twingateway.errors import DeviceRefused, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable, InvalidConfig
from twingateway.pki.authority import create_authority, issue

PROPERTIES: dict[str, Any] = {
    "wide": {"table": "input", "address": 10, "type": "uint32"},
    "contact": {"table": "discrete", "address": 1},
    "coils": {"table": "coil", "address": 0, "count": 5, "writable": True},
    "setpoint": {"table": "holding", "address": 20, "type": "int16", "scale": 0.1, "writable": True},
    "energy": {"table": "holding", "address": 30, "type": "float64", "writable": True},
    "mask": {
        "table": "holding",
        "address": 15,
        "type": "uint16",
        "bits": [4, 6],
        "writable": True,
        "write_with": "mask",
    },
    "both": {"table": "holding", "address": 16, "type": "int32", "writable": True, "write_with": "read-write"},
    "high": {"table": "holding", "address": 18, "type": "uint8", "byte": "high", "writable": True},
    "multiple": {"table": "holding", "address": 19, "type": "int16", "writable": True, "write_with": "multiple"},
}
WRITTEN = {
    "coils": [True, True, False, False, True],
    "setpoint": 21.5,
    "energy": -1234.5,
    "mask": 5,
    "both": -70000,
    "high": 200,
    "multiple": -7,
}


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """The authority's certificate, and a server's context."""
    authority = create_authority(tmp_path / "pki")
    server = issue(tmp_path / "pki", "plc", hosts=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    return authority.certificate, context


@pytest.fixture
async def closing() -> AsyncIterator[list[Any]]:
    """What is closed at the end: servers of both kinds and adapters."""
    things: list[Any] = []
    yield things
    for thing in reversed(things):
        outcome = thing.stop() if hasattr(thing, "stop") else thing.close()
        if asyncio.iscoroutine(outcome):
            await outcome


async def exercise(closing: list[Any], address: dict[str, Any], unit: int = 3) -> None:
    """Read all, write all, read back what was written."""
    adapter = make_adapter()
    closing.append(adapter)
    driver, recorder = make_driver(adapter, address | {"unit": unit, "timeout": "5s"}, PROPERTIES)
    before = await driver.read()
    assert before["wide"] == 10 << 16 | 11
    assert before["contact"] is True
    assert recorder.problems == []

    for name, value in WRITTEN.items():
        assert (await driver.write(name, value)).observed == value
    after = await driver.read()
    assert {name: after[name] for name in WRITTEN} == WRITTEN
    assert after["wide"] == before["wide"]


@pytest.mark.parametrize("transport", [each for each in Transport if each is not Transport.TLS])
async def test_every_transport_reads_and_writes(transport: Transport, closing: list[Any]) -> None:
    server = make_server(transport, 3)
    closing.append(server)
    await exercise(closing, await serve(transport, server))


@pytest.mark.parametrize("transport", [Transport.RTU, Transport.ASCII])
async def test_a_two_wire_line_that_echoes(transport: Transport, closing: list[Any]) -> None:
    server = make_server(transport, 3)
    closing.append(server)
    await exercise(closing, await serve(transport, server, echo=True))


async def test_tls_with_a_certificate_that_is_verified(
    certificates: tuple[Path, ssl.SSLContext], closing: list[Any]
) -> None:
    authority, context = certificates
    server = make_server(Transport.TLS, 3)
    closing.append(server)
    address = await serve(Transport.TLS, server, tls=context)
    await exercise(closing, address | {"tls": {"ca_file": str(authority)}})

    stranger, _ = make_driver(make_adapter(), address | {"unit": 3, "timeout": "5s"}, PROPERTIES)
    with pytest.raises(DeviceUnreachable, match=r"its certificate is not accepted \(.*; ca_file: who signed"):
        await stranger.read()
    misnamed = address | {"tls": {"ca_file": str(authority), "server_name": "other"}, "unit": 3, "timeout": "5s"}
    named_wrongly, _ = make_driver(make_adapter(), misnamed, PROPERTIES)
    with pytest.raises(DeviceUnreachable, match=r"not accepted .Hostname mismatch.*; server_name: the name in its"):
        await named_wrongly.read()


@pytest.mark.parametrize("transport", ["tcp", "udp", "tls", "rtu-over-tcp", "ascii-over-tcp"])
async def test_pymodbus_at_the_other_end(
    transport: str, certificates: tuple[Path, ssl.SSLContext], closing: list[Any]
) -> None:
    authority, context = certificates
    framer = {"rtu-over-tcp": FramerType.RTU, "ascii-over-tcp": FramerType.ASCII}.get(transport, FramerType.SOCKET)
    where: dict[str, Any] = {"framer": framer, "address": ("127.0.0.1", 0)}
    server: Any
    if transport == "udp":
        server = ModbusUdpServer([sim_device(3)], **where)
    elif transport == "tls":
        server = ModbusTlsServer([sim_device(3)], sslctx=context, **where)
    else:
        server = ModbusTcpServer([sim_device(3)], **where)
    await server.serve_forever(background=True)
    try:
        listening = server.transport
        name = listening.get_extra_info("sockname") if transport == "udp" else listening.sockets[0].getsockname()
        address = {"transport": transport, "host": "127.0.0.1", "port": name[1]}
        if transport == "tls":
            address["tls"] = {"ca_file": str(authority)}
        await exercise(closing, address)
    finally:
        while closing:
            await closing.pop().stop()
        await server.shutdown()


async def test_pymodbus_says_who_it_is_in_as_many_replies_as_it_takes(closing: list[Any]) -> None:
    said = {"VendorName": "Acme Ü", "ProductCode": "X1", "MajorMinorRevision": "3.2"}
    said |= {"VendorUrl": "u" * 90, "ProductName": "p" * 90, "ModelName": "m" * 90}
    identity = ModbusDeviceIdentification(info_name=said)
    server = ModbusTcpServer([sim_device(3)], address=("127.0.0.1", 0), identity=identity)
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    link = Link(AddressSettings.model_validate({"host": "127.0.0.1", "port": port}))
    try:
        async with link.turn(3, 5.0) as turn:
            found = await turn.identify(REGULAR)
    finally:
        link.close()
        await server.shutdown()
    assert [text_of(found[number]) for number in range(6)] == list(said.values())


async def test_the_device_says_who_it_is(closing: list[Any]) -> None:
    server = make_server(Transport.TCP, 3)
    closing.append(server)
    link = Link(AddressSettings.model_validate(await serve(Transport.TCP, server)))
    closing.append(link)
    async with link.turn(3, 1.0) as turn:
        assert await turn.identify() == {0: b"twingateway", 1: b"simulator", 2: b"1"}


async def test_as_many_requests_are_in_flight_as_there_are_connections(closing: list[Any]) -> None:
    asked: list[int] = []
    slow = Faults([Fault(FaultKind.DELAY, 1.0, 0.1)])
    server = make_server(Transport.TCP, *range(1, 7), faults=slow, witness=lambda unit, pdu: asked.append(unit))
    closing.append(server)
    address = await serve(Transport.TCP, server) | {"connections": 3}
    adapter = make_adapter()
    closing.append(adapter)
    properties = {"wide": PROPERTIES["wide"]}
    drivers = [make_driver(adapter, address | {"unit": unit}, properties)[0] for unit in range(1, 7)]
    reads = asyncio.gather(*(driver.read() for driver in drivers))
    await asyncio.sleep(0.05)
    assert len(asked) == 3
    await reads
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("coils", "0f 0000 0005 01 13"),
        ("setpoint", "06 0014 00d7"),
        ("energy", "10 001e 0004 08 c0934a0000000000"),
        ("mask", "16 000f ff8f 0050"),
        ("both", "17 0010 0002 0010 0002 04 fffeee90"),
        ("high", "06 0012 c812"),
        ("multiple", "10 0013 0001 02 fff9"),
    ],
)
async def test_a_write_is_one_request_with_its_own_function(name: str, sent: str, closing: list[Any]) -> None:
    asked: list[bytes] = []
    server = make_server(Transport.TCP, 3, witness=lambda unit, pdu: asked.append(pdu))
    closing.append(server)
    adapter = make_adapter()
    closing.append(adapter)
    driver, _ = make_driver(adapter, await serve(Transport.TCP, server) | {"unit": 3}, PROPERTIES)
    await driver.write(name, WRITTEN[name])
    assert [pdu for pdu in asked if pdu[0] > 4] == [bytes.fromhex(sent)]


async def test_the_line_rests_between_requests(closing: list[Any]) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    server = make_server(Transport.TCP, 3, witness=lambda unit, pdu: times.append(loop.time()))
    closing.append(server)
    address = await serve(Transport.TCP, server) | {"delay": "30ms", "unit": 3}
    adapter = make_adapter()
    closing.append(adapter)
    driver, _ = make_driver(adapter, address, PROPERTIES)
    await driver.read()
    assert len(times) >= 4
    assert all(after - before >= 0.029 for before, after in itertools.pairwise(times))


async def test_the_pause_outlives_the_connection(closing: list[Any]) -> None:
    """It is closed after a wrong reply, and the device needs its pause before the next request all the same."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    server = make_server(Transport.TCP, 3, witness=lambda unit, pdu: times.append(loop.time()))
    server.faults[3] = Faults([Fault(FaultKind.FUNCTION)])
    closing.append(server)
    address = await serve(Transport.TCP, server) | {"delay": "60ms", "unit": 3}
    link = Link(AddressSettings.model_validate(address))
    closing.append(link)
    with pytest.raises(DeviceReplyInvalid):
        await link.read(3, 1.0, Cells(Table.HOLDING, 0, 1))
    assert len(times) == 2, "a garbled reply is asked for once more, on a new connection"
    assert times[1] - times[0] >= 0.059


@pytest.mark.parametrize(
    ("line", "pause"),
    [
        ({"baud": 9600}, 3.5 * 11 / 9600),
        ({"baud": 19200, "parity": "none", "stop_bits": 1}, 3.5 * 10 / 19200),
        ({"baud": 38400}, 0.00175),
        ({"baud": 115200}, 0.00175),
    ],
)
def test_frames_on_a_line_are_parted_by_silence(line: dict[str, Any], pause: float) -> None:
    address = AddressSettings.model_validate({"transport": "rtu", "serial": {"port": "/dev/ttyS0"} | line})
    assert silence(address) == pytest.approx(pause)
    assert silence(address.model_copy(update={"transport": Transport.ASCII})) == 0


async def test_rtu_frames_are_parted_by_their_silence(closing: list[Any]) -> None:
    """3.5 characters of 11 bits at 300 baud."""
    server = make_server(Transport.RTU, 3)
    closing.append(server)
    address = await serve(Transport.RTU, server)
    slow = AddressSettings.model_validate(address | {"serial": address["serial"] | {"baud": 300}})
    link = Link(slow)
    closing.append(link)
    await link.read(3, 1.0, Cells(Table.HOLDING, 0, 1))
    began = asyncio.get_running_loop().time()
    await link.read(3, 1.0, Cells(Table.HOLDING, 0, 1))
    assert asyncio.get_running_loop().time() - began >= 0.12


@pytest.mark.parametrize(
    ("transport", "echo"),
    [
        (Transport.RTU, False),
        (Transport.RTU, True),
        (Transport.ASCII, False),
        (Transport.ASCII, True),
        (Transport.RTU_OVER_TCP, False),
        (Transport.ASCII_OVER_TCP, False),
    ],
)
async def test_all_units_of_a_line_are_written_to_at_once_and_none_answers(
    transport: Transport, echo: bool, closing: list[Any]
) -> None:
    server = make_server(transport, 3, 4)
    closing.append(server)
    address = await serve(transport, server, echo=echo) | {"turnaround": "50ms"}
    adapter = make_adapter()
    closing.append(adapter)
    told = {name: PROPERTIES[name] for name in ("coils", "setpoint", "energy", "mask")}
    everybody, _ = make_driver(adapter, address | {"unit": 0}, told)
    one, _ = make_driver(adapter, address | {"unit": 4}, PROPERTIES)
    times = []
    for name in told:
        assert await everybody.write(name, WRITTEN[name]) is UNCONFIRMED
        times.append(asyncio.get_running_loop().time())
    assert all(after - before >= 0.049 for before, after in itertools.pairwise(times))
    values = await one.read()
    assert {name: values[name] for name in told} == {name: WRITTEN[name] for name in told}

    with pytest.raises(DeviceRefused, match="none answers"):
        await everybody.read()
    with pytest.raises(DeviceRefused, match="none answers"):
        await everybody.read_back("setpoint")


async def test_all_units_of_a_line_are_there_while_the_line_is(closing: list[Any]) -> None:
    adapter = make_adapter()
    closing.append(adapter)
    server = make_server(Transport.RTU_OVER_TCP, 3)
    address = await serve(Transport.RTU_OVER_TCP, server) | {"unit": 0}
    told = {"setpoint": PROPERTIES["setpoint"]}
    driver, recorder = make_driver(adapter, address, told)
    missing = {"transport": "rtu", "serial": {"port": "/dev/no-line"}, "unit": 0}
    nowhere, away = make_driver(adapter, missing, told)
    running = [asyncio.ensure_future(each.run()) for each in (driver, nowhere)]
    await recorder.until(lambda r: r.presence is True)
    await away.until(lambda r: r.presence is False)
    assert "cannot be used" in str(away.offline_error)
    assert away.offline_error is not None
    assert away.offline_error.detail["retry_in"] > 0
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    server.close()


@pytest.mark.parametrize("name", ["wide", "both", "high"])
def test_all_units_of_a_line_can_only_be_written_to(name: str) -> None:
    address = {"transport": "rtu", "serial": {"port": "/dev/ttyS0"}, "unit": 0}
    with pytest.raises(ValueError, match=f"{name}: unit 0 is all units of a line"):
        ADAPTER.device.model_validate({"address": address, "properties": {name: PROPERTIES[name]}})


async def test_unit_0_of_a_network_is_a_unit_like_any_other(closing: list[Any]) -> None:
    server = make_server(Transport.TCP, 0)
    closing.append(server)
    await exercise(closing, await serve(Transport.TCP, server), unit=0)


async def test_a_late_reply_harms_nobody_and_the_connection_stays(closing: list[Any]) -> None:
    """The reply of the slow unit comes while its neighbour is asked."""
    server = make_server(Transport.TCP, 1, 2)
    server.faults[1] = Faults([Fault(FaultKind.DELAY, 1.0, 0.12)])
    server.faults[2] = Faults([Fault(FaultKind.DELAY, 1.0, 0.05)])
    server.units[2].set(next(iter(server.units[2].tables)), 0, [7])
    closing.append(server)
    address = await serve(Transport.TCP, server)
    adapter = make_adapter()
    closing.append(adapter)
    properties = {"value": {"table": "holding", "address": 0, "type": "uint16"}}
    slow, _ = make_driver(adapter, address | {"unit": 1, "timeout": "80ms"}, properties)
    quick, _ = make_driver(adapter, address | {"unit": 2}, properties)
    with pytest.raises(DeviceTimeout):
        await slow.read()
    assert await quick.read() == {"value": 7}
    assert await quick.read() == {"value": 7}


async def test_devices_that_disagree_about_their_link_are_told_so() -> None:
    adapter = make_adapter()
    properties = {"value": {"table": "holding", "address": 0, "type": "uint16"}}
    make_driver(adapter, {"host": "10.0.0.1"}, properties)
    with pytest.raises(InvalidConfig, match=r"devices at 10.0.0.1:502 disagree about delay"):
        make_driver(adapter, {"host": "10.0.0.1", "delay": "5ms"}, properties)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({}, "host is missing"),
        ({"transport": "rtu"}, "serial is missing"),
        ({"transport": "rtu", "host": "a", "serial": {"port": "/dev/ttyS0"}}, "there is rtu-over-tcp"),
        ({"transport": "udp", "host": "a", "serial": {"port": "/dev/ttyS0"}}, "serial has no meaning for udp"),
        ({"transport": "rtu-over-tcp", "host": "a", "unit": 248}, "units 1 to 247, and 0 for all of them"),
        ({"host": "a", "tls": {}}, "need transport: tls"),
        ({"transport": "tls", "host": "a", "tls": {"ca_file": "nowhere.pem"}}, "there is no file"),
        ({"transport": "ascii", "serial": {"port": "/dev/ttyS0"}, "connections": 2}, "one connection"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address: dict[str, Any], message: str) -> None:
    properties = {"value": {"table": "holding", "address": 0, "type": "uint16"}}
    with pytest.raises(ValueError, match=message):
        ADAPTER.device.model_validate({"address": address, "properties": properties})


async def test_a_line_has_one_master(closing: list[Any]) -> None:
    server = make_server(Transport.RTU, 3)
    closing.append(server)
    address = AddressSettings.model_validate(await serve(Transport.RTU, server))
    node, tool = Link(address), Link(address)
    closing += [node, tool]
    cells = Cells(Table.HOLDING, 7, 1)
    assert await node.read(3, 1.0, cells) == bytes([0, 7])
    with pytest.raises(DeviceUnreachable, match="cannot be used: another program"):
        await tool.read(3, 1.0, cells)
    assert await node.read(3, 1.0, cells) == bytes([0, 7])
    node.close()
    again = Link(address)
    closing.append(again)
    assert await again.read(3, 1.0, cells) == bytes([0, 7])


async def test_a_line_that_is_not_there_is_unreachable() -> None:
    address = {"transport": "rtu", "serial": {"port": "/dev/no-such-line"}, "unit": 1}
    driver, _ = make_driver(make_adapter(), address, {"value": {"table": "holding", "address": 0, "type": "uint16"}})
    with pytest.raises(DeviceUnreachable, match="the serial line /dev/no-such-line cannot be used"):
        await driver.read()


async def test_a_reply_that_lay_unread_while_this_process_was_held_up_is_not_called_late(
    closing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libuv's loop does it: alarms first, then what can be read."""
    slow = Faults([Fault(FaultKind.DELAY, 1.0, 0.01)])
    server = make_server(Transport.TCP, 3, faults=slow)
    closing.append(server)
    link = Link(AddressSettings.model_validate(await serve(Transport.TCP, server)))
    closing.append(link)
    await link.read(3, 0.05, Cells(Table.INPUT, 0, 1))
    connection = link._connections._held[0]
    assert connection is not None

    reading = asyncio.ensure_future(link.read(3, 0.05, Cells(Table.INPUT, 5, 1)))
    await asyncio.sleep(0.001)
    loop = asyncio.get_running_loop()
    before = loop.time
    monkeypatch.setattr(loop, "time", lambda: before() + 0.15)
    connection._alarm.cancel()
    connection._give_up(0.05)
    assert await reading == bytes([0, 5])
