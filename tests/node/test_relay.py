"""MQTT clients that are no nodes: relayed to the node's broker over real QUIC and TLS, or refused in their words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aioquic.quic.events import StopSendingReceived, StreamReset

from tests.fair_time import PATIENCE
from tests.node.foreign_client import ForeignClient, connect_packet, over_quic, over_tls, publish, subscribe
from tests.node.mosquitto import mosquitto
from tests.node.sites import free_port
from tests.node.test_run import failing, running
from twingateway.errors import InvalidConfig
from twingateway.gateway.peering import relay
from twingateway.pki.authority import create_authority, issue

IDENTITY = "identity: {certificate: pki/hub.crt, key: pki/hub.key, ca: pki/ca.crt}\n"
EMBEDDED = 'broker: {listen: "127.0.0.1:0"}\n'


def external(port: int) -> str:
    return f'broker: {{url: "mqtt://127.0.0.1:{port}"}}\n'


Connect = Callable[[str, Path], AbstractAsyncContextManager[ForeignClient]]


def hub(folder: Path, sections: str, relayed: str = "anyone") -> Path:
    create_authority(folder / "pki")
    issue(folder / "pki", "hub", hosts=["127.0.0.1"])
    file = folder / "hub.yaml"
    listen = f'listen: {{address: "127.0.0.1:0", relay: {relayed}}}\n'
    file.write_text("node: {name: hub}\n" + IDENTITY + listen + sections)
    return file


@asynccontextmanager
async def relaying(
    folder: Path, sections: str = EMBEDDED, relayed: str = "anyone"
) -> AsyncIterator[tuple[str, Path]]:
    """A node that relays: where it listens, and the certificate to trust."""
    async with running(hub(folder, sections, relayed)) as (_, bound):
        yield bound.listen, folder / "pki" / "ca.crt"


@pytest.mark.parametrize("way", [over_quic, over_tls])
async def test_a_foreign_client_publishes_and_subscribes_through_the_embedded_broker(
    tmp_path: Path, way: Connect
) -> None:
    async with relaying(tmp_path) as at, way(*at) as one, way(*at) as other:
        assert await one.enter("one") == b"\x00\x00"
        assert await other.enter("other") == b"\x00\x00"
        one.write(subscribe("plant/#"))
        assert await one.wanted(0x90) == b"\x00\x01\x01"
        payload = bytes(range(256)) * 200
        other.write(publish("plant/a", payload))
        assert await other.wanted(0x40) == b"\x00\x09"
        body = await one.wanted(0x30)
        assert body.startswith(b"\x00\x07plant/a")
        assert body.endswith(payload)
        one.write(b"\xe0\x00")
        await one.ended()


async def test_its_connect_may_come_in_any_two_pieces(tmp_path: Path) -> None:
    whole = connect_packet("cut") + subscribe("a")
    async with relaying(tmp_path) as at:
        for cut in range(1, len(whole)):
            async with over_tls(*at) as client:
                client.write(whole[:cut])
                await asyncio.sleep(0.002)
                client.write(whole[cut:])
                assert await client.wanted(0x20) == b"\x00\x00"
                assert await client.wanted(0x90) == b"\x00\x01\x01"


@pytest.mark.parametrize("way", [over_quic, over_tls])
async def test_the_embedded_broker_tells_a_client_of_mqtt_5_why_it_cannot_serve_it(
    tmp_path: Path, way: Connect
) -> None:
    async with relaying(tmp_path) as at, way(*at) as client:
        answer = await client.enter("five", level=5)
        assert answer[1] == 0x84
        assert b"clients that need MQTT 5 need an external broker" in answer
        await client.ended()


@pytest.mark.parametrize(("level", "refusal"), [(4, b"\x00\x05"), (5, b"\x00\x87")])
async def test_without_relay_a_client_is_refused_in_its_own_words(tmp_path: Path, level: int, refusal: bytes) -> None:
    async with relaying(tmp_path, "", "off") as at, over_quic(*at) as client:
        answer = await client.enter("stranger", level=level)
        assert answer[:2] == refusal
        assert level == 4 or b"twingateway nodes only" in answer
        await client.ended()


@pytest.mark.parametrize(("level", "refusal"), [(4, b"\x00\x03"), (5, b"\x00\x88")])
async def test_a_broker_that_is_gone_is_told(tmp_path: Path, level: int, refusal: bytes) -> None:
    sections = f'broker: {{url: "mqtt://127.0.0.1:{free_port()}"}}\n'
    async with relaying(tmp_path, sections, "broker") as at, over_quic(*at) as client:
        answer = await client.enter("early", level=level)
        assert answer[:2] == refusal
        assert level == 4 or b"cannot be reached" in answer
        await client.ended()


async def test_a_broker_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "OPEN_TIME", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        filling = [socket.socket() for _ in range(3)]  # a full backlog: no further connection is accepted
        for each in filling:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        sections = f'broker: {{url: "mqtt://127.0.0.1:{port}"}}\n'
        async with relaying(tmp_path, sections, "broker") as at, over_quic(*at) as client:
            assert (await client.enter("patient", level=5))[:2] == b"\x00\x88"
        for each in filling:
            each.close()


async def test_further_streams_are_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with relaying(tmp_path) as at, over_quic(*at) as client:
        assert client.protocol is not None
        told: list[object] = []
        heard = client.protocol.quic_event_received
        client.protocol.quic_event_received = lambda event: (told.append(event), heard(event))[1]  # type: ignore[func-returns-value,method-assign]
        quic = client.protocol._quic  # a StreamWriter of a refused stream cannot be closed
        connect = connect_packet("many")
        client.write(connect[:5])
        quic.send_stream_data(quic.get_next_available_stream_id(), subscribe("early"))
        client.write(connect[5:])
        assert await client.wanted(0x20) == b"\x00\x00"
        quic.send_stream_data(quic.get_next_available_stream_id(), subscribe("late"))
        client.protocol.transmit()
        async with asyncio.timeout(PATIENCE):
            while sum(isinstance(event, StopSendingReceived) for event in told) < 2:
                await asyncio.sleep(0.01)
        refused = {event.stream_id: event.error_code for event in told if isinstance(event, StreamReset)}
        assert refused == {4: 0xBE, 8: 0xBE}
        client.write(b"\xc0\x00")
        assert await client.wanted(0xD0) == b""


async def test_a_will_is_published_when_a_client_vanishes_and_not_when_it_leaves(tmp_path: Path) -> None:
    will = b"\x00\x04MQTT\x04\x06\x00\x3c\x00\x05dying\x00\x04will\x00\x03bye"
    async with relaying(tmp_path) as at, over_quic(*at) as watcher:
        await watcher.enter("watcher")
        watcher.write(subscribe("will"))
        await watcher.wanted(0x90)
        async with over_quic(*at) as leaving:
            leaving.write(b"\x10" + bytes((len(will),)) + will)
            await leaving.wanted(0x20)
            leaving.write(b"\xe0\x00")
        async with over_quic(*at) as dying:
            dying.write(b"\x10" + bytes((len(will),)) + will.replace(b"bye", b"ahh"))
            await dying.wanted(0x20)
        assert (await watcher.wanted(0x30)).endswith(b"ahh")


@pytest.mark.parametrize(
    ("data", "yes"),
    [
        (b"\x20\x02\x00\x00", True),
        (b"\x20\x02\x01\x00", True),
        (b"\x20\x02\x00\x05", False),
        (b"\x20\x81\x01\x00\x00\x7e", True),
        (b"\x20\x81\x01\x00\x87\x7e", False),
        (b"\x20", False),
        (b"\x20\x80\x80\x80\x80\x00\x00", False),
        (b"HTTP", False),
    ],
)
def test_a_client_is_no_stranger_once_its_broker_has_let_it_in(data: bytes, yes: bool) -> None:
    assert relay._lets_in(data) is yes


async def test_a_silent_client_is_given_up_after_its_keep_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "KEEP_ALIVE_MARGIN", -1.4)
    async with relaying(tmp_path) as at, over_quic(*at) as client:
        assert await client.enter("silent", keep_alive=1) == b"\x00\x00"
        await client.ended()


class TestBackPressure:
    """The broker is a TCP server that reads or writes as the test says."""

    @staticmethod
    async def broker(serve: Callable[..., object]) -> tuple[asyncio.Server, str]:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        server = await asyncio.start_server(serve, sock=listening, limit=64 * 1024)  # type: ignore[arg-type]
        return server, f'broker: {{url: "mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"}}\n'

    @pytest.mark.parametrize("way", [over_quic, over_tls])
    async def test_a_broker_that_does_not_read_holds_up_its_client(self, tmp_path: Path, way: Connect) -> None:
        total, go_on, got = 10 * 1024 * 1024, asyncio.Event(), asyncio.Event()
        counted = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal counted
            await go_on.wait()
            while data := await reader.read(65536):
                counted += data.count(0x55)  # the node's own client is connected, too
                if counted >= total:
                    got.set()
            writer.close()

        server, sections = await self.broker(serve)
        most = 0
        async with relaying(tmp_path, sections, "broker") as at, way(*at) as client, server:
            client.write(connect_packet("fast"))
            client.write(b"\x55" * total)
            [relayed] = await one_client()
            async with asyncio.timeout(PATIENCE):
                while not relayed._paused:
                    await asyncio.sleep(0.01)
            for _ in range(20):
                await asyncio.sleep(0.01)
                most = max(most, len(relayed._waiting))
            assert counted == 0
            assert relay.MAX_WAITING_IN < most < 2 * 1024 * 1024, "it was held up, and soon"
            go_on.set()
            async with asyncio.timeout(PATIENCE):
                await got.wait()
            assert counted == total

    async def test_a_client_that_does_not_read_holds_up_the_broker(self, tmp_path: Path) -> None:
        written = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await reader.read(100)
            while written < 64 * 1024 * 1024:
                writer.write(b"\x55" * 65536)
                await writer.drain()
                written += 65536

        server, sections = await self.broker(serve)
        async with relaying(tmp_path, sections, "broker") as at, over_tls(*at) as client, server:
            client.write(connect_packet("slow"))
            [relayed] = await one_client()
            before = -1
            async with asyncio.timeout(PATIENCE):
                while written != before:
                    before = written
                    await asyncio.sleep(0.3)
            assert 0 < written < 32 * 1024 * 1024
            assert relayed._link is not None
            assert relayed._link.unsent(0) <= relay.MAX_WAITING_OUT + 64 * 1024


async def one_client() -> list[relay.RelayedClient]:
    """The clients that are relayed in this process, as soon as there are any."""
    import gc

    async with asyncio.timeout(PATIENCE):
        while True:
            found = [each for each in gc.get_objects() if isinstance(each, relay.RelayedClient) and each._link]
            if found:
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("sections", "relayed", "words"),
    [("", "anyone", "add a broker section"), (EMBEDDED, "broker", "lets in whoever comes")],
)
async def test_a_relay_that_cannot_be_meant_is_refused_at_the_start(
    tmp_path: Path, sections: str, relayed: str, words: str
) -> None:
    file = hub(tmp_path, sections, relayed)
    with pytest.raises(InvalidConfig, match=words):
        await failing(file)


@pytest.mark.parametrize("way", [over_quic, over_tls])
async def test_a_client_of_mqtt_5_is_relayed_to_an_external_broker(tmp_path: Path, way: Connect) -> None:
    async with mosquitto(tmp_path) as port, relaying(tmp_path, external(port), "broker") as at, way(*at) as client:
        assert (await client.enter("five", level=5))[1] == 0
        client.write(subscribe("a/b", level=5))
        assert (await client.wanted(0x90))[-1] == 1
        client.write(publish("a/b", b"through", level=5))
        assert (await client.wanted(0x30)).endswith(b"through")
