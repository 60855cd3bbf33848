"""Our frames inside MQTT: a PUBLISH at QoS 0 on a topic of ours, in a datagram or on a stream, without alias."""

from __future__ import annotations

import mqtt5

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.codec import decode_one
from twingateway.mqtt.reasons import ReasonCode

#: State frames (registers and their acknowledgements).
STATE_TOPIC = "$tg/s"
#: What goes ahead of the handshake.
EARLY_TOPIC = "$tg/e"
#: Control frames (hello, claims, resume).
CONTROL_TOPIC = "$tg/c"
#: Journal messages: the topic of each channel, `$tg/j/0` …
JOURNAL_TOPICS = tuple(f"$tg/j/{channel}" for channel in range(8))

#: Fixed header with a three-byte remaining length, topic length, empty property set.
_FIXED_OVERHEAD = 1 + 3 + 2 + 1


def wrap(topic: str, payload: bytes) -> bytes:
    """One PUBLISH at QoS 0."""
    return mqtt5.PublishPacket(topic, payload).write()


def unwrap_datagram(data: bytes) -> tuple[str, bytes]:
    """(topic, payload) of a datagram, which holds exactly one PUBLISH at QoS 0. Raises ProtocolViolation."""
    packet = decode_one(data)
    if not isinstance(packet, mqtt5.PublishPacket):
        raise ProtocolViolation("a datagram that is not a PUBLISH", ReasonCode.PROTOCOL_ERROR)
    if int(packet.qos):
        raise ProtocolViolation("a datagram above QoS 0", ReasonCode.QOS_NOT_SUPPORTED)
    return packet.topic, packet.payload


def overhead(topic: str) -> int:
    """Most bytes that `wrap` adds to a payload of up to 64 KiB on this topic."""
    return _FIXED_OVERHEAD + len(topic.encode())
