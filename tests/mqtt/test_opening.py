"""Who asks in: a node, or any other MQTT client, known from its CONNECT however that is cut."""

from __future__ import annotations

import mqtt5
import pytest

from tests.mqtt.peers import Hub, make_client
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.events import PlainClient
from twingateway.mqtt.opening import Opening

MQTT_3_1_1 = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"
BRIDGE = b"\x10\x0d\x00\x04MQTT\x84\x02\x00\x3c\x00\x01c"
MQTT_3_1 = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c"
MQTT_5 = mqtt5.ConnectPacket("c", keep_alive=60, username="u", user_properties=[("made-by", "me")]).write()
OWN_METHOD = mqtt5.ConnectPacket("c", keep_alive=60, authentication_method="SCRAM-SHA-1").write()
SUBSCRIBE = mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write()


@pytest.mark.parametrize(
    ("connect", "opening"),
    [
        (MQTT_3_1_1, Opening(4, "c", 60)),
        (BRIDGE, Opening(4, "c", 60)),
        (MQTT_3_1, Opening(3, "c", 60)),
        (MQTT_5, Opening(5, "c", 60)),
        (OWN_METHOD, Opening(5, "c", 60, "SCRAM-SHA-1")),
    ],
)
def test_a_plain_client_is_reported_with_all_it_sent_wherever_that_is_cut(connect: bytes, opening: Opening) -> None:
    data = connect + SUBSCRIBE
    for cut in range(1, len(data)):
        server = Hub().server()
        whole = cut >= len(connect)
        events = server.receive(0, data[:cut], 0.0)
        assert bool(events) is whole
        [event] = events or server.receive(0, data[cut:], 0.0)
        assert isinstance(event, PlainClient)
        assert (event.opening, event.received) == (opening, data[:cut] if whole else data)
        assert server.to_send() == []


def test_a_node_is_no_plain_client_wherever_its_connect_is_cut() -> None:
    client = make_client()
    client.start(0.0)
    [(_, data)] = client.to_send()
    for cut in range(1, len(data)):
        server = Hub().server()
        assert server.receive(0, data[:cut], 0.0) == []
        assert server.receive(0, data[cut:], 0.0) == []
        [(_, answer)] = server.to_send()
        assert [type(packet) for packet in PacketReader().feed(answer)] == [mqtt5.AuthPacket]


def test_other_streams_are_named() -> None:
    server = Hub().server()
    server.receive(4, SUBSCRIBE, 0.0)
    [event] = server.receive(0, MQTT_5, 0.0)
    assert isinstance(event, PlainClient)
    assert event.streams == {4}


def test_a_refusal_speaks_the_clients_own_version() -> None:
    server = Hub().server()
    server.receive(0, MQTT_5, 0.0)
    server.refuse(0x88, "no broker behind this node")
    [(_, data)] = server.to_send()
    [connack] = PacketReader().feed(data)
    assert isinstance(connack, mqtt5.ConnAckPacket)
    assert (int(connack.reason_code), connack.reason_str) == (0x88, "no broker behind this node")
    assert server.closed
    for connect in (MQTT_3_1_1, MQTT_3_1):
        for code, answer in ((0x88, 3), (0x87, 5), (0x84, 1), (0x80, 5)):
            server = Hub().server()
            server.receive(0, connect, 0.0)
            server.refuse(code, "why")
            assert server.to_send() == [(0, bytes((0x20, 2, 0, answer)))]


def test_nothing_of_a_plain_client_is_read_until_it_is_answered() -> None:
    server = Hub().server()
    server.receive(0, MQTT_3_1_1, 0.0)
    assert server.receive(0, b"\xff" * 100, 0.0) == []
    assert server.receive(4, b"\xff" * 100, 0.0) == []
    assert server.to_send() == []
