"""What a peer must not do: the right reason code, one Closing event, and never an exception."""

from __future__ import annotations

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mqtt.peers import Hub, connect, make_client
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.events import Closing, Event
from twingateway.mqtt.streams import STATE_STREAM

CONNECT_AGAIN = mqtt5.ConnectPacket("edge-1", user_properties=[("twingateway", "1")]).write()
PUBLISH_QOS_3 = b"\x36\x06\x00\x01a\x00\x01\x00"
TOO_LARGE = b"\x30\xff\xff\xff\x7f"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (CONNECT_AGAIN, 0x82),
        (mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write(), 0x83),
        (mqtt5.UnsubscribePacket(1, ["a"]).write(), 0x83),
        (mqtt5.ConnAckPacket().write(), 0x82),
        (mqtt5.PubAckPacket(1).write(), 0x82),
        (mqtt5.PublishPacket("a", b"", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1).write(), 0x9B),
        (mqtt5.PublishPacket("a", b"", retain=True).write(), 0x9A),
        (PUBLISH_QOS_3, 0x81),
        (TOO_LARGE, 0x95),
        (b"GET / HTTP/1.1\r\n\r\n", 0x81),
        (b"\x30\x05\x00\x02\xc3\x28\x00", 0x81),
    ],
)
@pytest.mark.parametrize("stream", [0, STATE_STREAM])
def test_an_accepted_node_that_breaks_the_protocol_is_told_and_left(wrong: bytes, code: int, stream: int) -> None:
    pair = connect(Hub())
    good = mqtt5.PublishPacket("a", b"before").write()
    events = pair.server.receive(stream, good + wrong + good, 1.0)
    assert [type(event).__name__ for event in events] == ["Published", "Closing"]
    assert events[1].reason_code == code  # type: ignore[union-attr]
    [(control, data)] = pair.server.to_send()
    [farewell] = PacketReader().feed(data)
    assert control == 0
    assert isinstance(farewell, mqtt5.DisconnectPacket)
    assert int(farewell.reason_code) == code
    assert farewell.reason_str
    assert pair.server.receive(stream, good, 1.0) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (mqtt5.PingReqPacket().write(), 0x82),
        (mqtt5.PublishPacket("a", b"").write(), 0x82),
        (b"\x16\x03\x01\x02\x00", 0x81),
        (TOO_LARGE, 0x95),
        (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01c", 0x84),
        (b"\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c\x00\x01c", 0x81),
        (b"\x10\x08\x00\x04MQTT\x04\x02", 0x81),
    ],
)
def test_before_acceptance_the_answer_is_a_connack(wrong: bytes, code: int) -> None:
    server = Hub().server()
    [closing] = server.receive(0, wrong, 0.0)
    assert (type(closing), closing.reason_code) == (Closing, code)
    [(_, data)] = server.to_send()
    [connack] = PacketReader().feed(data)
    assert isinstance(connack, mqtt5.ConnAckPacket)
    assert int(connack.reason_code) == code


def test_a_second_connect_while_the_proof_is_awaited_is_a_protocol_error() -> None:
    server, client = Hub().server(), make_client()
    client.start(0.0)
    [(_, data)] = client.to_send()
    [closing] = server.receive(0, data * 2, 0.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x82)


def test_every_connack_has_a_property() -> None:
    """A known subscriber hangs for ever when there is none."""
    accepting, refusing, client = Hub().server(), Hub().server(), make_client()
    client.start(0.0)
    for _ in range(2):
        [(_, up)] = client.to_send()
        accepting.receive(0, up, 0.0)
        [(_, down)] = accepting.to_send()
        client.receive(0, down, 0.0)
    refusing.disconnect(0, "")
    [(_, refusal)] = refusing.to_send()
    header, length, flags, code, properties = refusal[:5]
    assert (header, length, flags) == (0x20, len(refusal) - 2, 0)
    assert code >= 0x80
    assert properties > 0
    assert client.open
    assert [type(packet) for packet in PacketReader().feed(down)] == [mqtt5.ConnAckPacket]
    assert b"twingateway" in down


def test_a_text_from_the_peer_cannot_break_the_farewell() -> None:
    server = Hub().server()
    server.receive(0, mqtt5.ConnectPacket("c").write(), 0.0)
    server.refuse(0x87, "\0" + "\ud800" + "x" * 100_000)
    [(_, data)] = server.to_send()
    assert len(data) < 1000
    assert PacketReader().feed(data)


# --- any bytes at all -----------------------------------------------------------------------------------------

PACKETS = [
    CONNECT_AGAIN,
    mqtt5.ConnectPacket("c", will=mqtt5.Will("t", payload=b"p"), username="u", password=b"p").write(),
    mqtt5.PublishPacket("a", b"x", content_type="text", user_properties=[("k", "v")]).write(),
    mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write(),
    mqtt5.AuthPacket(authentication_method="m", authentication_data=b"d").write(),
    mqtt5.DisconnectPacket(reason_str="why").write(),
    mqtt5.ConnAckPacket(reason_str="why").write(),
    mqtt5.PingReqPacket().write(),
]


@st.composite
def nearly_packets(draw: st.DrawFn) -> bytes:
    """Packets of which a few bytes are wrong."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(PACKETS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def closings(events: list[Event]) -> int:
    return sum(isinstance(event, Closing) for event in events)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), nearly_packets()), st.sampled_from([0, 4]), st.integers(1, 40))
def test_whatever_arrives_is_survived_the_same_however_it_is_cut(data: bytes, stream: int, piece: int) -> None:
    whole, cut = connect(Hub()), connect(Hub())
    for one, other in ((whole.server, cut.server), (whole.client, cut.client), (Hub().server(), Hub().server())):
        at_once = one.receive(stream, data, 1.0)
        in_pieces: list[Event] = []
        for at in range(0, len(data), piece):
            in_pieces += other.receive(stream, data[at : at + piece], 1.0)
        assert at_once == in_pieces
        assert closings(at_once) <= 1
        assert closings(at_once) == 0 or one.closed
        assert one.to_send() == other.to_send()
