"""Checks of one whole packet that the `mqtt5` codec leaves out, made before the codec sees it.

The codec is fast but trusts text: a packet with bad UTF-8 makes it panic, and it lets pass U+0000, wildcards in topic
names, reserved CONNECT flags, packet identifier 0 and DUP on QoS 0. A packet's body is described as a sequence of
fields, a field as a function from the offset where it begins to the offset where it ends; `check` walks them. What
the codec does check (lengths, property sets, reason codes, enumerations) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.reasons import ReasonCode

Field = Callable[[bytes, int], int]

CONNECT = 1
PUBLISH = 3

_PROTOCOL_NAME = b"\x00\x04MQTT"
_PROTOCOL_LEVEL = 5
_RESERVED, _WILL, _PASSWORD, _USERNAME = 0x01, 0x04, 0x40, 0x80
_WILL_QOS_AND_RETAIN = 0x38


def malformed(message: str) -> ProtocolViolation:
    return ProtocolViolation(message, ReasonCode.MALFORMED_PACKET)


def check(frame: bytes, start: int) -> None:
    """Check one whole packet whose body begins at `start`; raises ProtocolViolation."""
    kind = frame[0] >> 4
    try:
        if kind == CONNECT:
            end = _connect(frame, start)
        elif kind == PUBLISH:
            end = _publish(frame, start)
        else:
            end = _walk(_LAYOUT[kind], frame, start)
    except IndexError:
        raise malformed("a packet ends inside a field") from None
    if end > len(frame):
        raise malformed("a packet ends inside a field")


# --- fields ---------------------------------------------------------------------------------------------------


def _skip(count: int) -> Field:
    def field(_: bytes, at: int) -> int:
        return at + count

    return field


def _binary(frame: bytes, at: int) -> int:
    return at + 2 + (frame[at] << 8 | frame[at + 1])


def _text(frame: bytes, at: int) -> int:
    end = _binary(frame, at)
    if end > len(frame):
        raise malformed("a packet ends inside a text")
    raw = frame[at + 2 : end]
    if 0 in raw:
        raise malformed("a text contains U+0000")
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            raise malformed("a text is not valid UTF-8") from None
    return end


def _text_pair(frame: bytes, at: int) -> int:
    return _text(frame, _text(frame, at))


def _packet_identifier(frame: bytes, at: int) -> int:
    if not (frame[at] or frame[at + 1]):
        raise ProtocolViolation("packet identifier 0", ReasonCode.PROTOCOL_ERROR)
    return at + 2


def _variable_integer(frame: bytes, at: int) -> int:
    for end in range(at, at + 4):
        if frame[end] < 0x80:
            return end + 1
    raise malformed("a variable byte integer is longer than four bytes")


def _topic_alias(_: bytes, __: int) -> int:
    raise ProtocolViolation("a topic alias, and none was allowed", ReasonCode.TOPIC_ALIAS_INVALID)


def _properties(frame: bytes, at: int) -> int:
    length = 0
    for shift in (0, 7, 14, 21):
        byte = frame[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise malformed("a property length is longer than four bytes")
    end = at + length
    while at < end:
        field = _PROPERTY.get(frame[at])
        if field is None:
            raise malformed(f"no property has the identifier 0x{frame[at]:02x}")
        at = field(frame, at + 1)
    if at != end:
        raise malformed("the properties are not as long as they say")
    return end


def _rest(frame: bytes, _: int) -> int:
    return len(frame)


def _optional(*fields: Field) -> Field:
    """Fields each of which may be left out together with all that follow it."""

    def field(frame: bytes, at: int) -> int:
        for inner in fields:
            if at == len(frame):
                break
            at = inner(frame, at)
        return at

    return field


def _repeated(*fields: Field) -> Field:
    def field(frame: bytes, at: int) -> int:
        while at < len(frame):
            at = _walk(fields, frame, at)
        return at

    return field


def _walk(fields: Iterable[Field], frame: bytes, at: int) -> int:
    for field in fields:
        at = field(frame, at)
    return at


# --- packets --------------------------------------------------------------------------------------------------

_BYTE, _TWO_BYTES, _FOUR_BYTES = _skip(1), _skip(2), _skip(4)

#: Property identifier → its type (MQTT 5, 2.2.2.2). Topic Alias is refused: we announce a Topic Alias Maximum of 0.
_PROPERTY: Mapping[int, Field] = {
    0x01: _BYTE,
    0x02: _FOUR_BYTES,
    0x03: _text,
    0x08: _text,
    0x09: _binary,
    0x0B: _variable_integer,
    0x11: _FOUR_BYTES,
    0x12: _text,
    0x13: _TWO_BYTES,
    0x15: _text,
    0x16: _binary,
    0x17: _BYTE,
    0x18: _FOUR_BYTES,
    0x19: _BYTE,
    0x1A: _text,
    0x1C: _text,
    0x1F: _text,
    0x21: _TWO_BYTES,
    0x22: _TWO_BYTES,
    0x23: _topic_alias,
    0x24: _BYTE,
    0x25: _BYTE,
    0x26: _text_pair,
    0x27: _FOUR_BYTES,
    0x28: _BYTE,
    0x29: _BYTE,
    0x2A: _BYTE,
}

_ACKNOWLEDGEMENT = (_packet_identifier, _optional(_BYTE, _properties))

_LAYOUT: Mapping[int, tuple[Field, ...]] = {
    2: (_TWO_BYTES, _properties),  # CONNACK
    4: _ACKNOWLEDGEMENT,  # PUBACK
    5: _ACKNOWLEDGEMENT,  # PUBREC
    6: _ACKNOWLEDGEMENT,  # PUBREL
    7: _ACKNOWLEDGEMENT,  # PUBCOMP
    8: (_packet_identifier, _properties, _repeated(_text, _BYTE)),  # SUBSCRIBE
    9: (_packet_identifier, _properties, _rest),  # SUBACK
    10: (_packet_identifier, _properties, _repeated(_text)),  # UNSUBSCRIBE
    11: (_packet_identifier, _properties, _rest),  # UNSUBACK
    12: (),  # PINGREQ
    13: (),  # PINGRESP
    14: (_optional(_BYTE, _properties),),  # DISCONNECT
    15: (_optional(_BYTE, _properties),),  # AUTH
}


def _connect(frame: bytes, at: int) -> int:
    level = at + len(_PROTOCOL_NAME)
    if frame[at:level] != _PROTOCOL_NAME or frame[level] != _PROTOCOL_LEVEL:
        raise ProtocolViolation("only MQTT 5 is spoken here", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    flags = frame[level + 1]
    if flags & _RESERVED:
        raise malformed("the reserved CONNECT flag is set")
    if flags & _WILL_QOS_AND_RETAIN and not flags & _WILL:
        raise malformed("will QoS or will retain without a will")
    fields: list[Field] = [_properties, _text]
    if flags & _WILL:
        fields += (_properties, _text, _binary)
    if flags & _USERNAME:
        fields.append(_text)
    if flags & _PASSWORD:
        fields.append(_binary)
    return _walk(fields, frame, level + 4)


def _publish(frame: bytes, at: int) -> int:
    end = _text(frame, at)
    topic = frame[at + 2 : end]
    if b"#" in topic or b"+" in topic:
        raise malformed("a topic name contains a wildcard")
    if frame[0] & 0x06:
        end = _packet_identifier(frame, end)
    return _properties(frame, end)
