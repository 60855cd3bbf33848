"""The few MQTT 3.1.1 packets that a publisher and a subscriber at a broker of a contender need."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PUBLISH = 3


def _packet(first: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = size >> 7, size & 0x7F
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + body


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def connect(client: str) -> bytes:
    return _packet(0x10, _text("MQTT") + bytes([4, 2]) + struct.pack("!H", 0) + _text(client))


def subscribe(topic: str) -> bytes:
    """With QoS 0."""
    return _packet(0x82, struct.pack("!H", 1) + _text(topic) + b"\0")


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """With QoS 1."""
    return _packet(0x32, _text(topic) + struct.pack("!H", packet_id) + payload)


class Reader:
    """Splits a byte stream into the payloads of its PUBLISH packets (QoS 0) and skips everything else."""

    def __init__(self) -> None:
        self._buffer = b""

    def payloads(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        at = 0
        while (packet := self._packet_at(at)) is not None:
            first, start, at = packet
            if first >> 4 == _PUBLISH:
                (topic,) = struct.unpack_from("!H", self._buffer, start)
                yield self._buffer[start + 2 + topic : at]
        self._buffer = self._buffer[at:]

    def _packet_at(self, at: int) -> tuple[int, int, int] | None:
        """(first byte, where the body starts, where it ends), if all of it is there."""
        size = shift = 0
        for position in range(at + 1, min(at + 5, len(self._buffer))):
            digit = self._buffer[position]
            size |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                end = position + 1 + size
                return (self._buffer[at], position + 1, end) if end <= len(self._buffer) else None
        return None
