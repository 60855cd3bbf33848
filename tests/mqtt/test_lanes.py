"""Frames in PUBLISH packets."""

from __future__ import annotations

import mqtt5
import pytest

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC, overhead, unwrap_datagram, wrap


@pytest.mark.parametrize("topic", [STATE_TOPIC, CONTROL_TOPIC])
@pytest.mark.parametrize("size", [0, 1, 100, 1150, 65_536])
def test_what_is_wrapped_is_unwrapped_within_the_stated_overhead(topic: str, size: int) -> None:
    data = wrap(topic, bytes(size))
    assert unwrap_datagram(data) == (topic, bytes(size))
    assert size < len(data) <= size + overhead(topic)


def test_the_overhead_is_exact_at_the_largest_payload() -> None:
    assert len(wrap(STATE_TOPIC, bytes(65_536))) == 65_536 + overhead(STATE_TOPIC)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        wrap(STATE_TOPIC, b"x")[:-1],
        wrap(STATE_TOPIC, b"x") + b"\x00",
        wrap(STATE_TOPIC, b"x") * 2,
        mqtt5.PingReqPacket().write(),
        mqtt5.PublishPacket(STATE_TOPIC, b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1).write(),
        mqtt5.PublishPacket("", b"x", topic_alias=1).write(),
    ],
)
def test_anything_but_one_publish_at_qos_0_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        unwrap_datagram(data)
