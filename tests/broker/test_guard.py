"""The guard in front of amqtt, over real sockets: only the offender is closed, a good client goes on meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.fair_time import PATIENCE
from twingateway.adapter import Message
from twingateway.broker import inspect
from twingateway.broker.client import PahoBroker
from twingateway.broker.embedded import EmbeddedBroker
from twingateway.errors import BrokerError


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def connect(
    client_id: bytes = b"bad", level: int = 4, flags: int = 2, keep_alive: int = 60, tail: bytes = b""
) -> bytes:
    body = text(b"MQTT") + bytes((level, flags)) + keep_alive.to_bytes(2, "big") + text(client_id) + tail
    return bytes((0x10, len(body))) + body


def publish(topic: bytes, payload: bytes, first: int = 0x30, packet_id: bytes = b"") -> bytes:
    body = text(topic) + packet_id + payload
    return bytes((first, len(body))) + body


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(("127.0.0.1", 0), max_connections=20)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def good(broker: EmbeddedBroker) -> AsyncIterator[PahoBroker]:
    client = PahoBroker(*broker.address)
    await client.start()
    await client.until_connected()
    yield client
    await client.stop()


class Peer:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, broker: EmbeddedBroker) -> "Peer":
        return cls(*await asyncio.open_connection(*broker.address))

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def accepted(self) -> None:
        async with asyncio.timeout(PATIENCE):
            assert await self.reader.readexactly(4) == b"\x20\x02\x00\x00"

    async def rest(self) -> bytes:
        """What still comes until the broker closes."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        except ConnectionError:
            return b""


