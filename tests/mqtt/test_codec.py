"""The strict reader: what the codec library lets pass or panics on is refused with the right reason code."""

from __future__ import annotations

import contextlib

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.codec import PacketReader, decode_one


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def connect(flags: int = 2, properties: bytes = b"", rest: bytes = b"\x00\x01c") -> bytes:
    return packet(
        0x10, b"\x00\x04MQTT\x05" + bytes([flags]) + b"\x00\x3c" + bytes([len(properties)]) + properties + rest
    )


WRONG = {
    "packet type 0": (b"\x00\x00", 0x81),
    "reserved flags of PINGREQ": (b"\xc1\x00", 0x81),
    "reserved flags of SUBSCRIBE": (packet(0x80, b"\x00\x01\x00\x00\x01a\x00"), 0x81),
    "QoS 3": (packet(0x36, b"\x00\x01a\x00\x01\x00"), 0x81),
    "DUP on QoS 0": (packet(0x38, b"\x00\x01a\x00"), 0x81),
    "remaining length of five bytes": (b"\x30\x80\x80\x80\x80\x01", 0x81),
    "remaining length longer than it need be": (b"\xc0\x80\x00", 0x81),
    "bad UTF-8 in a topic": (packet(0x30, b"\x00\x02\xff\xfe\x00"), 0x81),
    "surrogate in a topic": (packet(0x30, b"\x00\x03\xed\xa0\x80\x00"), 0x81),
    "U+0000 in a topic": (packet(0x30, b"\x00\x03a\x00b\x00"), 0x81),
    "wildcard # in a topic": (packet(0x30, b"\x00\x03a/#\x00"), 0x81),
    "wildcard + in a topic": (packet(0x30, b"\x00\x03+/a\x00"), 0x81),
    "empty topic": (packet(0x30, b"\x00\x00\x00"), 0x81),
    "topic longer than the packet": (packet(0x30, b"\x00\xffa"), 0x81),
    "PUBLISH without a body": (packet(0x30, b""), 0x81),
    "packet identifier 0": (packet(0x32, b"\x00\x01a\x00\x00\x00"), 0x82),
    "topic alias": (packet(0x30, b"\x00\x01a\x03\x23\x00\x01"), 0x94),
    "unknown property": (packet(0x30, b"\x00\x01a\x02\x7f\x00"), 0x81),
    "property of another packet": (packet(0x30, b"\x00\x01a\x03\x21\x00\x05"), 0x81),
    "property given twice": (packet(0x30, b"\x00\x01a\x04\x01\x00\x01\x00"), 0x81),
    "property length of five bytes": (packet(0x30, b"\x00\x01a\xff\xff\xff\xff\x01"), 0x81),
    "bad UTF-8 in a user property": (packet(0x30, b"\x00\x01a\x07\x26\x00\x01\xff\x00\x01x"), 0x81),
    "bad UTF-8 in a client identifier": (connect(rest=b"\x00\x01\xff"), 0x81),
    "bad UTF-8 in a will topic": (connect(flags=6, rest=b"\x00\x01c\x00\x00\x01\xff\x00\x00"), 0x81),
    "bad UTF-8 in a user name": (connect(flags=0x82, rest=b"\x00\x01c\x00\x01\xff"), 0x81),
    "bad UTF-8 in a topic filter": (packet(0x82, b"\x00\x01\x00\x00\x01\xff\x00"), 0x81),
    "bad UTF-8 in a reason string": (packet(0xE0, b"\x00\x04\x1f\x00\x01\xff"), 0x81),
    "reserved CONNECT flag": (connect(flags=3), 0x81),
    "will QoS without a will": (connect(flags=0x0A), 0x81),
    "will retain without a will": (connect(flags=0x22), 0x81),
    "bytes behind CONNECT's fields": (connect(rest=b"\x00\x01czz"), 0x81),
    "unknown reason code": (b"\xe0\x01\x77", 0x81),
    "another protocol's name": (packet(0x10, b"\x00\x04MQTX\x05\x02\x00\x3c\x00\x00\x01c"), 0x84),
    "MQTT 3.1.1": (packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"), 0x84),
}


@pytest.mark.parametrize(("data", "code"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_packet_is_refused(data: bytes, code: int) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        PacketReader().feed(data)
    assert caught.value.reason_code == code


def test_a_wrong_fixed_header_is_refused_before_the_body_arrives() -> None:
    for data, code in ((b"\x36", 0x81), (b"GE", 0x81), (b"\x30\xff\xff\xff\x7f", 0x95)):
        with pytest.raises(ProtocolViolation) as caught:
            PacketReader().feed(data)
        assert caught.value.reason_code == code


def test_the_largest_packet_passes_and_one_byte_more_does_not() -> None:
    data = mqtt5.PublishPacket("a", bytes(500)).write()
    assert len(PacketReader(len(data)).feed(data)) == 1
    with pytest.raises(ProtocolViolation):
        PacketReader(len(data) - 1).feed(data[:3])


def test_packets_before_a_violation_are_seen_first() -> None:
    packets = PacketReader().read(b"\xc0\x00\xd0\x00\x00")
    assert [type(next(packets)), type(next(packets))] == [mqtt5.PingReqPacket, mqtt5.PingRespPacket]
    with pytest.raises(ProtocolViolation):
        next(packets)


def test_exactly_one_packet() -> None:
    assert isinstance(decode_one(b"\xc0\x00"), mqtt5.PingReqPacket)
    for data in (b"", b"\xc0", b"\xc0\x00\xc0\x00", b"\xc0\x00\xc0"):
        with pytest.raises(ProtocolViolation):
            decode_one(data)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0#+"), min_size=1, max_size=20)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
VALID = st.one_of(
    st.builds(
        mqtt5.PublishPacket,
        TEXT,
        st.binary(max_size=300),
        content_type=st.none() | TEXT,
        correlation_data=st.none() | st.binary(max_size=9),
        message_expiry_interval=st.none() | st.integers(0, 2**32 - 1),
        subscription_ids=st.lists(st.integers(1, 268_435_455), max_size=2),
        user_properties=PAIRS,
    ),
    st.builds(
        mqtt5.ConnectPacket,
        TEXT,
        username=st.none() | TEXT,
        password=st.none() | st.binary(max_size=9),
        will=st.none() | st.builds(mqtt5.Will, TEXT, payload=st.binary(max_size=9), user_properties=PAIRS),
        authentication_method=TEXT,
        authentication_data=st.none() | st.binary(max_size=300),
        user_properties=PAIRS,
    ),
    st.builds(mqtt5.ConnAckPacket, reason_str=st.none() | TEXT, assigned_client_id=TEXT, user_properties=PAIRS),
    st.builds(mqtt5.PubAckPacket, st.integers(1, 65535), reason_str=st.none() | TEXT),
    st.builds(mqtt5.PubRelPacket, st.integers(1, 65535)),
    st.builds(
        mqtt5.SubscribePacket,
        st.integers(1, 65535),
        st.lists(st.builds(mqtt5.TopicFilter, TEXT), min_size=1, max_size=3),
        subscription_id=st.none() | st.integers(1, 9),
    ),
    st.builds(
        mqtt5.SubAckPacket,
        st.integers(1, 65535),
        st.lists(st.sampled_from([mqtt5.SubAckReasonCode(code) for code in (0, 1, 0x80, 0x87)]), min_size=1),
    ),
    st.builds(mqtt5.UnsubscribePacket, st.integers(1, 65535), st.lists(TEXT, min_size=1, max_size=3)),
    st.builds(mqtt5.DisconnectPacket, reason_str=st.none() | TEXT, server_reference=st.none() | TEXT),
    st.builds(mqtt5.AuthPacket, authentication_method=TEXT, authentication_data=st.binary(max_size=99)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALID, max_size=4), st.integers(1, 50))
def test_every_valid_packet_passes_however_it_is_cut(packets: list[mqtt5.PublishPacket], piece: int) -> None:
    data = b"".join(packet.write() for packet in packets)
    reader = PacketReader()
    read = [packet for at in range(0, len(data), piece) for packet in reader.feed(data[at : at + piece])]
    assert b"".join(packet.write() for packet in read) == data


@settings(max_examples=200, deadline=None)
@given(VALID, st.data())
def test_a_damaged_packet_raises_nothing_but_a_violation(packet: mqtt5.PublishPacket, data: st.DataObject) -> None:
    damaged = bytearray(packet.write())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolViolation):
        PacketReader().feed(bytes(damaged))
