"""Endpoints as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.tools.target import address_of

from twingateway.errors import InvalidConfig


@pytest.mark.parametrize(
    ("target", "transport", "endpoint"),
    [
        ("10.0.0.5", Transport.TCP, "10.0.0.5:502"),
        ("plc:1502", Transport.TCP, "plc:1502"),
        ("udp://plc", Transport.UDP, "plc:502"),
        ("tls://plc", Transport.TLS, "plc:802"),
        ("rtu-over-tcp://gw:4001", Transport.RTU_OVER_TCP, "gw:4001"),
        ("/dev/ttyUSB0", Transport.RTU, "/dev/ttyUSB0"),
        ("ascii:///dev/ttyS1", Transport.ASCII, "/dev/ttyS1"),
    ],
)
def test_where_a_target_leads(target: str, transport: Transport, endpoint: str) -> None:
    address = address_of(target)
    assert (address.transport, address.endpoint) == (transport, endpoint)


def test_a_line_is_set_by_what_follows_its_name() -> None:
    serial = address_of("/dev/ttyUSB0?baud=9600&parity=none&stop_bits=1&echo=true", baud=19200).serial
    assert serial is not None
    assert (serial.baud, serial.parity, serial.stop_bits, serial.echo) == (9600, "none", 1, True)


def test_tls_is_set_by_what_follows_the_host(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    tls = address_of(f"tls://plc?ca_file={tmp_path / 'ca.pem'}&server_name=other").tls
    assert tls is not None
    assert (tls.ca_file, tls.server_name) == (tmp_path / "ca.pem", "other")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("plc:x", "Port could not be cast"),
        ("morse://plc", "transport: Input should be"),
        ("plc?server_name=other", "only a serial line and tls take settings behind a"),
        ("/dev/ttyUSB0?bard=9600", "bard: Extra inputs"),
        ("tls://plc?ca_file=no.pem", "there is no file"),
    ],
)
def test_what_leads_nowhere_says_why(target: str, complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        address_of(target)
