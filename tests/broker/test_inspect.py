"""The inspector: what passes, what is refused, and how little it needs to refuse it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.broker.inspect import CONNECT_TIME, MAX_PACKET, Inspector, Packet, PacketType, Refused
from twingateway.errors import ProtocolViolation


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def packet(first: int, body: bytes = b"") -> bytes:
    length = bytearray()
    rest = len(body)
    while True:
        rest, low = divmod(rest, 128)
        length.append(low | (128 if rest else 0))
        if not rest:
            return bytes((first,)) + bytes(length) + body


def connect(
    client_id: bytes = b"c",
    level: int = 4,
    flags: int = 2,
    keep_alive: int = 60,
    tail: bytes = b"",
    name: bytes = b"MQTT",
) -> bytes:
    return packet(0x10, text(name) + bytes((level, flags)) + keep_alive.to_bytes(2, "big") + text(client_id) + tail)


def connected(keep_alive: int = 60) -> Inspector:
    inspector = Inspector(0.0)
    list(inspector.receive(connect(keep_alive=keep_alive), 0.0))
    return inspector


CONNECT = connect()
GOOD = {
    "publish qos 0": packet(0x30, text(b"a/b") + b"1"),
    "publish qos 1": packet(0x33, text("größe".encode()) + b"\x00\x01" + b"{}"),
    "publish of nothing": packet(0x31, text(b"a")),
    "puback": packet(0x40, b"\x00\x01"),
    "pubrel": packet(0x62, b"\x00\x01"),
    "subscribe": packet(0x82, b"\x00\x01" + text(b"a/#") + b"\x01" + text(b"+") + b"\x00"),
    "unsubscribe": packet(0xA2, b"\x00\x01" + text(b"a/#")),
    "pingreq": packet(0xC0),
    "disconnect": packet(0xE0),
}
BAD = {
    "random bytes": b"\x9f\x13\x01\xfe\x00",
    "qos 3": packet(0x36, text(b"a") + b"\x00\x01"),
    "dup with qos 0": packet(0x38, text(b"a")),
    "wildcard +": packet(0x30, text(b"a/+/b")),
    "wildcard #": packet(0x30, text(b"#")),
    "empty topic": packet(0x30, text(b"")),
    "topic of the broker": packet(0x30, text(b"$SYS/x")),
    "bad utf-8": packet(0x30, text(b"a\xff\xfe")),
    "surrogate": packet(0x30, text(b"\xed\xa0\x80")),
    "u+0000": packet(0x30, text(b"a\x00b")),
    "topic beyond the packet": packet(0x30, b"\x00\x10abc"),
    "packet id 0": packet(0x32, text(b"a") + b"\x00\x00"),
    "second connect": CONNECT,
    "connack": packet(0x20, b"\x00\x00"),
    "type 15": packet(0xF0),
    "type 0": packet(0x00),
    "subscribe flags": packet(0x80, b"\x00\x01" + text(b"a") + b"\x00"),
    "subscribe to nothing": packet(0x82, b"\x00\x01"),
    "subscribe qos 3": packet(0x82, b"\x00\x01" + text(b"a") + b"\x03"),
    "subscribe empty filter": packet(0x82, b"\x00\x01" + text(b"") + b"\x00"),
    "filter bad utf-8": packet(0x82, b"\x00\x01" + text(b"\xff") + b"\x00"),
    "unsubscribe from nothing": packet(0xA2, b"\x00\x01"),
    "puback too long": packet(0x40, b"\x00\x01\x00"),
    "pingreq with a body": packet(0xC0, b"x"),
    "five length bytes": b"\x30\xff\xff\xff\xff\x01",
}
BAD_CONNECT = {
    "http": b"GET / HTTP/1.1\r\n",
    "publish first": GOOD["publish qos 0"],
    "unknown protocol": connect(name=b"AMQP"),
    "reserved flag": connect(flags=3),
    "will qos 3": connect(flags=0x1E, tail=text(b"t") + text(b"m")),
    "will qos without will": connect(flags=0x0A),
    "will topic with wildcard": connect(flags=0x06, tail=text(b"t/#") + text(b"m")),
    "password without user name": connect(flags=0x42, tail=text(b"p")),
    "too long": connect(tail=b"x"),
    "client id bad utf-8": connect(client_id=b"\xff"),
    "client id u+0000": connect(client_id=b"a\x00"),
    "user name missing": connect(flags=0x82),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_a_good_packet_passes_unchanged(data: bytes) -> None:
    assert [item.data for item in connected().receive(data, 1.0)] == [data]


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_bad_packet_is_refused_after_the_good_one_before_it(data: bytes) -> None:
    passed: list[Packet] = []
    with pytest.raises(ProtocolViolation):
        passed.extend(connected().receive(GOOD["publish qos 0"] + data, 1.0))
    assert [item.data for item in passed] == [GOOD["publish qos 0"]]


@pytest.mark.parametrize("data", BAD_CONNECT.values(), ids=BAD_CONNECT)
def test_a_bad_connect_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(Inspector(0.0).receive(data, 0.0))


def test_something_else_than_mqtt_is_refused_by_its_first_byte() -> None:
    with pytest.raises(ProtocolViolation, match="not an MQTT client"):
        list(Inspector(0.0).receive(b"G", 0.0))


def test_a_large_packet_is_refused_from_its_header() -> None:
    header = packet(0x30, b"x" * (MAX_PACKET + 1))[:4]
    with pytest.raises(ProtocolViolation, match="at most") as caught:
        list(connected().receive(header, 1.0))
    assert caught.value.reason_code == 0x95


def test_the_largest_allowed_packet_passes() -> None:
    body = text(b"a")
    data = packet(0x30, body + b"x" * (MAX_PACKET - len(body) - 4))
    assert len(data) == MAX_PACKET
    assert [item.data for item in connected().receive(data, 1.0)] == [data]


@pytest.mark.parametrize(("level", "name"), [(5, b"MQTT"), (3, b"MQIsdp"), (6, b"MQTT")])
def test_other_versions_get_an_answer_they_understand(level: int, name: bytes) -> None:
    with pytest.raises(Refused) as caught:
        list(Inspector(0.0).receive(connect(level=level, name=name), 0.0))
    reply = caught.value.reply
    assert reply[0] == 0x20
    assert reply[1] == len(reply) - 2
    assert reply[3] == (0x84 if level == 5 else 0x01)
    assert ("external broker" in caught.value.message) == (level == 5)


def test_a_bridge_is_taken_for_what_it_speaks() -> None:
    inspector = Inspector(0.0)
    (first,) = inspector.receive(connect(level=0x84), 0.0)
    assert first.type is PacketType.CONNECT
    assert inspector.connect is not None
    assert inspector.connect.packet("c").data == CONNECT


def test_a_client_without_an_id_is_given_one() -> None:
    tail = text(b"will") + text(b"gone") + text(b"user") + text(b"secret")
    inspector = Inspector(0.0)
    list(inspector.receive(connect(client_id=b"", flags=0xC6, tail=tail), 0.0))
    assert inspector.connect is not None
    assert inspector.connect.packet("made").data == connect(client_id=b"made", flags=0xC6, tail=tail)


def test_silence_is_measured_by_whole_packets() -> None:
    inspector = Inspector(0.0)
    assert inspector.deadline == CONNECT_TIME
    list(inspector.receive(connect(keep_alive=20), 3.0))
    assert inspector.deadline == 33.0
    list(inspector.receive(GOOD["publish qos 0"][:-1], 20.0))
    assert inspector.deadline == 33.0
    list(inspector.receive(GOOD["publish qos 0"][-1:], 21.0))
    assert inspector.deadline == 51.0


def test_without_keep_alive_a_client_may_be_silent() -> None:
    assert connected(keep_alive=0).deadline is None


def test_unreleased_messages_are_bounded() -> None:
    stream = b"".join(packet(0x34, text(b"a") + number.to_bytes(2, "big")) for number in range(1, 1000))
    with pytest.raises(ProtocolViolation, match="QoS 2"):
        list(connected().receive(stream, 1.0))


def test_released_messages_do_not_count() -> None:
    inspector = connected()
    for number in range(1, 1000):
        name = number.to_bytes(2, "big")
        list(inspector.receive(packet(0x34, text(b"a") + name) + packet(0x62, name), 1.0))


@settings(max_examples=100)
@given(st.lists(st.integers(0, 12), max_size=40))
def test_any_split_gives_the_same_packets(sizes: list[int]) -> None:
    stream = CONNECT + b"".join(GOOD.values())
    inspector = Inspector(0.0)
    found: list[bytes] = []
    position = 0
    for size in [*sizes, len(stream)]:
        found += [item.data for item in inspector.receive(stream[position : position + size], 0.0)]
        position += size
    assert found == [CONNECT, *GOOD.values()]


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_pass_whole_or_are_refused(data: bytes) -> None:
    inspector = connected()
    passed = b""
    try:
        for item in inspector.receive(data, 0.0):
            passed += item.data
    except ProtocolViolation:
        pass
    assert data.startswith(passed)