async def works(client: PahoBroker) -> None:
    """A message of the good client comes back to it."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    topic = f"works/{os.urandom(4).hex()}"
    subscription = client.subscribe(topic, heard.put_nowait)
    await client.publish(topic, b"yes")
    async with asyncio.timeout(PATIENCE):
        assert (await heard.get()).payload == b"yes"
    subscription.cancel()


BEFORE_CONNECT = {
    "random bytes": bytes.fromhex("8f3c00fe9911a27b") * 50,
    "an HTTP GET": b"GET /twins HTTP/1.1\r\nHost: edge\r\n\r\n",
    "a client id that is not UTF-8": connect(client_id=b"\xff\xfe"),
}
AFTER_CONNECT = {
    "a topic that is not UTF-8": publish(b"a/\xff", b"1"),
    "QoS 3": publish(b"a", b"1", 0x36, b"\x00\x01"),
    "a wildcard topic": publish(b"a/#", b"1"),
    "a PUBLISH of 64 MB": b"\x30\x80\x80\x80\x20" + text(b"a") + b"x" * 100_000,
    "a second CONNECT": connect(),
    "random bytes later": b"\xf3\x99\x01\x02",
}


@pytest.mark.parametrize("data", BEFORE_CONNECT.values(), ids=BEFORE_CONNECT)
async def test_what_is_not_mqtt_is_closed(broker: EmbeddedBroker, good: PahoBroker, data: bytes) -> None:
    peer = await Peer.open(broker)
    peer.say(data)
    assert await peer.rest() == b""
    assert broker.refused == 1
    await works(good)


@pytest.mark.parametrize("data", AFTER_CONNECT.values(), ids=AFTER_CONNECT)
async def test_an_offender_is_closed(broker: EmbeddedBroker, good: PahoBroker, data: bytes) -> None:
    peer = await Peer.open(broker)
    peer.say(connect())
    await peer.accepted()
    peer.say(data)
    assert await peer.rest() == b""
    assert broker.refused == 1
    await works(good)


async def test_a_silent_client_is_closed_after_one_and_a_half_keep_alives(
    broker: EmbeddedBroker, good: PahoBroker
) -> None:
    peer = await Peer.open(broker)
    peer.say(connect(keep_alive=1))
    await peer.accepted()
    heard: asyncio.Queue[Message] = asyncio.Queue()
    begin = asyncio.get_running_loop().time()
    good.subscribe("unused", heard.put_nowait)
    assert await peer.rest() == b""
    assert asyncio.get_running_loop().time() - begin >= 1.4
    await works(good)


async def test_a_client_that_never_connects_is_closed(
    broker: EmbeddedBroker, good: PahoBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "CONNECT_TIME", 0.1)
    peer = await Peer.open(broker)
    assert await peer.rest() == b""
    await works(good)


async def test_mqtt_5_is_told_what_it_needs(broker: EmbeddedBroker) -> None:
    peer = await Peer.open(broker)
    peer.say(connect(level=5))
    reply = await peer.rest()
    assert reply[:1] == b"\x20"
    assert reply[3] == 0x84
    assert b"external broker" in reply


async def test_the_will_of_an_offender_is_published(broker: EmbeddedBroker, good: PahoBroker) -> None:
    heard: asyncio.Queue[Message] = asyncio.Queue()
    good.subscribe("will/#", heard.put_nowait)
    await works(good)
    peer = await Peer.open(broker)
    peer.say(connect(flags=0x06, tail=text(b"will/bad") + text(b"gone")))
    await peer.accepted()
    peer.say(b"\xff\xff")
    async with asyncio.timeout(PATIENCE):
        assert (await heard.get()).payload == b"gone"


async def test_everything_said_before_disconnect_is_passed_on_and_no_will(
    broker: EmbeddedBroker, good: PahoBroker
) -> None:
    heard: asyncio.Queue[Message] = asyncio.Queue()
    good.subscribe("burst", heard.put_nowait)
    good.subscribe("will/#", heard.put_nowait)
    await works(good)
    peer = await Peer.open(broker)
    burst = b"".join(publish(b"burst", str(number).encode()) for number in range(50))
    peer.say(connect(client_id=b"", flags=0x06, tail=text(b"will/x") + text(b"gone")) + burst + b"\xe0\x00")
    await peer.accepted()
    assert await peer.rest() == b""
    await works(good)
    assert [int((await heard.get()).payload) for _ in range(heard.qsize())] == list(range(50))


async def test_a_client_that_connects_again_ends_its_older_connection(broker: EmbeddedBroker) -> None:
    older = await Peer.open(broker)
    older.say(connect(client_id=b"same", flags=0))
    await older.accepted()
    newer = await Peer.open(broker)
    newer.say(connect(client_id=b"same", flags=0))
    async with asyncio.timeout(PATIENCE):
        assert (await newer.reader.readexactly(4))[:2] == b"\x20\x02"
    assert await older.rest() == b""
    newer.say(b"\xc0\x00")
    async with asyncio.timeout(PATIENCE):
        assert await newer.reader.readexactly(2) == b"\xd0\x00"


async def test_a_subscriber_that_does_not_read_is_cut_off(broker: EmbeddedBroker, good: PahoBroker) -> None:
    peer = await Peer.open(broker)
    peer.say(connect(keep_alive=0) + b"\x82\x08\x00\x01" + text(b"big") + b"\x00")
    await peer.accepted()
    peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(100):
        await good.publish("big", b"x" * 200_000, qos=1)
        if broker.refused:
            break
    assert broker.refused == 1
    await works(good)
    peer.writer.close()


async def test_connections_are_limited(broker: EmbeddedBroker) -> None:
    peers = [await Peer.open(broker) for _ in range(20)]
    for number, peer in enumerate(peers):
        peer.say(connect(client_id=str(number).encode()))
        await peer.accepted()
    late = await Peer.open(broker)
    late.say(connect(client_id=b"late"))
    assert await late.rest() == b""
    peers[0].say(b"\xe0\x00")
    assert await peers[0].rest() == b""
    peers[0].writer.close()
    await asyncio.sleep(0.05)  # the place is free once the socket is closed on both sides
    again = await Peer.open(broker)
    again.say(connect(client_id=b"again"))
    await again.accepted()


async def test_an_address_in_use_is_a_broker_error(broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker(broker.address)
    with pytest.raises(BrokerError, match="cannot listen"):
        await second.start()
