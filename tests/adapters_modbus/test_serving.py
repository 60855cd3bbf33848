"""`twingateway modbus simulate`: a profile served over each transport, as a test vector says, with certificates."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.layout import DataType, Order
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind
from twingateway_modbus.tools.documents import read_any
from twingateway_modbus.tools.listening import Certificate, Listening
from twingateway_modbus.tools.once import point_of, read_once, write_once
from twingateway_modbus.tools.serving import Serving, parse_faults, parse_rights, serve_devices, transport_named

from tests.adapters_modbus.simulated import make_server
from tests.node.sites import free_port
from twingateway.errors import DeviceRefused, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable, InvalidConfig
from twingateway.pki.authority import create_authority, issue

PROFILE = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: meter}
spec:
  adapter: modbus
  base: 100
  properties:
    power: {table: input, address: 0, type: int32}
    setpoint: {table: holding, address: 2, type: int16, writable: true}
  tests:
  - name: at noon
    registers: {input: {0: "0000 04D2"}, holding: {2: "00D7"}}
    expect: {power: 1234}
  - name: recorded
    recording: noon.jsonl
    expect: {power: 1}
"""
POWER = point_of(Table.INPUT, 100, DataType.INT32, Order.ABCD, None, 0)
SETPOINT = point_of(Table.HOLDING, 102, DataType.INT16, Order.ABCD, None, 0)
AT_NOON = Serving(Listening(), range(3, 5), test="at noon")


def over(transport: Transport, **more: Any) -> Serving:
    return replace(AT_NOON, where=Listening(transport, **more))


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "meter.yaml").write_text(PROFILE)
    return tmp_path / "meter.yaml"


