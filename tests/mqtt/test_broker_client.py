"""Documents to a broker of somebody else's: the newest of each topic, never more on the way than it takes."""

from __future__ import annotations

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mqtt.peers import Hub
from twingateway.mqtt.broker_client import BrokerClient, Document, Ended, Event, NotTaken, Opened, TurnedAway
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.dialect import Account, Message, Will
from twingateway.mqtt.events import PlainClient

ACCOUNT = Account("edge", "user", "secret")
WILL = Will("nodes/default/edge", b"down")
LEVELS = pytest.mark.parametrize("level", [4, 5])


class Desk:
    """A client, what its topics say now, and the broker's side of the wire by hand."""

    def __init__(self, level: int = 5, **limits: object) -> None:
        self.level = level
        self.says: dict[str, bytes] = {}
        self.client = BrokerClient(level, ACCOUNT, WILL, ["a/+/set"], self._render, keep_alive=60, ping_every=20.0)
        self.client.start(0.0)
        self.connect = self.client.to_send()
        answer = mqtt5.ConnAckPacket(**limits).write() if level == 5 else b"\x20\x02\x00\x00"
        self.events = self.client.receive(answer, 0.0)
        self.subscribe = self.client.to_send()

    def _render(self, topic: str) -> Document | None:
        return Document(self.says[topic]) if topic in self.says else None

    def say(self, topic: str, payload: bytes) -> None:
        self.says[topic] = payload
        self.client.offer(topic)

    def sent(self) -> list[tuple[int, str, bytes]]:
        """(packet id, topic, payload) of all that may leave now."""
        while self.client.publish_next():
            pass
        return [published(packet, self.level) for packet in packets(self.client.to_send())]

    def take(self, packet_id: int, code: int = 0) -> list[Event]:
        acknowledgement = b"\x40\x02" + packet_id.to_bytes(2, "big")
        if code:
            reason = mqtt5.PubAckReasonCode(code)
            acknowledgement = mqtt5.PubAckPacket(packet_id, reason_code=reason).write()
        return self.client.receive(acknowledgement, 1.0)


def packets(data: bytes) -> list[bytes]:
    found = []
    while data:
        length, at = 0, 1
        while True:
            length |= (data[at] & 127) << 7 * (at - 1)
            at += 1
            if data[at - 1] < 128:
                break
        found.append(data[: at + length])
        data = data[at + length :]
    return found


def published(packet: bytes, level: int) -> tuple[int, str, bytes]:
    assert packet[0] == 0x33, "QoS 1, retained"
    body = packet[2:]
    size = int.from_bytes(body[:2], "big")
    rest = body[2 + size :]
    return int.from_bytes(rest[:2], "big"), body[2 : 2 + size].decode(), rest[3 if level == 5 else 2 :]


@LEVELS
def test_it_enters_with_name_password_and_last_will_and_subscribes(level: int) -> None:
    desk = Desk(level)
    assert desk.events == [Opened()]
    [asked] = Hub().server().receive(0, desk.connect, 0.0)
    assert isinstance(asked, PlainClient)
    assert (asked.opening.level, asked.opening.client_id, asked.opening.keep_alive) == (level, "edge", 60)
    for part in (b"user", b"secret", WILL.topic.encode(), WILL.payload):
        assert part in desk.connect
    assert b"a/+/set" in desk.subscribe
    if level == 5:
        [connect] = PacketReader().feed(desk.connect)
        assert isinstance(connect, mqtt5.ConnectPacket)
        assert (connect.clean_start, connect.username, connect.password) == (False, "user", b"secret")
        assert connect.will is not None
        assert (connect.will.topic, connect.will.payload, connect.will.retain) == (WILL.topic, WILL.payload, True)
        [subscribe] = PacketReader().feed(desk.subscribe)
        assert isinstance(subscribe, mqtt5.SubscribePacket)


def test_never_more_is_on_the_way_than_the_broker_takes() -> None:
    desk = Desk(receive_max=2)
    for number in range(5):
        desk.say(f"t{number}", b"x")
    first = desk.sent()
    assert [topic for _, topic, _ in first] == ["t0", "t1"]
    assert desk.sent() == []
    assert not desk.client.has_news
    desk.take(first[1][0])
    assert desk.client.has_news
    assert [topic for _, topic, _ in desk.sent()] == ["t2"]


