"""MQTT 3.1.1 and MQTT 5 as a client of any broker speaks them: packets to bytes, and bytes to packets alike for both.

To a broker only what either version can say is said, so one encoder serves both; MQTT 5 adds its properties. What
comes is read by the strict codec for MQTT 5, and here for 3.1.1. Reason codes are those of MQTT 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mqtt5

from twingateway.errors import ProtocolViolation
from twingateway.mqtt import codec
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.wellformed import malformed

MQTT_3_1_1, MQTT_5 = 4, 5

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

#: Seconds that an MQTT 5 broker keeps what is published for us while we are away, and those for which it holds back
#: our last will, so that a change of links is no death.
SESSION_KEPT = 86_400
WILL_DELAY = 10

_SESSION_EXPIRY, _WILL_DELAY_INTERVAL, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET = 0x11, 0x18, 0x21, 0x27
#: In SUBSCRIBE options of MQTT 5: send nothing that was retained before.
_NO_RETAINED = 0x20
#: Return code of a 3.1.1 CONNACK → reason code.
_RETURN_CODE: Mapping[int, int] = {
    0: ReasonCode.SUCCESS,
    1: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    3: ReasonCode.SERVER_UNAVAILABLE,
    4: ReasonCode.NOT_AUTHORIZED,
    5: ReasonCode.NOT_AUTHORIZED,
}


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are to a broker. `receive`: messages at QoS 1 that we take unacknowledged."""

    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    receive: int = 20