@asynccontextmanager
async def simulated(profile: Path, how: Serving, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[dict[str, Any]]:
    """The address that is printed."""
    serving = asyncio.ensure_future(serve_devices(profile, read_any(profile, {"host": "127.0.0.1"}), how))
    try:
        async with asyncio.timeout(5):
            while not (said := capsys.readouterr().out) and not serving.done():
                await asyncio.sleep(0.01)
        if serving.done():
            await serving
        where = said.splitlines()[0].split()[-1]
        address: dict[str, Any] = {"transport": how.where.transport, "unit": 3}
        if where.startswith("/dev/"):
            yield address | {"serial": {"port": where}}
        else:
            host, _, port = where.partition(":")
            yield address | {"host": host, "port": int(port)}
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


DEVICE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {{name: {name}}}
spec:
  adapter: modbus
  address: {address}
  properties: {{power: {{table: input, address: {at}, type: uint16}}}}
"""


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ({"host": "127.0.0.1", "port": 15020}, "127.0.0.1", 15020),
        ({"host": "::1", "port": 1024}, "::1", 1024),
        ({"host": "localhost", "port": 15020}, "localhost", 15020),
        ({"host": "10.0.0.5", "port": 15020}, "127.0.0.1", 15020),
        ({"host": "plc"}, "127.0.0.1", 5020),
        ({"host": "127.0.0.1", "port": 1023}, "127.0.0.1", 5020),
        ({"host": "127.0.0.1", "transport": "tls"}, "127.0.0.1", 5020),
    ],
)
def test_a_simulator_listens_where_the_document_looks_if_it_may(address: Any, host: str, port: int) -> None:
    where = Listening.of(AddressSettings.model_validate(address))
    assert (where.host, where.port, where.transport) == (host, port, address.get("transport", "tcp"))


def test_a_line_that_echoes_is_simulated_as_one() -> None:
    line = {"transport": "rtu", "serial": {"port": "/dev/ttyUSB0", "echo": True}}
    assert Listening.of(AddressSettings.model_validate(line)).echo


async def test_the_command_serves_what_a_document_names_where_it_names_it(tmp_path: Path) -> None:
    port = free_port()
    address = {"transport": "udp", "host": "127.0.0.1", "port": port, "unit": 7}
    (tmp_path / "meter.yaml").write_text(DEVICE.format(name="meter", address=address, at=4))
    command = [sys.executable, "-m", "twingateway", "modbus", "simulate", str(tmp_path / "meter.yaml"), "--still"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == f"1 unit on 127.0.0.1:{port}\n".encode()
        power = point_of(Table.INPUT, 4, DataType.UINT16, Order.ABCD, None, 0)
        assert [value for _, value in await read_once(AddressSettings.model_validate(address), [power])] == [0]
    finally:
        process.kill()
        said, _ = await process.communicate()
    assert said == b"", "there is nothing to be changed in the document"


async def test_a_document_that_looks_elsewhere_is_told_what_to_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far, farther = {"host": "10.0.0.5", "unit": 7}, {"host": "10.0.0.6", "unit": 7}
    devices = [("a", far, 4), ("b", far, 20), ("c", {**far, "unit": 8}, 4), ("d", farther, 4)]
    file = tmp_path / "meters.yaml"
    file.write_text("---\n".join(DEVICE.format(name=name, address=where, at=at) for name, where, at in devices))
    serving = asyncio.ensure_future(serve_devices(file, read_any(file, {}), Serving(still=True)))
    try:
        said = ""
        while not said.endswith("addresses\n"):
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
        first, second, third = said.splitlines()
        assert first.startswith("2 units on 127.0.0.1:")
        address = AddressSettings.model_validate(YAML(typ="safe").load("{" + second.partition("{")[2]))
        assert second.startswith("for a node to find it, the document's address has to be {")
        assert third == "not here: 1 of the file's 4 devices, which have other addresses"
        both = [point_of(Table.INPUT, at, DataType.UINT16, Order.ABCD, None, 0) for at in (4, 20)]
        assert [value for _, value in await read_once(address, both)] == [0, 0]
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("transport", [each for each in Transport if each is not Transport.TLS])
async def test_each_transport_serves_the_registers_of_a_test(
    profile: Path, transport: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    async with simulated(profile, over(transport), capsys) as found:
        address = AddressSettings.model_validate(found)
        assert [value for _, value in await read_once(address, [POWER, SETPOINT])] == [1234, 215]
        assert await write_once(address, SETPOINT, -3) == -3
        other = address.model_copy(update={"unit": 4})
        assert [value for _, value in await read_once(other, [SETPOINT])] == [215]


async def test_tls_asks_clients_for_their_certificate(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = create_authority(tmp_path / "pki")
    server = issue(tmp_path / "pki", "plc", hosts=["127.0.0.1"])
    client = issue(tmp_path / "pki", "gateway")
    shown = Certificate(server.certificate, server.key, authority.certificate)
    ours = {"certificate_file": str(client.certificate), "key_file": str(client.key)}
    async with simulated(profile, over(Transport.TLS, certificate=shown), capsys) as found:
        trusted = {"ca_file": str(authority.certificate)}
        known = AddressSettings.model_validate(found | {"tls": trusted | ours})
        assert [value for _, value in await read_once(known, [POWER])] == [1234]
        stranger = AddressSettings.model_validate(found | {"tls": trusted})
        with pytest.raises(DeviceUnreachable, match="may want to see a certificate_file of ours"):
            await read_once(stranger, [POWER])


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (over(Transport.TLS), "needs --certificate and --key"),
        (over(Transport.UDP, certificate=Certificate(Path("no.pem"), Path("no.key"))), "no meaning for udp"),
        (over(Transport.TLS, certificate=Certificate(Path("no.pem"), Path("no.key"))), "cannot be used"),
        (over(Transport.TCP, echo=True), "echo and baud are of a line"),
        (replace(AT_NOON, test="at night"), "no test 'at night' with registers; it has 'at noon', 'recorded'"),
        (replace(AT_NOON, test="recorded"), "no test 'recorded' with registers"),
        (replace(AT_NOON, rights=parse_rights(["viewer=read"])), "--role needs tls and --client-ca"),
        (replace(AT_NOON, faults=parse_faults(["noise@3=0.1"])), "noise is for lines"),
    ],
)
async def test_what_cannot_be_served_says_why(profile: Path, how: Serving, complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        await serve_devices(profile, read_any(profile, {"host": "127.0.0.1"}), how)


def test_a_transport_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="'morse' is not a transport: tcp, tls"):
        transport_named("morse")


async def test_a_line_of_a_speed_takes_its_time_and_a_short_timeout_does_not_cut_a_long_reply(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Request and reply take 21 ms at 9,600 baud, and 250 ms with 108 registers."""
    async with simulated(profile, over(Transport.RTU, baud=9600), capsys) as found:
        line = found["serial"] | {"baud": 9600}
        address = AddressSettings.model_validate(found | {"serial": line, "timeout": "150ms"})
        began = asyncio.get_running_loop().time()
        assert [value for _, value in await read_once(address, [POWER])] == [1234]
        assert asyncio.get_running_loop().time() - began >= (8 + 9) * 11 / 9600


OPERATORS = ["operator=all", "viewer=read", "setter=3-4, 6"]


@pytest.mark.parametrize(
    ("role", "may_read", "may_write"),
    [
        ("operator", True, True),
        ("viewer", True, False),
        ("setter", True, True),
        ("cleaner", False, False),
        (None, False, False),
    ],
)
async def test_a_role_decides_which_functions_a_client_may_use(
    profile: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    role: str | None,
    may_read: bool,
    may_write: bool,
) -> None:
    authority = create_authority(tmp_path / "pki")
    server = issue(tmp_path / "pki", "plc", hosts=["127.0.0.1"], device=True)
    client = issue(tmp_path / "pki", "gateway", role=role, device=True)
    how = over(Transport.TLS, certificate=Certificate(server.certificate, server.key, authority.certificate))
    async with simulated(profile, replace(how, rights=parse_rights(OPERATORS)), capsys) as found:
        tls = {"ca_file": authority.certificate, "certificate_file": client.certificate, "key_file": client.key}
        address = AddressSettings.model_validate(found | {"tls": tls})
        mine = "our certificate, which names none" if role is None else f"our certificate, '{role}'"
        if may_read:
            assert [value for _, value in await read_once(address, [SETPOINT])] == [215]
        else:
            with pytest.raises(DeviceRefused, match=rf"illegal function \(1\) reading .* role than that of {mine}"):
                await read_once(address, [SETPOINT])
        if may_write:
            assert await write_once(address, SETPOINT, -3) == -3
        else:
            with pytest.raises(DeviceRefused, match=rf"illegal function \(1\) writing .* role than that of {mine}"):
                await write_once(address, SETPOINT, -3)


@pytest.mark.parametrize("text", ["viewer", "=read", "viewer=look", "viewer=200", "viewer="])
def test_a_role_without_functions_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"write NAME=read, NAME=all or NAME=1-4,16"):
        parse_rights([text])


