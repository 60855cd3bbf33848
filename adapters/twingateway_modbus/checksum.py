"""The check sums of serial Modbus. Pure."""

from __future__ import annotations

_POLYNOMIAL = 0xA001


def _row(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ _POLYNOMIAL if number & 1 else number >> 1
    return number


_TABLE = tuple(_row(number) for number in range(256))


def crc16(data: bytes) -> bytes:
    """RTU's two bytes, low one first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def lrc(data: bytes) -> bytes:
    """ASCII's one byte: with it the sum of all bytes is 0."""
    return bytes([-sum(data) & 0xFF])
