"""`twingateway modbus simulate`: a profile served over each transport, as a test vector says, with certificates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.layout import DataType, Order
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.tools.once import point_of, read_once, write_once
from twingateway_modbus.tools.serving import Certificate, Serving, parse_faults, serve_profile

from tests.adapters_modbus.simulated import make_server
from twingateway.errors import DeviceReplyInvalid, DeviceUnreachable, InvalidConfig
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
AT_NOON = Serving("tcp", 0, range(3, 5), Faults(), test="at noon")


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "meter.yaml").write_text(PROFILE)
    return tmp_path / "meter.yaml"


@asynccontextmanager
async def simulated(profile: Path, how: Serving, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[dict[str, Any]]:
    """The address that is printed."""
    serving = asyncio.ensure_future(serve_profile(profile, how))
    try:
        async with asyncio.timeout(5):
            while not (said := capsys.readouterr().out) and not serving.done():
                await asyncio.sleep(0.01)
        if serving.done():
            await serving
        where = said.split()[-1]
        address: dict[str, Any] = {"transport": how.transport, "unit": how.units[0]}
        if where.startswith("/dev/"):
            yield address | {"serial": {"port": where}}
        else:
            host, _, port = where.partition(":")
            yield address | {"host": host, "port": int(port)}
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("transport", [each for each in Transport if each is not Transport.TLS])
async def test_each_transport_serves_the_registers_of_a_test(
    profile: Path, transport: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    async with simulated(profile, replace(AT_NOON, transport=str(transport)), capsys) as found:
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
    async with simulated(profile, replace(AT_NOON, transport="tls", certificate=shown), capsys) as found:
        trusted = {"ca_file": str(authority.certificate)}
        known = AddressSettings.model_validate(found | {"tls": trusted | ours})
        assert [value for _, value in await read_once(known, [POWER])] == [1234]
        stranger = AddressSettings.model_validate(found | {"tls": trusted})
        with pytest.raises(DeviceUnreachable):
            await read_once(stranger, [POWER])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"transport": "tls"}, "needs --certificate and --key"),
        ({"transport": "morse"}, "is not a transport"),
        ({"test": "at night"}, "no test 'at night' with registers; it has 'at noon', 'recorded'"),
        ({"test": "recorded"}, "no test 'recorded' with registers"),
        ({"transport": "tls", "certificate": Certificate(Path("no.pem"), Path("no.key"))}, "cannot be used"),
    ],
)
async def test_what_cannot_be_served_says_why(profile: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        await serve_profile(profile, replace(AT_NOON, **change))


async def test_a_line_that_echoes_unexpectedly_is_recognised() -> None:
    server = make_server(Transport.RTU, 1)
    port = server.serve_pty(echo=True)
    address = AddressSettings.model_validate({"transport": "rtu", "serial": {"port": port}, "timeout": "300ms"})
    with pytest.raises(DeviceReplyInvalid, match="does the line echo"):
        await read_once(address, [point_of(Table.HOLDING, 0, DataType.UINT16, Order.ABCD, None, 0)])
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
    assert parse_faults([text]).faults == (fault,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sillence=1", "there is no fault 'sillence'; there are silence, delay, exception, "),
        ("exception=2", "2 is no share of the replies, 0 to 1; an amount follows a colon"),
        ("drop=often", "could not convert"),
        ("delay=1:soon", "not a duration"),
    ],
)
def test_a_fault_that_is_none_is_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        parse_faults([text])
