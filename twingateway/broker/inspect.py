"""What a client may send to an MQTT 3.1.1 broker, checked before the broker sees it. Sans-I/O.

Strategy: bytes in, whole packets out. A packet is refused from its fixed header where that suffices (type, flags,
length), so nothing large or senseless is ever buffered; its body is checked once it is complete.
Numbers in parentheses are sections of MQTT 3.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from twingateway.errors import ProtocolViolation

MAX_PACKET = 256 * 1024
#: Seconds that a client has for its CONNECT.
CONNECT_TIME = 10.0
#: A client may be silent for this many times its keep-alive (3.1.2.10).
KEEP_ALIVE_GRACE = 1.5

_PROTOCOL_NAME = b"\x00\x04MQTT"
_LEVEL = 4
_LEVEL_5 = 5
#: Set by bridges on the protocol level to tell what they are.
_BRIDGE_BIT = 0x80
_MAX_LENGTH_BYTES = 4
#: QoS 2 messages that a client may leave without their PUBREL; the broker holds each in memory.
MAX_UNRELEASED = 256

_REFUSE_LEVEL = b"\x20\x02\x00\x01"
_V5_REASON = b"this broker speaks MQTT 3.1.1; clients that need MQTT 5 need an external broker"
_V5_PROPERTIES = b"\x1f" + len(_V5_REASON).to_bytes(2, "big") + _V5_REASON
_REFUSE_LEVEL_5 = bytes((0x20, 3 + len(_V5_PROPERTIES), 0x00, 0x84, len(_V5_PROPERTIES))) + _V5_PROPERTIES


class PacketType(IntEnum):
    """What a client may send (2.2.1)."""

    CONNECT = 1
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    UNSUBSCRIBE = 10
    PINGREQ = 12
    DISCONNECT = 14


#: The fixed header's flags (2.2.2); those of PUBLISH vary.
_FLAGS: dict[PacketType, int] = {
    **dict.fromkeys(PacketType, 0),
    PacketType.PUBREL: 2,
    PacketType.SUBSCRIBE: 2,
    PacketType.UNSUBSCRIBE: 2,
}

#: The only remaining length a packet of this type has.
_LENGTH: dict[PacketType, int] = {
    PacketType.PUBACK: 2,
    PacketType.PUBREC: 2,
    PacketType.PUBREL: 2,
    PacketType.PUBCOMP: 2,
    PacketType.PINGREQ: 0,
    PacketType.DISCONNECT: 0,
}


class Refused(ProtocolViolation):
    """A CONNECT that gets an answer before the connection is closed: `reply` is the CONNACK to send."""

    def __init__(self, message: str, reply: bytes) -> None:
        super().__init__(message, reason_code=0x84)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Packet:
    """One checked packet: its bytes from fixed header to end."""

    type: PacketType
    data: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """What the guard must know of a CONNECT. `keep_alive` in seconds, 0: none."""

    client_id: str
    clean_session: bool
    keep_alive: int
    _flags_and_keep_alive: bytes
    _rest: bytes

    def packet(self, client_id: str) -> Packet:
        """The CONNECT as the broker shall see it: level 4 without the bridge bit, and this client id."""
        name = client_id.encode()
        body = b"".join(
            (
                _PROTOCOL_NAME,
                bytes((_LEVEL,)),
                self._flags_and_keep_alive,
                len(name).to_bytes(2, "big"),
                name,
                self._rest,
            )
        )
        return Packet(PacketType.CONNECT, b"\x10" + _encode_length(len(body)) + body)


class Inspector:
    """One client's side of one connection. Times are seconds of one monotonic clock."""

    def __init__(self, now: float, max_packet: int = MAX_PACKET) -> None:
        self.connect: Connect | None = None
        self._max_packet = max_packet
        self._buffer = bytearray()
        self._heard = now
        self._unreleased: set[bytes] = set()

    @property
    def deadline(self) -> float | None:
        """When the client has been silent for too long; None if it may be silent for ever."""
        if self.connect is None:
            return self._heard + CONNECT_TIME
        if self.connect.keep_alive == 0:
            return None
        return self._heard + KEEP_ALIVE_GRACE * self.connect.keep_alive

    def resumed(self, now: float) -> None:
        """The client was not read from until now, so it was not silent."""
        if self.connect is not None:
            self._heard = now

    def receive(self, data: bytes, now: float) -> Iterator[Packet]:
        """Bytes of any split → the packets they complete. Raises ProtocolViolation (Refused where the client is to
        get an answer) after the last good packet; nothing may be fed after that."""
        self._buffer += data
        start = 0
        try:
            while (header := self._header(start)) is not None:
                kind, body_start, end = header
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[body_start:end])
                self._check_body(kind, self._buffer[start] & 0x0F, body)
                packet = Packet(kind, bytes(self._buffer[start:end]))
                start = end
                self._heard = now
                yield packet
        finally:
            del self._buffer[:start]

    def _header(self, start: int) -> tuple[PacketType, int, int] | None:
        """Type, start and end of the body of the packet at `start`; None while its header is incomplete."""
        if start >= len(self._buffer):
            return None
        kind = self._kind(self._buffer[start])
        length = 0
        for index in range(_MAX_LENGTH_BYTES):
            position = start + 1 + index
            if position >= len(self._buffer):
                return None
            byte = self._buffer[position]
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                self._check_length(kind, length, 2 + index + length)
                return kind, position + 1, position + 1 + length
        raise ProtocolViolation("the remaining length has more than four bytes", reason_code=0x81)

    def _kind(self, first: int) -> PacketType:
        if self.connect is None and first != PacketType.CONNECT << 4:
            raise ProtocolViolation("the first packet is not a CONNECT: this is not an MQTT client")
        try:
            kind = PacketType(first >> 4)
        except ValueError:
            raise ProtocolViolation(f"clients do not send packets of type {first >> 4}") from None
        if self.connect is not None and kind is PacketType.CONNECT:
            raise ProtocolViolation("a second CONNECT")
        flags = first & 0x0F
        if kind is not PacketType.PUBLISH and flags != _FLAGS[kind]:
            raise ProtocolViolation(f"{kind.name} with flags {flags}", reason_code=0x81)
        if kind is PacketType.PUBLISH:
            _check_publish_flags(flags)
        return kind

    def _check_length(self, kind: PacketType, length: int, total: int) -> None:
        if total > self._max_packet:
            raise ProtocolViolation(
                f"{kind.name} of {total} bytes; at most {self._max_packet} are allowed", reason_code=0x95
            )
        if kind in _LENGTH and length != _LENGTH[kind]:
            raise ProtocolViolation(f"{kind.name} with a body of {length} bytes", reason_code=0x81)

    def _check_body(self, kind: PacketType, flags: int, body: bytes) -> None:
        if kind is PacketType.CONNECT:
            self.connect = _parse_connect(body)
        elif kind is PacketType.PUBLISH:
            packet_id = _parse_publish(body, flags)
            if flags & 0x04:
                self._unreleased.add(packet_id)
                if len(self._unreleased) > MAX_UNRELEASED:
                    raise ProtocolViolation("too many QoS 2 messages without PUBREL", reason_code=0x93)
        elif kind in _BODY:
            _BODY[kind](body)
            if kind is PacketType.PUBREL:
                self._unreleased.discard(body)


