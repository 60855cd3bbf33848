"""TLS links over real TCP sockets on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.link.authority import Authority
from tests.link.recorder import Recorder
from twingateway.errors import LinkError, NotAuthorized
from twingateway.link import tls_link
from twingateway.link.door import Bounds, Door
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tls_client import TlsDialer
from twingateway.link.tls_server import TlsListener, listen_tls
from twingateway.ports.link import CONTROL_STREAM


@pytest.fixture
async def make_listener(authority, server_files) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(files=server_files, **options: Any) -> tuple[TlsListener, list[Recorder]]:
            servers: list[Recorder] = []

            def make_handler() -> Recorder:
                servers.append(Recorder())
                return servers[-1]

            listener = await listen_tls(
                "127.0.0.1", 0, identity=ServerIdentity(*files), make_handler=make_handler, **options
            )

            async def end() -> None:
                for link in list(listener._links):
                    link.abort(LinkError("the test is over"))
                await listener.close()

            stack.push_async_callback(end)
            return listener, servers

        yield make


async def dial(authority: Authority, listener, servers, client=None, **options):
    client = client or Recorder()
    known = len(servers)
    await TlsDialer(*listener.address, ca_file=authority.file, **options).dial(client)
    while len(servers) == known:
        await asyncio.sleep(0.001)
    return client, servers[known]


async def test_packets_of_every_stream_arrive_on_the_control_stream_and_both_ends_know_the_same_certificate(
    authority, make_listener
):
    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers)
    assert [client.link.open_stream() for _ in range(3)] == [0, 4, 8]
    for stream, piece in ((0, b"connect"), (8, b"journal"), (4, b"state")):
        client.link.write(stream, piece)
    await server.until(lambda: len(server.streams[CONTROL_STREAM]) == 19)
    assert server.streams == {CONTROL_STREAM: b"connectstatejournal"}, "state before bulk, but CONNECT first"
    server.link.write(4, b"back")
    await client.until(lambda: client.streams[CONTROL_STREAM] == b"back")
    assert client.link.server_certificate == server.link.server_certificate != b""
    assert client.link.datagram_room == 0
    facts = client.link.facts()
    assert facts.transport == "tls"
    assert 0 < facts.smoothed_rtt < 1
    assert facts.bytes_sent > 0 < facts.bytes_received


async def test_a_peer_that_reads_nothing_leaves_everything_with_us_and_state_overtakes_bulk(authority, make_listener):
    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers)
    server_link = next(iter(listener._links))
    server_link._transport.pause_reading()
    for _ in range(1000):
        client.link.write(12, bytes(16 * 1024))
    while client.link._transport is not None and not client.link._paused:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    taken = 1000 * 16 * 1024 - client.link.unsent(12)
    assert client.link.unsent(12) > 8_000_000
    client.link.write(4, b"\x01" * 100)
    assert client.link.unsent(4) == 100
    server_link._transport.resume_reading()
    await server.until(lambda: b"\x01" in server.streams[CONTROL_STREAM])
    assert server.streams[CONTROL_STREAM].index(b"\x01") <= taken + 2 * 16 * 1024
    assert client.link.unsent(4) == 0


async def test_the_handler_gets_a_turn_when_a_full_queue_has_emptied(authority, make_listener):
    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers)
    client.link.write(4, bytes(500_000))
    await client.until(lambda: client.timers)
    assert client.link.unsent(4) == 0
    await server.until(lambda: len(server.streams[CONTROL_STREAM]) == 500_000)


async def test_the_earliest_time_asked_for_wins_and_comes_once(authority, make_listener):
    listener, servers = await make_listener()
    client, _ = await dial(authority, listener, servers)
    start = asyncio.get_running_loop().time()
    for after in (0.2, 0.05, 0.3):
        client.link.wake(start + after)
    await client.until(lambda: client.timers)
    assert start + 0.05 <= client.timers[0] < start + 0.2
    await asyncio.sleep(0.2)
    assert len(client.timers) == 1


async def test_close_delivers_what_was_written_and_both_ends_hear_of_an_orderly_end(authority, make_listener):
    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers)
    client.link.write(0, bytes(300_000))
    client.link.close()
    client.link.write(0, b"too late")
    assert client.closings == []
    await server.until(lambda: server.closings)
    await client.until(lambda: client.closings)
    assert client.closings == server.closings == [None]
    assert len(server.streams[CONTROL_STREAM]) == 300_000
    client.link.wake(0.0)
    await asyncio.sleep(0.02)
    assert client.link.unsent(0) == 0


async def test_close_gives_up_on_a_peer_that_does_not_read(authority, make_listener, monkeypatch):
    monkeypatch.setattr(tls_link, "CLOSE_PATIENCE", 0.2)
    listener, servers = await make_listener()
    client, _ = await dial(authority, listener, servers)
    next(iter(listener._links))._transport.pause_reading()
    client.link.write(0, bytes(20_000_000))
    client.link.close()
    await client.until(lambda: client.closings)


async def test_a_connection_cut_off_without_a_word_is_an_error(authority, make_listener):
    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers)
    client.link._transport.abort()
    await server.until(lambda: server.closings)
    assert isinstance(server.closings[0], LinkError)


async def test_a_certificate_of_another_authority_or_name_does_not_verify(authority, make_listener, tmp_path):
    listener, servers = await make_listener()
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(NotAuthorized, match=r"does not verify: .*none of those in .*identity\.ca"):
        await TlsDialer(*listener.address, ca_file=stranger.file).dial(Recorder())
    for name in ("elsewhere.example", "192.0.2.1"):
        with pytest.raises(NotAuthorized, match=f"it is not for '{name}'; issue it with .*--host {name}`"):
            await TlsDialer(*listener.address, ca_file=authority.file, server_name=name).dial(Recorder())
    assert servers == [] or all(not server.streams for server in servers)


@pytest.mark.parametrize("change", ["alpn", "version"])
async def test_only_tls_1_3_with_our_protocol_comes_in(authority, make_listener, change):
    listener, servers = await make_listener()
    context = ssl.create_default_context(cafile=str(authority.file))
    if change == "version":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["mqtt"])
    else:
        context.set_alpn_protocols(["http/1.1"])
    heard = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        reader, writer = await asyncio.open_connection(*listener.address, ssl=context)
        heard = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert heard == b""
    assert servers == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 20, b"\x10\x10\x00\x04MQTT\x05"])
async def test_plain_bytes_cost_the_sender_its_connection_and_nothing_else(authority, make_listener, data):
    listener, servers = await make_listener()
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert servers == []
    client, server = await dial(authority, listener, servers)
    client.link.write(0, b"still here")
    await server.until(lambda: server.streams)


async def test_a_client_that_says_nothing_is_given_up(make_listener):
    listener, _ = await make_listener(handshake_timeout=0.1)
    reader, writer = await asyncio.open_connection(*listener.address)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    while listener.connections:
        await asyncio.sleep(0.005)


async def test_connections_are_bounded(authority, make_listener):
    listener, servers = await make_listener(door=Door(Bounds(connections=1)))
    await dial(authority, listener, servers)
    with pytest.raises(LinkError):
        await TlsDialer(*listener.address, ca_file=authority.file).dial(Recorder())
    assert listener.connections == 1


async def test_a_server_that_does_not_answer_is_an_error_that_names_it(authority):
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(5), "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()[:2]
    with pytest.raises(LinkError, match="does not answer"):
        await TlsDialer(host, port, ca_file=authority.file, dial_timeout=0.2).dial(Recorder())
    silent.close()
    with pytest.raises(LinkError, match="cannot be reached"):
        await TlsDialer(host, port, ca_file=authority.file).dial(Recorder())


async def test_a_handler_that_raises_loses_its_link(authority, make_listener):
    def fail(link, stream, data) -> None:
        raise RuntimeError("a defect")

    listener, servers = await make_listener()
    client, server = await dial(authority, listener, servers, Recorder(on_stream_data=fail))
    server.link.write(0, b"x")
    await client.until(lambda: client.closings)
    assert "a defect" in client.closings[0].message
