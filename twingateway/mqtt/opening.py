"""A client's CONNECT, read only far enough to know who asks: one of our nodes, or any other MQTT client.

What another client sends is passed on as it came, so nothing of it is judged here but what must be known: its
protocol level (MQTT 3.1, 3.1.1 or 5), its name and its keep-alive.
"""

from __future__ import annotations

from dataclasses import dataclass

import mqtt5

from twingateway.errors import ProtocolViolation
from twingateway.mqtt import codec
from twingateway.mqtt.auth import METHOD
from twingateway.mqtt.capabilities import PROTOCOL
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.wellformed import malformed

_CONNECT = 0x10
#: Set by bridges on the protocol level to tell what they are.
_BRIDGE_BIT = 0x80
_LEVEL_5 = 5
#: The protocol's name and level as a CONNECT begins, each name with its length.
_OLDER: dict[bytes, tuple[int, ...]] = {b"\x00\x04MQTT": (4,), b"\x00\x06MQIsdp": (3,)}
_MQTT_5 = b"\x00\x04MQTT\x05"


@dataclass(frozen=True, slots=True)
class Opening:
    """`level` is 3, 4 or 5; `keep_alive` in seconds, 0 for none; `method` of authentication, as MQTT 5 has it."""

    level: int
    client_id: str
    keep_alive: int
    method: str | None = None
    is_node: bool = False


def read_opening(data: bytes | bytearray, max_packet: int) -> Opening | None:
    """What the packet at the beginning of `data` says; None while it is incomplete. Raises ProtocolViolation for
    anything but a CONNECT."""
    header = codec.header(data, max_packet)
    if header is None:
        return None
    if data[0] != _CONNECT:
        raise ProtocolViolation("the first packet is not a CONNECT", ReasonCode.PROTOCOL_ERROR)
    start, length = header
    if len(data) < length:
        return None
    packet = bytes(data[:length])
    return _newer(packet) if packet.startswith(_MQTT_5, start) else _older(packet, start)


def _newer(packet: bytes) -> Opening:
    connect = codec.decode_one(packet, len(packet))
    assert isinstance(connect, mqtt5.ConnectPacket)
    named = {name for name, _ in connect.user_properties}
    method = connect.authentication_method
    is_node = PROTOCOL in named or method == METHOD
    return Opening(_LEVEL_5, connect.client_id, connect.keep_alive, method, is_node)


def _older(packet: bytes, start: int) -> Opening:
    name = next((name for name in _OLDER if packet.startswith(name, start)), None)
    if name is None or len(packet) < start + len(name) + 6:
        raise malformed("a CONNECT of no MQTT that is known")
    at = start + len(name)
    level = packet[at] & ~_BRIDGE_BIT
    if level not in _OLDER[name]:
        message = f"MQTT of protocol level {level} is not known, only 3, 4 and 5 (3.1, 3.1.1 and 5)"
        raise ProtocolViolation(message, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    keep_alive, size = (int.from_bytes(packet[at + 2 + n : at + 4 + n], "big") for n in (0, 2))
    client_id = packet[at + 6 : at + 6 + size].decode("utf-8", "replace")
    return Opening(level, client_id, keep_alive)
