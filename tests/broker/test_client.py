"""The node's client: subscriptions, publishes and what becomes of both when the broker goes away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fair_time import PATIENCE
from tests.node.sites import free_port
from twingateway.adapter import Message
from twingateway.broker import client as client_module
from twingateway.broker.client import PahoBroker
from twingateway.broker.embedded import EmbeddedBroker
from twingateway.errors import BrokerError


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(("127.0.0.1", 0))
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def client(broker: EmbeddedBroker) -> AsyncIterator[PahoBroker]:
    client = PahoBroker(*broker.address)
    await client.start()
    await client.until_connected()
    yield client
    await client.stop()


class Heard:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()

    def __call__(self, message: Message) -> None:
        self.queue.put_nowait(message)

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await self.queue.get()


async def test_messages_arrive_in_order_and_wildcards_match(client: PahoBroker) -> None:
    heard = Heard()
    client.subscribe("site/+/state", heard)
    for number in range(50):
        await client.publish("site/a/state", str(number).encode())
    await client.publish("site/a/other", b"no")
    assert [int((await heard.next()).payload) for _ in range(50)] == list(range(50))
    assert heard.queue.empty()


async def test_a_retained_message_is_there_for_who_comes_later(client: PahoBroker) -> None:
    await client.publish("kept", b"1", retain=True)
    first, second = Heard(), Heard()
    client.subscribe("kept", first)
    assert await first.next() == Message("kept", b"1", retain=True)
    client.subscribe("kept", second)
    assert await second.next() == Message("kept", b"1", retain=True)


async def test_an_old_retained_message_does_not_follow_a_newer_one(client: PahoBroker) -> None:
    await client.publish("t", b"old", retain=True)
    first, second = Heard(), Heard()
    client.subscribe("t", first)
    assert (await first.next()).payload == b"old"
    await client.publish("t", b"new")
    assert (await first.next()).payload == b"new"
    client.subscribe("t", second)
    assert (await second.next()).payload == b"old"
    await client.publish("t", b"newest")
    assert (await first.next()).payload == b"newest"


async def test_a_shared_filter_lives_until_the_last_has_cancelled(client: PahoBroker) -> None:
    first, second = Heard(), Heard()
    one = client.subscribe("t", first)
    client.subscribe("t", second)
    one.cancel()
    one.cancel()
    await client.publish("t", b"1")
    assert (await second.next()).payload == b"1"
    assert first.queue.empty()


async def test_a_handler_that_raises_does_not_hurt_the_next(client: PahoBroker) -> None:
    def broken(message: Message) -> None:
        raise RuntimeError("a bug")

    heard = Heard()
    client.subscribe("t", broken)
    client.subscribe("t", heard)
    await client.publish("t", b"1")
    await client.publish("t", b"2")
    assert [(await heard.next()).payload for _ in range(2)] == [b"1", b"2"]


async def test_subscriptions_survive_a_broker_restart() -> None:
    address = "127.0.0.1", free_port()
    broker = EmbeddedBroker(address)
    await broker.start()
    client = PahoBroker(*address)
    heard = Heard()
    client.subscribe("before/start", heard)
    await client.start()
    await client.until_connected()
    await client.publish("before/start", b"1")
    assert (await heard.next()).payload == b"1"

    await broker.stop()
    async with asyncio.timeout(PATIENCE):
        while client.connected:
            await asyncio.sleep(0.01)
    again = EmbeddedBroker(address)
    await again.start()
    await client.publish("before/start", b"2")
    assert (await heard.next()).payload == b"2"
    await client.stop()
    await again.stop()


async def test_a_publish_without_a_broker_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PUBLISH_TIME", 0.2)
    client = PahoBroker("127.0.0.1", 9)
    await client.start()
    with pytest.raises(BrokerError, match="did not acknowledge"):
        await client.publish("t", b"1")
    await client.stop()


class MuteBroker:
    """Accepts every client and acknowledges nothing; `published` is all it was sent."""

    def __init__(self) -> None:
        self.published = b""
        self.clients = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        self._writers.append(writer)
        writer.write(b"\x20\x02\x00\x00")
        while data := await reader.read(65536):
            self.published += data

    def drop_clients(self) -> None:
        for writer in self._writers:
            writer.close()

    async def stop(self) -> None:
        self._server.close()
        self.drop_clients()
        for writer in self._writers:
            await writer.wait_closed()


async def test_an_unacknowledged_publish_fails_in_time_and_is_not_sent_on_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "PUBLISH_TIME", 0.3)
    mute = MuteBroker()
    client = PahoBroker(*await mute.start())
    await client.start()
    await client.until_connected(5)
    with pytest.raises(BrokerError, match="did not acknowledge"):
        await client.publish("command", b"open")
    assert mute.published.count(b"open") == 1
    mute.drop_clients()
    async with asyncio.timeout(PATIENCE):
        while mute.clients < 2 or not client.connected:
            await asyncio.sleep(0.01)
    await client.publish("other", b"now", qos=0)
    async with asyncio.timeout(PATIENCE):
        while b"now" not in mute.published:
            await asyncio.sleep(0.01)
    assert mute.published.count(b"open") == 1
    await client.stop()
    await mute.stop()


async def test_a_publish_under_way_fails_when_the_connection_is_lost() -> None:
    mute = MuteBroker()
    client = PahoBroker(*await mute.start())
    await client.start()
    await client.until_connected(5)
    publishing = asyncio.create_task(client.publish("command", b"open"))
    async with asyncio.timeout(PATIENCE):
        while b"open" not in mute.published:
            await asyncio.sleep(0.01)
    mute.drop_clients()
    with pytest.raises(BrokerError, match="was lost"):
        await publishing
    await client.stop()
    await mute.stop()


async def test_a_topic_that_cannot_be_published_is_a_broker_error(client: PahoBroker) -> None:
    with pytest.raises(BrokerError, match="cannot be published"):
        await client.publish("a/#", b"1")
