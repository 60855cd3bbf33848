"""Both real ends joined: from CONNECT to DISCONNECT, however the bytes are cut."""

from __future__ import annotations

import mqtt5
import pytest

from tests.mqtt.peers import Hub, NodeCredential, Pair, connect, make_client
from twingateway.errors import LinkError, TooLarge
from twingateway.mqtt.auth import Claim, Identity
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.events import Accepted, Closing, Connected, PeerDisconnected, Published, Refused
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC
from twingateway.mqtt.streams import STATE_STREAM


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50, 1 << 20])
def test_a_node_is_let_in_and_both_publish_on_both_streams(piece: int) -> None:
    pair = connect(Hub(), piece=piece)
    pair.client.publish(CONTROL_TOPIC, b"hello")
    pair.client.publish(STATE_TOPIC, b"state", STATE_STREAM)
    pair.server.publish(CONTROL_TOPIC, b"hello back")
    pair.server.publish(STATE_TOPIC, b"\xff" * 300, STATE_STREAM)
    pair.settle()
    accepted, *published = pair.at_server
    assert accepted == Accepted(
        Identity("default", "edge-1"),
        {"twingateway": "1", "node": "edge-1", "datagram": "1"},
        "edge-1",
        Claim("edge-1", NodeCredential().chain),
    )
    assert published == [Published(CONTROL_TOPIC, b"hello", 0), Published(STATE_TOPIC, b"state", STATE_STREAM)]
    connected, *published = pair.at_client
    assert isinstance(connected, Connected)
    assert connected.capabilities == {"twingateway": "1", "node": "hub", "datagram": "1"}
    assert len(connected.token or b"") == 32
    assert connected.token_lifetime == 3600
    assert published == [
        Published(CONTROL_TOPIC, b"hello back", 0),
        Published(STATE_TOPIC, b"\xff" * 300, STATE_STREAM),
    ]
    assert pair.client.open
    assert pair.server.open


def test_without_a_token_publishes_wait_for_connack_in_order() -> None:
    hub = Hub()
    pair = Pair(make_client(), hub.server())
    pair.client.publish(CONTROL_TOPIC, b"1")
    pair.client.start(0.0)
    pair.client.publish(CONTROL_TOPIC, b"2")
    [(stream, first)] = pair.client.to_send()
    assert [type(packet) for packet in PacketReader().feed(first)] == [mqtt5.ConnectPacket]
    pair.at_server += pair.server.receive(stream, first, 0.0)
    pair.settle()
    assert [event.payload for event in pair.at_server if isinstance(event, Published)] == [b"1", b"2"]


def test_data_stream_bytes_that_overtake_connect_and_connack_are_held() -> None:
    pair = connect(Hub())
    ahead = make_client()
    server = Hub().server()
    ahead.start(0.0)
    packet = mqtt5.PublishPacket(STATE_TOPIC, b"early bird").write()
    assert server.receive(STATE_STREAM, packet[:5], 0.0) == []
    assert server.receive(STATE_STREAM, packet[5:], 0.0) == []
    assert ahead.receive(STATE_STREAM, packet, 0.0) == []
    pair = Pair(ahead, server).settle()
    assert pair.at_server[1:] == [Published(STATE_TOPIC, b"early bird", STATE_STREAM)]
    assert pair.at_client[1:] == [Published(STATE_TOPIC, b"early bird", STATE_STREAM)]


def test_what_is_held_before_connect_is_bounded() -> None:
    server = Hub().server()
    events = []
    for _ in range(5):
        events += server.receive(STATE_STREAM, b"\x30" + bytes(65_535), 0.0)
    assert [(type(event), event.reason_code) for event in events] == [(Closing, 0x97)]


def test_client_says_goodbye_and_the_server_hears_why() -> None:
    pair = connect(Hub())
    pair.client.disconnect(0, "stopping")
    pair.client.publish(CONTROL_TOPIC, b"too late")
    pair.settle()
    assert pair.at_server[1:] == [PeerDisconnected(0, "stopping")]
    assert pair.server.closed
    assert pair.client.next_deadline() is None
    assert pair.server.receive(0, b"\xc0\x00", 1.0) == []