class _Body:
    """Reads fields from the front of a packet's body."""

    def __init__(self, body: bytes, kind: PacketType) -> None:
        self._body = body
        self._kind = kind
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._body) - self.position

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise ProtocolViolation(f"{self._kind.name} ends too early", reason_code=0x81)
        self.position += count
        return self._body[self.position - count : self.position]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        return self.take(self.integer(2))

    def text(self, what: str) -> str:
        """A string without U+0000 (1.5.3)."""
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError:
            raise ProtocolViolation(f"the {what} is not UTF-8", reason_code=0x81) from None
        if "\x00" in text:
            raise ProtocolViolation(f"the {what} holds U+0000", reason_code=0x81)
        return text

    def packet_id(self) -> None:
        if self.integer(2) == 0:
            raise ProtocolViolation(f"{self._kind.name} with packet identifier 0")

    def end(self) -> None:
        if self.left:
            raise ProtocolViolation(f"{self._kind.name} with {self.left} bytes too many", reason_code=0x81)


def _parse_connect(body: bytes) -> Connect:
    fields = _Body(body, PacketType.CONNECT)
    name = fields.text("protocol name")
    if name not in ("MQTT", "MQIsdp"):
        raise ProtocolViolation(f"unknown protocol {name[:16]!r}", reason_code=0x84)
    level = fields.integer(1) & ~_BRIDGE_BIT
    if level == _LEVEL_5:
        raise Refused(_V5_REASON.decode(), _REFUSE_LEVEL_5)
    if level != _LEVEL or name != "MQTT":
        raise Refused(f"protocol {name!r} level {level}; this broker speaks MQTT 3.1.1", _REFUSE_LEVEL)
    fixed = fields.take(3)
    flags, keep_alive = fixed[0], int.from_bytes(fixed[1:], "big")
    client_id = fields.text("client id")
    rest = fields.position
    _check_connect_flags(flags)
    if flags & 0x04:
        _check_topic(fields.text("will topic"), "will topic")
        fields.binary()
    if flags & 0x80:
        fields.text("user name")
    if flags & 0x40:
        fields.binary()
    fields.end()
    return Connect(client_id, bool(flags & 0x02), keep_alive, fixed, body[rest:])


