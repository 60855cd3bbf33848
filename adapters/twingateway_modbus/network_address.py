"""Network addresses between registers and text: EUI-48, IPv4 and IPv6. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from twingateway_modbus.layout import DataType
from twingateway_modbus.raw import CodecError

_EUI48 = re.compile(r"[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")


class AddressText(NamedTuple):
    """Both raise CodecError."""

    shown: Callable[[int], str]
    parsed: Callable[[str], int]


def _eui48_shown(raw: int) -> str:
    """The upper two of its eight bytes are zero."""
    if raw >> 48:
        raise CodecError(f"the device sent {raw:016x}, which is no EUI-48")
    return raw.to_bytes(6, "big").hex(":")


def _eui48_parsed(text: str) -> int:
    if not _EUI48.fullmatch(text):
        raise CodecError(f"{text!r} is not an EUI-48 such as 00:1b:c5:04:10:2f")
    return int(re.sub("[:-]", "", text), 16)


def _ipv4_parsed(text: str) -> int:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        raise CodecError(f"{text!r} is not an IPv4 address such as 10.0.0.5") from None


def _ipv6_parsed(text: str) -> int:
    try:
        return int(ipaddress.IPv6Address(text))
    except ValueError:
        raise CodecError(f"{text!r} is not an IPv6 address such as fe80::1") from None


ADDRESS_TEXTS: dict[DataType, AddressText] = {
    DataType.EUI48: AddressText(_eui48_shown, _eui48_parsed),
    DataType.IPV4: AddressText(lambda raw: str(ipaddress.IPv4Address(raw)), _ipv4_parsed),
    DataType.IPV6: AddressText(lambda raw: str(ipaddress.IPv6Address(raw)), _ipv6_parsed),
}