def test_server_says_goodbye_and_the_client_hears_why() -> None:
    pair = connect(Hub())
    pair.server.disconnect(0x8E, "a newer link took over")
    assert pair.settle().at_client[1:] == [PeerDisconnected(0x8E, "a newer link took over")]


def test_a_packet_larger_than_the_peer_accepts_is_not_sent() -> None:
    pair = connect(Hub(), server_options={"max_packet": 2000}, max_packet=1000)
    with pytest.raises(TooLarge):
        pair.client.publish(STATE_TOPIC, bytes(2000))
    with pytest.raises(TooLarge):
        pair.server.publish(STATE_TOPIC, bytes(1000))
    assert pair.settle().at_server[1:] == []


def test_the_server_publishes_nothing_before_it_knows_to_whom() -> None:
    with pytest.raises(LinkError):
        Hub().server().publish(STATE_TOPIC, b"secret")


def test_ping_is_answered_on_the_stream_it_came_on() -> None:
    pair = connect(Hub())
    for stream in (0, STATE_STREAM):
        assert pair.server.receive(stream, b"\xc0\x00", 1.0) == []
        assert pair.server.to_send() == [(stream, b"\xd0\x00")]


def test_a_broker_that_is_not_a_node_has_no_capabilities() -> None:
    client = make_client()
    client.start(0.0)
    client.to_send()
    connack = mqtt5.ConnAckPacket(server_keep_alive=4, user_properties=[("a", "1"), ("a", "2")]).write()
    assert client.receive(0, connack, 0.0) == [Connected({})]
    assert client.next_deadline() == 3.0


def test_a_refusal_is_told_with_its_reason() -> None:
    client = make_client()
    client.start(0.0)
    connack = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.SERVER_BUSY, reason_str="later").write()
    assert client.receive(0, connack, 0.0) == [Refused(0x89, "later")]
    assert client.closed


# --- keep-alive -----------------------------------------------------------------------------------------------


def test_client_pings_on_stream_0_however_busy_the_data_stream_is() -> None:
    pair = connect(Hub(), keep_alive=20)
    pings = []
    for second in range(1, 46):
        pair.client.publish(STATE_TOPIC, b"busy", STATE_STREAM)
        assert pair.client.timer(float(second)) == []
        pings += [second for stream, data in pair.client.to_send() if stream == 0 and b"\xc0\x00" in data]
        pair.client.heard(float(second))
    assert pings == [15, 30, 45]


def test_client_gives_up_after_one_and_a_half_keep_alives_of_silence() -> None:
    pair = connect(Hub(), keep_alive=20)
    assert pair.client.timer(29.9) == []
    [closing] = pair.client.timer(30.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x8D)
    assert pair.client.timer(60.0) == []


def test_server_gives_up_after_one_and_a_half_keep_alives_and_says_so() -> None:
    pair = connect(Hub(), keep_alive=20)
    assert pair.server.next_deadline() == 30.0
    assert pair.server.timer(29.9) == []
    [closing] = pair.server.timer(30.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x8D)
    assert isinstance(pair.settle().at_client[-1], PeerDisconnected)


def test_a_datagram_counts_as_life_on_both_sides() -> None:
    pair = connect(Hub(), keep_alive=20)
    pair.client.heard(25.0)
    pair.server.heard(25.0)
    assert pair.client.timer(31.0) == []
    assert pair.server.timer(31.0) == []
    assert pair.server.next_deadline() == 55.0


@pytest.mark.parametrize("stream", [0, STATE_STREAM])
def test_bytes_on_any_stream_count_as_life(stream: int) -> None:
    pair = connect(Hub(), keep_alive=20)
    pair.server.receive(stream, b"\xc0", 25.0)
    assert pair.server.next_deadline() == 55.0


def test_without_keep_alive_there_is_no_deadline() -> None:
    pair = connect(Hub(), keep_alive=0)
    assert pair.client.next_deadline() is None
    assert pair.server.next_deadline() is None
    assert pair.server.timer(1e6) == []


def test_a_link_on_which_nothing_is_said_ends_after_ten_seconds() -> None:
    server, client = Hub().server(), make_client()
    client.start(0.0)
    assert (server.next_deadline(), client.next_deadline()) == (10.0, 10.0)
    for end in (server, client):
        assert end.timer(9.9) == []
        [closing] = end.timer(10.0)
        assert isinstance(closing, Closing)
