"""Durations, sizes, addresses and URLs as people write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from twingateway.adapter import Duration, parse_duration
from twingateway.config.types import HostPort, MqttUrl, ParentUrl, Url, parse_host_port, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("1.5h", 5400.0),
        ("5m", 300.0),
        ("2d", 172800.0),
        (" 1s ", 1.0),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations_are_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds
    assert TypeAdapter(Duration).validate_python(written) == seconds


@pytest.mark.parametrize("written", ["10", "s", "-1s", "1 s", "1e3s", "١s", -1, True, None, float("nan"), "10S", ""])
def test_what_is_no_duration_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match="500ms, 10s"):
        parse_duration(written)


@pytest.mark.parametrize(("written", "size"), [("64KiB", 65536), ("1 MiB", 2**20), ("512B", 512), (100, 100)])
def test_sizes_are_bytes(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["64", "64kb", "0B", 0, -1, True, 1.5, None, "1.5KiB"])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False),
        ("192.168.0.1:80", "192.168.0.1", 80, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False),
    ],
)
def test_addresses_know_whether_others_can_reach_them(written: str, host: str, port: int, loopback: bool) -> None:
    address = parse_host_port(written)
    assert (address, address.is_loopback, str(address)) == (HostPort(host, port), loopback, written)


@pytest.mark.parametrize("written", ["8080", ":8080", "host", "host:", "host:65536", "::1:80", "a b:1", 80, None])
def test_what_is_no_address_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        parse_host_port(written)


def test_urls_have_the_standard_port_unless_they_name_one() -> None:
    quic, mqtt = TypeAdapter(ParentUrl), TypeAdapter(MqttUrl)
    assert quic.validate_python("quic://cloud.example") == Url("quic", "cloud.example", 14567)
    assert quic.validate_python("quic://[::1]:9") == Url("quic", "::1", 9)
    assert str(quic.validate_python("quic://[::1]:9")) == "quic://[::1]:9"
    assert mqtt.validate_python("mqtt://10.0.0.1/") == Url("mqtt", "10.0.0.1", 1883)


@pytest.mark.parametrize(
    "written", ["https://a", "quic:a", "quic://", "quic://a:0", "quic://a:99999", "quic://u:p@a", "quic://a/path", 1]
)
def test_other_urls_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match="quic://host"):
        TypeAdapter(ParentUrl).validate_python(written)