def _check_connect_flags(flags: int) -> None:
    will = flags & 0x04
    will_qos = flags >> 3 & 0x03
    if flags & 0x01:
        raise ProtocolViolation("CONNECT with its reserved flag set", reason_code=0x81)
    if will_qos == 3 or (not will and flags & 0x38):
        raise ProtocolViolation("CONNECT with flags of a will that cannot be", reason_code=0x81)
    if flags & 0x40 and not flags & 0x80:
        raise ProtocolViolation("CONNECT with a password but no user name", reason_code=0x81)


def _check_publish_flags(flags: int) -> None:
    qos = flags >> 1 & 0x03
    if qos == 3:
        raise ProtocolViolation("PUBLISH with QoS 3", reason_code=0x81)
    if qos == 0 and flags & 0x08:
        raise ProtocolViolation("PUBLISH with QoS 0 and DUP", reason_code=0x81)


def _check_topic(topic: str, what: str) -> None:
    if not topic:
        raise ProtocolViolation(f"an empty {what}", reason_code=0x90)
    if "+" in topic or "#" in topic:
        raise ProtocolViolation(f"a {what} with a wildcard", reason_code=0x90)
    if topic.startswith("$"):
        raise ProtocolViolation(f"a {what} that begins with $ (those are the broker's)", reason_code=0x90)


def _parse_publish(body: bytes, flags: int) -> bytes:
    """The packet identifier as it stands there; empty with QoS 0."""
    fields = _Body(body, PacketType.PUBLISH)
    _check_topic(fields.text("topic"), "topic")
    if not flags & 0x06:
        return b""
    fields.packet_id()
    return body[fields.position - 2 : fields.position]


def _check_acknowledgement(body: bytes) -> None:
    _Body(body, PacketType.PUBACK).packet_id()


def _check_subscribe(body: bytes) -> None:
    fields = _filters(body, PacketType.SUBSCRIBE)
    while fields.left:
        _check_filter(fields)
        if fields.integer(1) > 2:
            raise ProtocolViolation("SUBSCRIBE with QoS 3", reason_code=0x81)


def _check_unsubscribe(body: bytes) -> None:
    fields = _filters(body, PacketType.UNSUBSCRIBE)
    while fields.left:
        _check_filter(fields)


def _filters(body: bytes, kind: PacketType) -> _Body:
    fields = _Body(body, kind)
    fields.packet_id()
    if not fields.left:
        raise ProtocolViolation(f"{kind.name} without a topic filter")
    return fields


def _check_filter(fields: _Body) -> None:
    if not fields.text("topic filter"):
        raise ProtocolViolation("an empty topic filter", reason_code=0x8F)


_BODY: dict[PacketType, Callable[[bytes], None]] = {
    PacketType.PUBACK: _check_acknowledgement,
    PacketType.PUBREC: _check_acknowledgement,
    PacketType.PUBREL: _check_acknowledgement,
    PacketType.PUBCOMP: _check_acknowledgement,
    PacketType.SUBSCRIBE: _check_subscribe,
    PacketType.UNSUBSCRIBE: _check_unsubscribe,
}


def _encode_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, low = divmod(length, 0x80)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes(encoded)
