"""What a listener does with those who are not, or not yet, its children."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tests.link.recorder import Recorder
from twingateway.errors import CertificateError, LinkError
from twingateway.link import doorbell, quic_server
from twingateway.link.door import Bounds, Door
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_server import listen_quic
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tickets import TicketStore
from twingateway.ports.link import Knocking

pytestmark = pytest.mark.hurried


def write_hello(link) -> None:
    link.write(link.open_stream(), b"hello")


def first_packets(config: QuicConfiguration | None = None) -> bytes:
    """The first UDP payload of a client that never says more."""
    connection = QuicConnection(configuration=config or QuicConfiguration(alpn_protocols=["mqtt"]))
    connection.connect(("127.0.0.1", 1), now=0.0)
    return connection.datagrams_to_send(now=0.0)[0][0]


@pytest.fixture
def stranger():
    """A UDP socket of somebody else's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


async def settle(condition, timeout: float = 3.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


async def test_garbage_disturbs_nobody(make_site, stranger):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello), direct=True)
    initial = first_packets()
    for data in (b"", b"\x00", b"\xff" * 1200, os.urandom(1200), initial[:600], initial[:100] + os.urandom(1100)):
        stranger.sendto(data, site.listener.address)
    for bit in range(0, 8 * 64, 7):
        mutated = bytearray(initial)
        mutated[bit // 8] ^= 1 << bit % 8
        stranger.sendto(bytes(mutated), site.listener.address)
    client.link.write(0, b" again")
    await server.until(lambda: server.streams[0] == b"hello again")
    assert len(site.servers) == 1, "a handler is made only for a completed handshake"


async def test_a_handshake_that_is_not_completed_is_given_up(make_site, stranger):
    site = await make_site(handshake_timeout=0.2)
    stranger.sendto(first_packets(), site.listener.address)
    await settle(lambda: site.listener.connections == 1)
    await settle(lambda: site.listener.connections == 0)
    assert site.servers == []


async def test_a_full_listener_takes_nobody_until_a_place_is_free(make_site):
    site = await make_site(door=Door(Bounds(connections=1)))
    first, _ = await site.dial()
    with pytest.raises(LinkError, match="does not answer"):
        await site.dial(dial_timeout=0.3)
    first.link.close()
    await first.until(lambda: first.closings)
    await settle(lambda: site.listener.connections == 0)
    await site.dial()


async def test_under_load_a_client_must_show_that_it_receives_at_its_address(make_site, stranger, monkeypatch):
    monkeypatch.setattr(quic_server, "RETRY_FROM", 0)
    site = await make_site()
    stranger.sendto(first_packets(), site.listener.address)
    _, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams[0] == b"hello")
    assert site.listener.connections == 1, "the stranger was asked for a token and holds no place"
    answer = stranger.recv(2000)
    assert len(answer) < 400


async def test_an_unknown_version_is_answered_with_ours(make_site, stranger):
    site = await make_site()
    packet = bytearray(first_packets())
    packet[1:5] = b"\x1a\x2a\x3a\x4a"
    stranger.sendto(packet, site.listener.address)
    await settle(lambda: _readable(stranger))
    answer = stranger.recv(2000)
    assert answer[1:5] == bytes(4)
    assert b"\x00\x00\x00\x01" in answer[5:]


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(2000, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_another_protocol_is_refused(make_site, authority):
    site = await make_site()
    config = QuicConfiguration(alpn_protocols=["h3"], server_name="localhost", cafile=str(authority.file))
    host, port = site.listener.address
    with pytest.raises(ConnectionError):
        async with connect(host, port, configuration=config):
            pass
    assert site.servers == []


async def test_closing_the_listener_closes_its_links_in_order(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams)
    server.link.write(0, bytes(20_000))
    await site.listener.close()
    await client.until(lambda: client.closings)
    assert len(client.streams[0]) == 20_000
    assert client.closings == server.closings == [None]


async def test_a_restarted_server_takes_the_same_child_again(authority, server_files):
    certificate, key = server_files
    listener = await listen_quic("127.0.0.1", 0, identity=ServerIdentity(certificate, key), make_handler=Recorder)
    address = listener.address
    await listener.close()
    again = await listen_quic(*address, identity=ServerIdentity(certificate, key), make_handler=Recorder)
    link = await QuicDialer(*address, ca_file=authority.file).dial(Recorder())
    link.close()
    await again.close()


async def test_useless_certificates_and_addresses_are_named(authority, server_files, tmp_path):
    certificate, key = server_files
    other = authority.issue("other")[1]
    nothing = tmp_path / "nothing.pem"
    for files, named in (((nothing, key), nothing), ((certificate, nothing), nothing), ((certificate, other), other)):
        with pytest.raises(CertificateError, match=named.name):
            await listen_quic("127.0.0.1", 0, identity=ServerIdentity(*files), make_handler=Recorder)
    listener = await listen_quic("127.0.0.1", 0, identity=ServerIdentity(certificate, key), make_handler=Recorder)
    with pytest.raises(LinkError, match="cannot listen"):
        await listen_quic(*listener.address, identity=ServerIdentity(certificate, key), make_handler=Recorder)
    await listener.close()


async def heard_by(stranger: socket.socket, within: float = 0.3) -> bytes:
    async with asyncio.timeout(within):
        return await asyncio.get_running_loop().sock_recv(stranger, 2000)


async def test_who_rings_is_answered_and_nothing_is_kept(make_site, stranger):
    site = await make_site()
    stranger.sendto(doorbell.ring(b"12345678"), site.listener.address)
    assert doorbell.answers(await heard_by(stranger, 3.0), b"12345678")
    assert site.listener.connections == 0


async def test_a_listener_without_room_answers_no_ring(make_site, stranger):
    site = await make_site(door=Door(Bounds(connections=1)))
    await site.dial()
    stranger.sendto(doorbell.ring(b"12345678"), site.listener.address)
    with pytest.raises(TimeoutError):
        await heard_by(stranger)


async def test_a_parent_long_silent_is_rung_at_and_met_when_it_is_there_again(make_site, tmp_path):
    site = await make_site()
    kept = tmp_path / "tickets.json"
    host, port = site.relay.address
    dialer = QuicDialer(host, port, ca_file=site.authority.file, tickets=TicketStore(kept), dial_timeout=0.8)
    first = await dialer.dial(Recorder())
    await settle(kept.exists)
    first.abort(LinkError("over"))  # so that whatever the relay counts is of the dials
    silent = Knocking(every=0.05, begin=0.0, end=0.0, rings=True)
    site.relay.conditions.cut = True
    sizes = []
    for _ in range(2):
        before = site.relay.up.size
        with pytest.raises(LinkError, match="does not answer"):
            await dialer.dial(Recorder(), silent)
        sizes.append(site.relay.up.size - before)
    assert sizes[0] >= 1200 > 100 > sizes[1], "one whole first packet, then rings: two in 0.8 s"
    site.relay.conditions.cut = False
    dialer._dial_timeout = 10.0  # of a busy machine
    site.links.append(await dialer.dial(Recorder(), silent))
    assert site.links[-1].resumed, "the ticket of a first packet that nobody answered is good still"