async def test_a_line_that_echoes_unexpectedly_is_recognised() -> None:
    server = make_server(Transport.RTU, 1)
    port = server.serve_pty(echo=True)
    address = AddressSettings.model_validate({"transport": "rtu", "serial": {"port": port}, "timeout": "300ms"})
    with pytest.raises(DeviceReplyInvalid, match="does the line echo"):
        await read_once(address, [point_of(Table.HOLDING, 0, DataType.UINT16, Order.ABCD, None, 0)])
    server.close()


@pytest.mark.parametrize(
    ("echoes", "complaint"),
    [(True, "did not answer within 0.5 s reading"), (False, "; not even the echo came that this line should give")],
)
async def test_the_echo_of_a_line_is_no_half_reply(echoes: bool, complaint: str) -> None:
    server = make_server(Transport.RTU)
    serial = {"port": server.serve_pty(echo=echoes), "echo": True}
    address = AddressSettings.model_validate({"transport": "rtu", "serial": serial, "timeout": "500ms"})
    with pytest.raises(DeviceTimeout, match=complaint):
        await read_once(address, [SETPOINT])
    server.close()


async def test_a_port_that_is_taken_is_named() -> None:
    server = make_server(Transport.TCP, 1)
    taken = await server.serve_tcp()
    with pytest.raises(InvalidConfig, match=rf"cannot listen on 127.0.0.1:{taken}: Address already in use"):
        await Listening(port=taken).begin(make_server(Transport.TCP, 1))
    server.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("silence", Fault(FaultKind.SILENCE)),
        ("drop=0.1", Fault(FaultKind.DROP, 0.1)),
        ("exception=0.5:6", Fault(FaultKind.EXCEPTION, 0.5, 6)),
        ("delay=1:0.5", Fault(FaultKind.DELAY, 1.0, 0.5)),
        ("delay=1:250ms", Fault(FaultKind.DELAY, 1.0, 0.25)),
    ],
)
def test_a_fault_is_a_kind_a_share_and_an_amount(text: str, fault: Fault) -> None:
    assert parse_faults([text])[None].faults == (fault,)


def test_faults_of_one_unit_are_its_own() -> None:
    found = parse_faults(["drop=0.1", "silence@3", "delay@3=0.5:1s", "noise=0.2"])
    assert {unit: faults.faults for unit, faults in found.items()} == {
        None: (Fault(FaultKind.DROP, 0.1), Fault(FaultKind.NOISE, 0.2)),
        3: (Fault(FaultKind.SILENCE), Fault(FaultKind.DELAY, 0.5, 1.0)),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sillence=1", "there is no fault 'sillence'; there are silence, delay, exception, "),
        ("exception=2", "2 is no share of the replies, 0 to 1; an amount follows a colon"),
        ("drop=often", "could not convert"),
        ("delay=1:soon", "not a duration"),
        ("silence@all", "'all' is no unit; write KIND@UNIT=SHARE:AMOUNT"),
    ],
)
def test_a_fault_that_is_none_is_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        parse_faults([text])
