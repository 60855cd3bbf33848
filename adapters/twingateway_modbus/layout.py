"""Types of values and how their bytes lie in registers. Pure.

A register is two bytes, most significant first. Every arrangement here is its own inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class DataType(StrEnum):
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    STRING = "string"
    BOOL = "bool"
    UNIX32 = "unix32"
    UNIX64 = "unix64"
    UNIX64_MS = "unix64ms"
    CP56 = "cp56time"
    CALENDAR = "calendar"
    EUI48 = "eui48"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Order(StrEnum):
    """How the bytes A (most significant) to D of a value lie on the wire; 64 bits by the same rule.

    The first letter pair is the first register: CDAB reverses the registers, BADC the bytes in each, DCBA both.
    """

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"


class Half(StrEnum):
    """One byte of a register."""

    HIGH = "high"
    LOW = "low"


#: Registers that one value takes; a string's length is its own.
REGISTERS: dict[DataType, int] = {
    DataType.INT32: 2,
    DataType.UINT32: 2,
    DataType.INT64: 4,
    DataType.UINT64: 4,
    DataType.FLOAT32: 2,
    DataType.FLOAT64: 4,
    DataType.BCD32: 2,
    DataType.BCD64: 4,
    DataType.UNIX32: 2,
    DataType.UNIX64: 4,
    DataType.UNIX64_MS: 4,
    DataType.CP56: 4,
    DataType.CALENDAR: 6,
    DataType.EUI48: 4,
    DataType.IPV4: 2,
    DataType.IPV6: 8,
}
BYTES = frozenset({DataType.INT8, DataType.UINT8})
SIGNED = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
UNSIGNED = frozenset({DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.UINT64})
FLOATS = frozenset({DataType.FLOAT16, DataType.FLOAT32, DataType.FLOAT64})
BCDS = frozenset({DataType.BCD16, DataType.BCD32, DataType.BCD64})
INTEGERS = SIGNED | UNSIGNED | BCDS
ADDRESSES = frozenset({DataType.EUI48, DataType.IPV4, DataType.IPV6})
TIMES = frozenset({DataType.UNIX32, DataType.UNIX64, DataType.UNIX64_MS, DataType.CP56, DataType.CALENDAR})


def registers_of(data_type: DataType, length: int = 0) -> int:
    """Registers one value takes; `length` is a string's."""
    return length if data_type is DataType.STRING else REGISTERS.get(data_type, 1)


def _as_they_are(data: bytes) -> bytes:
    return data


def _bytes_swapped(data: bytes) -> bytes:
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return bytes(swapped)


def _registers_reversed(data: bytes) -> bytes:
    return _bytes_swapped(data[::-1])


def _all_reversed(data: bytes) -> bytes:
    return data[::-1]


#: Order → bytes as they came ⇄ bytes with the most significant first.
ARRANGEMENTS: dict[Order, Callable[[bytes], bytes]] = {
    Order.ABCD: _as_they_are,
    Order.CDAB: _registers_reversed,
    Order.BADC: _bytes_swapped,
    Order.DCBA: _all_reversed,
}