# --- what a broker says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """CONNACK. `receive_maximum`: messages at QoS 1 that it takes unacknowledged; `keep_alive`: None for ours."""

    code: int
    reason: str = ""
    receive_maximum: int = 65_535
    max_packet: int | None = None
    max_qos: int = 2
    retains: bool = True
    keep_alive: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """PUBLISH; `packet_id` is None at QoS 0."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """PUBACK."""

    packet_id: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK."""

    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """PINGRESP."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """DISCONNECT, of MQTT 5 only."""

    code: int
    reason: str = ""


Said = Answer | Message | Taken | Subscribed | Pong | Leaving


# --- what we say --------------------------------------------------------------------------------------------------


def connect(level: int, account: Account, keep_alive: int, will: Will, max_packet: int) -> bytes:
    """A session that goes on, so that what is published for us while we are away is not lost."""
    flags = 0x04 | 0x08 | 0x20  # a will, at QoS 1, retained
    parts = [_text(account.client_id)]
    if level == MQTT_5:
        parts.append(_properties(_integer(_WILL_DELAY_INTERVAL, WILL_DELAY, 4)))
    parts += [_text(will.topic), _binary(will.payload)]
    if account.username is not None:
        flags |= 0x80
        parts.append(_text(account.username))
    if account.password is not None:
        flags |= 0x40
        parts.append(_binary(account.password.encode()))
    head = [b"\x00\x04MQTT", bytes((level, flags)), keep_alive.to_bytes(2, "big")]
    if level == MQTT_5:
        limits = (
            _integer(_SESSION_EXPIRY, SESSION_KEPT, 4),
            _integer(_RECEIVE_MAXIMUM, account.receive, 2),
            _integer(_MAXIMUM_PACKET, max_packet, 4),
        )
        head.append(_properties(b"".join(limits)))
    return _packet(0x10, b"".join([*head, *parts]))


def publish(level: int, topic: str, payload: bytes, *, packet_id: int | None, retain: bool) -> bytes:
    """At QoS 1 with a `packet_id`, else at QoS 0."""
    identifier = b"" if packet_id is None else packet_id.to_bytes(2, "big")
    properties = b"\x00" if level == MQTT_5 else b""
    first = 0x30 | (0 if packet_id is None else 0x02) | (0x01 if retain else 0)
    return _packet(first, b"".join((_text(topic), identifier, properties, payload)))


def subscribe(level: int, packet_id: int, filters: Sequence[str]) -> bytes:
    """At QoS 1; nothing that was retained before, where that can be said."""
    properties, options = (b"\x00", 0x01 | _NO_RETAINED) if level == MQTT_5 else (b"", 0x01)
    wanted = (_text(each) + bytes((options,)) for each in filters)
    return _packet(0x82, packet_id.to_bytes(2, "big") + properties + b"".join(wanted))


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


# --- bytes to packets ---------------------------------------------------------------------------------------------


class Reader:
    """What a broker says on one byte stream, however it is cut. Raises ProtocolViolation, and is of no use then."""

    def __init__(self, level: int, max_packet: int) -> None:
        self._level = level
        self._max_packet = max_packet
        self._buffer = bytearray()

    def read(self, data: bytes) -> Iterator[Said]:
        self._buffer += data
        while (found := codec.header(self._buffer, self._max_packet)) is not None:
            start, length = found
            if len(self._buffer) < length:
                return
            packet = bytes(self._buffer[:length])
            del self._buffer[:length]
            older = self._level < MQTT_5 or (packet[0] == 0x20 and length == 4)  # who knows no 5 answers CONNECT so
            yield _read_older(packet, start) if older else _read_newer(packet)


def _read_newer(packet: bytes) -> Said:
    read = codec.decode_one(packet, len(packet))
    translate = _NEWER.get(type(read))
    if translate is None:
        raise ProtocolViolation(f"a broker sends no {type(read).__name__}", ReasonCode.PROTOCOL_ERROR)
    return translate(read)


def _answer(read: mqtt5.ConnAckPacket) -> Answer:
    return Answer(
        int(read.reason_code),
        read.reason_str or "",
        read.receive_max,
        read.max_packet_size,
        int(read.max_qos),
        read.retain_available,
        read.server_keep_alive,
    )


_NEWER: Mapping[type, Callable[[Any], Said]] = {
    mqtt5.ConnAckPacket: _answer,
    mqtt5.PublishPacket: lambda read: Message(read.topic, read.payload, read.retain, read.packet_id),
    mqtt5.PubAckPacket: lambda read: Taken(read.packet_id, int(read.reason_code)),
    mqtt5.SubAckPacket: lambda read: Subscribed(tuple(int(code) for code in read.reason_codes)),
    mqtt5.PingRespPacket: lambda read: Pong(),
    mqtt5.DisconnectPacket: lambda read: Leaving(int(read.reason_code), read.reason_str or ""),
}


def _read_older(packet: bytes, start: int) -> Said:
    translate = _OLDER.get(packet[0] >> 4)
    if translate is None:
        raise ProtocolViolation(f"a broker sends no packet of type {packet[0] >> 4}", ReasonCode.PROTOCOL_ERROR)
    try:
        return translate(packet[0], packet[start:])
    except (IndexError, UnicodeDecodeError):
        raise malformed("a packet that ends inside a field, or a text that is none") from None


def _older_publish(first: int, body: bytes) -> Message:
    size = 2 + (body[0] << 8 | body[1])
    topic, rest = body[2:size].decode(), body[size:]
    if len(body) < size:
        raise IndexError
    if not first & 0x06:
        return Message(topic, rest, bool(first & 1), None)
    return Message(topic, rest[2:], bool(first & 1), rest[0] << 8 | rest[1])


_OLDER: Mapping[int, Callable[[int, bytes], Said]] = {
    2: lambda _, body: Answer(_RETURN_CODE.get(body[1], ReasonCode.UNSPECIFIED_ERROR)),
    3: _older_publish,
    4: lambda _, body: Taken(body[0] << 8 | body[1]),
    9: lambda _, body: Subscribed(tuple(body[2:])),
    13: lambda _, body: Pong(),
}


# --- fields -------------------------------------------------------------------------------------------------------


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _integer(identifier: int, value: int, size: int) -> bytes:
    return bytes((identifier,)) + value.to_bytes(size, "big")


def _properties(encoded: bytes) -> bytes:
    return _length(len(encoded)) + encoded


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(size: int) -> bytes:
    encoded = bytearray()
    while True:
        size, low = divmod(size, 0x80)
        encoded.append(low | (0x80 if size else 0))
        if not size:
            return bytes(encoded)
