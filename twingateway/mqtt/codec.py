"""Bytes → MQTT 5 packets, strictly; and the few packets that both ends write alike.

Rule: whatever a peer sends, nothing but ProtocolViolation leaves this module. The fixed header is judged as soon as
it is there, so a wrong or oversized packet is refused before it is collected; a whole packet first passes
`wellformed`, then the `mqtt5` codec, whose every exception (and Rust panic) is translated here.

The codec's enumerations are no IntEnum, whatever its stub says: even the one that equals 0 is true, and equal ones
need not be identical. Everywhere in this package they are compared as `int(…)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import TypeVar

import mqtt5
from mqtt5 import Packet

from twingateway.errors import ProtocolViolation
from twingateway.mqtt import wellformed
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.wellformed import malformed

#: Largest packet accepted unless told otherwise, in bytes, headers included.
MAX_PACKET = 256 * 1024

#: Longest reason string sent, in characters; keeps a CONNACK or DISCONNECT within any peer's packet limit.
MAX_REASON = 400

_ZERO, _TWO = frozenset({0}), frozenset({2})

#: Packet type → the flags its first byte may carry. PUBLISH: no QoS 3, DUP only above QoS 0.
_FLAGS: Mapping[int, frozenset[int]] = {
    1: _ZERO,
    2: _ZERO,
    3: frozenset({0, 1, 2, 3, 4, 5, 10, 11, 12, 13}),
    4: _ZERO,
    5: _ZERO,
    6: _TWO,
    7: _ZERO,
    8: _TWO,
    9: _ZERO,
    10: _TWO,
    11: _ZERO,
    12: _ZERO,
    13: _ZERO,
    14: _ZERO,
    15: _ZERO,
}

#: Reason code → return code of a 3.1.1 CONNACK.
_NOT_AUTHORIZED = 5
_OLDER_CODE: Mapping[int, int] = {
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: 1,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: 2,
    ReasonCode.SERVER_UNAVAILABLE: 3,
    ReasonCode.QUOTA_EXCEEDED: 3,
}

_Code = TypeVar("_Code", bound=IntEnum)


class PacketReader:
    """The packets of one byte stream, however it is cut. After a violation the reader is of no further use."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        self._max_packet = max_packet
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Every packet that `data` completes. Raises ProtocolViolation."""
        return list(self.read(data))

    def read(self, data: bytes) -> Iterator[Packet]:
        """Like `feed`, one packet at a time: those before a violation are seen before it is raised."""
        self._buffer += data
        while (found := header(self._buffer, self._max_packet)) is not None:
            start, length = found
            if len(self._buffer) < length:
                return
            frame = bytes(self._buffer[:length])
            del self._buffer[:length]
            yield _decode(frame, start)


def decode_one(data: bytes, max_packet: int = MAX_PACKET) -> Packet:
    """Exactly one packet and nothing else. Raises ProtocolViolation."""
    found = header(data, max_packet)
    if found is None or found[1] != len(data):
        raise malformed("not exactly one packet")
    return _decode(data, found[0])


def connack_refusal(code: int, reason: str) -> bytes:
    """A CONNACK that says no. It always has a reason string: some clients hang on an empty property set."""
    failure = max(code, ReasonCode.UNSPECIFIED_ERROR)
    reason_code = _code_or(mqtt5.ConnAckReasonCode, failure, mqtt5.ConnAckReasonCode.UNSPECIFIED_ERROR)
    return mqtt5.ConnAckPacket(reason_code=reason_code, reason_str=_reason_string(reason) or "refused").write()


def connack_refusal_older(code: int) -> bytes:
    """The same for a client that speaks MQTT 3.1 or 3.1.1, whose return codes are few (3.1.1, 3.2.2.3)."""
    return bytes((0x20, 2, 0, _OLDER_CODE.get(code, _NOT_AUTHORIZED)))


def disconnect(code: int, reason: str) -> bytes:
    """A DISCONNECT."""
    reason_code = _code_or(mqtt5.DisconnectReasonCode, code, mqtt5.DisconnectReasonCode.UNSPECIFIED_ERROR)
    return mqtt5.DisconnectPacket(reason_code=reason_code, reason_str=_reason_string(reason)).write()


def header(data: bytes | bytearray, max_packet: int) -> tuple[int, int] | None:
    """(where the body begins, length of the whole packet), or None while the fixed header is incomplete. Raises
    ProtocolViolation."""
    if not data:
        return None
    kind, flags = data[0] >> 4, data[0] & 0x0F
    if flags not in _FLAGS.get(kind, ()):
        raise malformed(f"no packet begins with 0x{data[0]:02x}")
    remaining = 0
    for index, byte in enumerate(data[1:5]):
        remaining |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            start = index + 2
            if start + remaining > max_packet:
                raise ProtocolViolation(
                    f"a packet of {start + remaining} bytes; at most {max_packet} are accepted",
                    ReasonCode.PACKET_TOO_LARGE,
                )
            return start, start + remaining
    if len(data) >= 5:
        raise malformed("a remaining length is longer than four bytes")
    return None


def _decode(frame: bytes, start: int) -> Packet:
    wellformed.check(frame, start)
    try:
        packet, used = mqtt5.read(memoryview(frame))
    except Exception as error:
        raise malformed(f"not a valid packet: {error}") from error
    except BaseException as error:
        # A Rust panic is not an Exception, and its class cannot be imported.
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise malformed("not a valid packet") from error
    if used != len(frame):
        raise malformed("a packet is not as long as it says")
    return packet


def _code_or(codes: type[_Code], code: int, otherwise: _Code) -> _Code:
    try:
        return codes(code)
    except ValueError:
        return otherwise


def _reason_string(text: str) -> str | None:
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return clean[:MAX_REASON] or None