@LEVELS
def test_what_waits_is_the_newest_and_waits_once(level: int) -> None:
    desk = Desk(level)
    desk.say("t", b"1")
    [(packet_id, _, payload)] = desk.sent()
    assert payload == b"1"
    for value in (b"2", b"3", b"4"):
        desk.say("t", value)
        assert desk.sent() == [], "it is on its way"
    desk.take(packet_id)
    [(packet_id, _, payload)] = desk.sent()
    assert payload == b"4"
    desk.take(packet_id)
    assert desk.sent() == []
    assert desk.client.idle


def test_a_topic_on_its_way_holds_up_no_other() -> None:
    desk = Desk()
    desk.say("a", b"1")
    desk.sent()
    desk.say("a", b"2")
    desk.say("b", b"1")
    assert [topic for _, topic, _ in desk.sent()] == ["b"]


def test_a_document_that_the_broker_will_not_have_is_told_and_its_next_one_tried() -> None:
    desk = Desk(max_packet_size=100)
    desk.say("big", b"x" * 200)
    desk.say("small", b"x")
    [(packet_id, topic, _)] = desk.sent()
    assert topic == "small"
    assert desk.take(packet_id, 0x97) == [NotTaken("big", 0x95), NotTaken("small", 0x97)]
    desk.say("small", b"y")
    assert [payload for _, _, payload in desk.sent()] == [b"y"]


def test_a_broker_without_qos_or_retain_gets_neither() -> None:
    desk = Desk(max_qos=mqtt5.QoS.AT_MOST_ONCE, retain_available=False)
    desk.say("t", b"1")
    assert desk.client.publish_next()
    [publish] = PacketReader().feed(desk.client.to_send())
    assert isinstance(publish, mqtt5.PublishPacket)
    assert (int(publish.qos), publish.retain, publish.payload) == (0, False, b"1")
    assert desk.client.idle


@LEVELS
def test_messages_are_the_same_however_they_are_cut_and_acknowledged_when_dealt_with(level: int) -> None:
    properties = b"\x00" if level == 5 else b""
    body = b"\x00\x07a/x/set\x00\x05" + properties + b"{}"
    data = bytes((0x32, len(body))) + body + bytes((0x30, len(body) - 2)) + body.replace(b"\x00\x05", b"")
    expected = [Message("a/x/set", b"{}", False, 5), Message("a/x/set", b"{}", False, None)]
    for cut in range(1, len(data)):
        client = Desk(level).client
        messages = client.receive(data[:cut], 1.0) + client.receive(data[cut:], 1.0)
        assert messages == expected
        assert client.to_send() == b""
        for message in expected:
            client.acknowledge(message)
        assert client.to_send() == b"\x40\x02\x00\x05"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"\x20\x02\x00\x01", 0x84),
        (b"\x20\x02\x00\x05", 0x87),
        (mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION).write(), 0x84),
        (mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD).write(), 0x86),
    ],
)
def test_a_refusal_has_one_code_whichever_version_it_is_told_in(answer: bytes, code: int) -> None:
    client = BrokerClient(5, ACCOUNT, WILL, ["a"], lambda topic: None, keep_alive=60, ping_every=20.0)
    client.start(0.0)
    [event] = client.receive(answer, 0.0)
    assert isinstance(event, TurnedAway)
    assert event.code == code


@LEVELS
def test_silence_is_asked_about_and_then_ends_it(level: int) -> None:
    client = Desk(level).client
    assert client.next_deadline() == 15.0
    assert client.timer(15.0) == []
    assert client.to_send() == b"\xc0\x00"
    client.receive(b"\xd0\x00", 16.0)
    assert client.timer(105.0) == []
    [event] = client.timer(106.0)
    assert isinstance(event, Ended)
    assert not client.open


@LEVELS
def test_leaving_says_what_the_last_will_would(level: int) -> None:
    client = Desk(level).client
    client.leave()
    publish, goodbye = packets(client.to_send())
    assert published(publish, level)[1:] == (WILL.topic, WILL.payload)
    assert goodbye == b"\xe0\x00"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([4, 5]), st.integers(1, 40))
def test_whatever_a_broker_says_is_survived_the_same_however_it_is_cut(data: bytes, level: int, piece: int) -> None:
    whole, cut = Desk(level).client, Desk(level).client
    at_once = whole.receive(data, 1.0)
    in_pieces: list[Event] = []
    for at in range(0, len(data), piece):
        in_pieces += cut.receive(data[at : at + piece], 1.0)
    assert in_pieces == at_once
