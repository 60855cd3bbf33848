"""Links over real UDP sockets on the loopback, through a relay that plays a bad network."""

from __future__ import annotations

import asyncio
import struct

import pytest

from tests.link.recorder import Recorder
from twingateway.demo.relay import Conditions
from twingateway.errors import LinkError, NotAuthorized
from twingateway.link import quic_link
from twingateway.link.server_identity import ServerIdentity
from twingateway.ports.link import CONTROL_STREAM

pytestmark = pytest.mark.hurried


def write_hello(link) -> None:
    link.write(link.open_stream(), b"hello")


async def test_streams_and_datagrams_pass_both_ways_and_both_ends_know_the_same_certificate(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams.get(CONTROL_STREAM) == b"hello")
    server.link.write(CONTROL_STREAM, b"welcome")
    await client.until(lambda: client.streams.get(CONTROL_STREAM) == b"welcome")
    for sender, receiver in ((client, server), (server, client)):
        sender.offered = [b"one", bytes(sender.link.datagram_room)]
        sender.link.wake()
        await receiver.until(lambda receiver=receiver: len(receiver.datagrams) == 2)
        assert [len(data) for _, data in receiver.datagrams] == [3, sender.link.datagram_room]
    assert client.link.datagram_room >= 1150
    assert client.link.server_certificate == server.link.server_certificate != b""
    facts = client.link.facts()
    assert facts.transport == "quic"
    assert facts.smoothed_rtt > 0
    assert facts.bytes_sent > 0 < facts.bytes_received


async def test_the_handler_is_never_called_from_inside_a_method_and_hears_nothing_after_closed(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams)
    before = len(client.rooms)
    client.link.write(CONTROL_STREAM, b"x")
    client.link.wake()
    client.link.wake(0.0)
    client.link.close()
    assert (len(client.rooms), client.timers, client.closings) == (before, [], [])
    await client.until(lambda: client.closings)
    heard = (len(client.rooms), len(client.timers))
    client.link.write(CONTROL_STREAM, b"x")
    client.link.wake()
    client.link.wake(0.0)
    client.link.close()
    assert client.link.unsent(CONTROL_STREAM) == 0
    assert client.link.datagram_room == 0
    await asyncio.sleep(0.05)
    assert (len(client.rooms), len(client.timers)) == heard
    assert client.closings == [None]


async def test_the_earliest_time_asked_for_wins_and_comes_once(make_site):
    site = await make_site()
    client, _ = await site.dial()
    start = asyncio.get_running_loop().time()
    for after in (0.2, 0.05, 0.3):
        client.link.wake(start + after)
    await client.until(lambda: client.timers)
    assert start + 0.05 <= client.timers[0] < start + 0.2
    await asyncio.sleep(0.2)
    assert len(client.timers) == 1


async def test_a_datagram_larger_than_the_room_ends_the_link(make_site):
    site = await make_site()
    client, server = await site.dial()
    client.source = lambda room, now: bytes(room + 1)
    client.link.wake()
    await client.until(lambda: client.closings)
    assert "where 1170 fit" in client.closings[0].message
    await server.until(lambda: server.closings)
    assert server.datagrams == []


async def test_close_waits_until_everything_is_acknowledged(make_site):
    site = await make_site(Conditions(delay=0.02, loss=0.1))
    client, server = await site.dial(Recorder(on_connected=write_hello))
    client.link.write(CONTROL_STREAM, bytes(100_000))
    assert client.link.unsent(CONTROL_STREAM) >= 100_000
    client.link.close()
    await client.until(lambda: client.closings)
    await server.until(lambda: server.closings)
    assert len(server.streams[CONTROL_STREAM]) == 100_005
    assert client.closings == server.closings == [None]


async def test_close_gives_up_waiting_on_a_cut_path(make_site, monkeypatch):
    monkeypatch.setattr(quic_link, "CLOSE_PATIENCE", 0.3)
    site = await make_site()
    client, _ = await site.dial(Recorder(on_connected=write_hello))
    site.relay.conditions.cut = True
    client.link.write(CONTROL_STREAM, b"never")
    start = asyncio.get_running_loop().time()
    client.link.close()
    await client.until(lambda: client.closings)
    assert asyncio.get_running_loop().time() - start > 0.29
    assert client.closings == [None]


@pytest.mark.parametrize("call", ["connected", "stream_data", "datagram", "next_datagram", "timer"])
async def test_a_handler_that_raises_loses_its_own_link_and_no_other(make_site, call):
    def broken(*arguments):
        raise RuntimeError("bug")

    made = []

    def make_server() -> Recorder:
        made.append(Recorder())
        if len(made) == 2:
            setattr(made[-1], call, broken)
        return made[-1]

    site = await make_site(server=make_server)
    well, well_server = await site.dial(Recorder(on_connected=write_hello))
    ill, ill_server = await site.dial(Recorder(on_connected=write_hello))
    ill.offered = [b"x"]
    ill.link.wake()
    if ill_server.link is not None:
        ill_server.link.wake(0.0)
    await ill.until(lambda: ill.closings)
    assert isinstance(ill.closings[0], LinkError)
    await ill_server.until(lambda: ill_server.closings)
    assert call in ill_server.closings[0].message
    well.link.write(CONTROL_STREAM, b" again")
    await well_server.until(lambda: well_server.streams[CONTROL_STREAM] == b"hello again")
    assert not well.closings


@pytest.mark.parametrize("method", ["receive_datagram", "datagrams_to_send", "handle_timer", "next_event"])
async def test_an_exception_of_the_quic_library_ends_that_link_only(make_site, monkeypatch, method):
    site = await make_site()
    well, well_server = await site.dial(Recorder(on_connected=write_hello))
    ill, _ = await site.dial(Recorder(on_connected=write_hello))
    calls = []

    def fail(*arguments, **options):
        calls.append(method)
        raise AssertionError("bug in the library")

    monkeypatch.setattr(ill.link.connection, method, fail)
    site.relay.conditions.cut = method == "handle_timer"  # what is acknowledged needs no timer
    ill.link.write(CONTROL_STREAM, b"x")
    await ill.until(lambda: ill.closings)
    site.relay.conditions.cut = False
    assert "bug in the library" in ill.closings[0].message
    well.link.write(CONTROL_STREAM, b" again")
    await well_server.until(lambda: well_server.streams[CONTROL_STREAM] == b"hello again")
    await asyncio.sleep(0.05)
    assert len(calls) == 1, "the broken connection is left alone"


async def test_a_reset_of_the_control_stream_ends_the_link_and_of_another_only_that(make_site):
    site = await make_site()

    def open_two(link):
        link.write(link.open_stream(), b"control")
        link.write(link.open_stream(), b"data")

    client, server = await site.dial(Recorder(on_connected=open_two))
    await server.until(lambda: len(server.streams) == 2)
    client.link.connection.reset_stream(4, 0)
    client.link.wake()
    await server.until(lambda: 4 in server.ended)
    client.link.connection.stop_stream(4, 0)
    client.link.wake()
    await asyncio.sleep(0.05)
    server.link.write(4, b"to nobody")  # raises inside aioquic
    server.link.write(CONTROL_STREAM, b"still here")
    await client.until(lambda: client.streams.get(CONTROL_STREAM) == b"still here")
    client.link.connection.reset_stream(CONTROL_STREAM, 0)
    client.link.wake()
    await server.until(lambda: server.closings)
    assert "control stream" in server.closings[0].message


class Beacon:
    """Offers a datagram that carries its time, one each 20 ms."""

    def __init__(self) -> None:
        self.last = 0.0
        self.number = 0

    def __call__(self, room: int, now: float) -> bytes | None:
        if now - self.last < 0.02:
            return None
        self.last, self.number = now, self.number + 1
        return struct.pack(">d", now)


async def keep_waking(end: Recorder) -> None:
    while not end.closings:
        end.link.wake()
        await asyncio.sleep(0.02)


async def test_after_a_blackout_fresh_datagrams_pass_at_once_on_the_same_link(make_site):
    site = await make_site(Conditions(delay=0.02))
    client, server = await site.dial(Recorder(source=Beacon(), on_connected=write_hello))
    waking = asyncio.create_task(keep_waking(client))
    await server.until(lambda: len(server.datagrams) > 5)
    client.link.write(CONTROL_STREAM, bytes(50_000))
    site.relay.conditions.cut = True
    await asyncio.sleep(1.5)
    server.datagrams.clear()
    site.relay.conditions.cut = False
    back = asyncio.get_running_loop().time()
    await server.until(lambda: server.datagrams)
    when, data = server.datagrams[0]
    assert struct.unpack(">d", data)[0] > back - 0.1, "what was sent is new"
    assert when - back < 0.4
    await server.until(lambda: len(server.streams[CONTROL_STREAM]) == 50_005)
    assert not client.closings
    waking.cancel()


async def test_a_link_survives_a_new_address_of_the_client(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams)
    before = server.link.facts().peer_address
    for number in range(3):
        site.relay.rebind()
        client.link.write(CONTROL_STREAM, b"%d" % number)
        await server.until(lambda number=number: server.streams[CONTROL_STREAM].endswith(b"%d" % number))
        server.link.write(CONTROL_STREAM, b"%d" % number)
        await client.until(lambda number=number: client.streams[CONTROL_STREAM].endswith(b"%d" % number))
    assert server.link.facts().peer_address != before
    assert len(site.servers) == 1
    assert not client.closings


async def test_an_idle_link_stays_up_by_its_keep_alive_and_a_dead_path_ends_it(make_site):
    site = await make_site(idle_timeout=0.8)
    client, server = await site.dial(keep_alive=0.2, idle_timeout=0.8)
    await asyncio.sleep(1.5)
    assert not client.closings
    assert not server.closings
    site.relay.conditions.cut = True
    await client.until(lambda: client.closings)
    await server.until(lambda: server.closings)
    for end in (client, server):
        assert "has not been heard of" in end.closings[0].message


async def test_on_a_path_that_loses_and_reorders_streams_are_whole(make_site):
    site = await make_site(Conditions(delay=0.01, jitter=0.02, loss=0.2), seed=7)
    client, server = await site.dial(Recorder(on_connected=write_hello), dial_timeout=20)
    text = bytes(range(256)) * 200
    client.link.write(CONTROL_STREAM, text)
    await server.until(lambda: len(server.streams.get(CONTROL_STREAM, b"")) == 5 + len(text), timeout=20)
    assert server.streams[CONTROL_STREAM] == b"hello" + text
    assert client.link.facts().packets_lost > 0


# --- dialling -----------------------------------------------------------------------------------------------------


async def refused(site, **options) -> LinkError:
    client = Recorder()
    with pytest.raises(LinkError) as caught:
        await site.dial(client, **options)
    assert client.connected_at is None
    assert client.closings == []
    return caught.value


async def test_a_server_of_another_authority_is_refused(make_site, tmp_path):
    from tests.link.authority import Authority

    site = await make_site()
    error = await refused(site, ca_file=Authority(tmp_path, "stranger").file)
    assert isinstance(error, NotAuthorized)
    assert "does not verify" in error.message
    assert "identity.ca" in error.message, "where the right one has to be"
    error = await refused(site, ca_file=None)
    assert isinstance(error, NotAuthorized), "the system's authorities do not know ours either"


async def test_a_failed_dial_is_told_by_its_error_alone(make_site, tmp_path, caplog):
    from tests.link.authority import Authority

    site = await make_site()
    await refused(site, ca_file=Authority(tmp_path, "stranger").file)
    assert caplog.records == [], "the library has nothing to add"


async def test_a_certificate_for_another_name_is_refused(make_site):
    site = await make_site()
    for name in ("cloud.example", "192.0.2.1"):
        error = await refused(site, server_name=name)
        assert isinstance(error, NotAuthorized)
        assert f"it is not for '{name}'; issue it with `pki issue … --host {name}`" in error.message


async def test_an_expired_certificate_is_refused(make_site, authority):
    from twingateway.link.quic_client import QuicDialer
    from twingateway.link.quic_server import listen_quic

    certificate, key = authority.issue("expired", days=-1)
    listener = await listen_quic("127.0.0.1", 0, identity=ServerIdentity(certificate, key), make_handler=Recorder)
    with pytest.raises(NotAuthorized, match="no longer valid"):
        await QuicDialer(*listener.address, ca_file=authority.file).dial(Recorder())
    await listener.close()


async def test_a_server_that_does_not_answer_is_an_error_in_time(make_site):
    site = await make_site()
    site.relay.conditions.cut = True
    error = await refused(site, dial_timeout=0.3)
    assert "does not answer" in error.message
    assert not isinstance(error, NotAuthorized)


async def test_names_are_resolved_at_each_dial_and_all_their_addresses_are_tried(make_site, monkeypatch):
    from twingateway.link import quic_client

    site = await make_site()
    host, port = site.listener.address
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo
    asked = []

    async def names(name, service, **options):
        asked.append(name)
        dead = await resolve("127.0.0.1", 9, **options)
        return dead + await resolve(host, service, **options)

    monkeypatch.setattr(loop, "getaddrinfo", names)
    monkeypatch.setattr(quic_client, "ATTEMPT_TIMEOUT", 0.2)
    dialer = quic_client.QuicDialer("localhost", port, ca_file=site.authority.file)
    for count in (1, 2):
        link = await dialer.dial(Recorder())
        link.close()
        assert asked == ["localhost"] * count
    missing = quic_client.QuicDialer("no-such-host.invalid", port, ca_file=site.authority.file)
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    with pytest.raises(LinkError, match="cannot be resolved"):
        await missing.dial(Recorder())


async def test_a_parent_that_was_met_is_met_again_while_its_name_cannot_be_resolved(make_site, monkeypatch):
    from twingateway.link import quic_client

    site = await make_site()
    loop = asyncio.get_running_loop()

    async def fail(*_: object, **__: object) -> None:
        raise OSError("no name server")

    dialer = quic_client.QuicDialer("localhost", site.listener.address[1], ca_file=site.authority.file)
    site.links.append(await dialer.dial(Recorder()))
    monkeypatch.setattr(loop, "getaddrinfo", fail)
    site.links.append(await dialer.dial(Recorder()))


async def test_unreadable_trust_is_a_link_error(make_site, tmp_path):
    site = await make_site()
    broken = tmp_path / "ca.pem"
    assert "cannot be read" in (await refused(site, ca_file=broken)).message
    broken.write_text("not PEM")
    assert "cannot be read" in (await refused(site, ca_file=broken)).message


async def test_a_second_dial_resumes_with_the_certificate_known_from_the_first(make_site, tmp_path):
    from twingateway.link.tickets import TicketStore

    site = await make_site()
    resumed, certificates = [], set()
    for _ in range(3):
        client, server = await site.dial(tickets=TicketStore(tmp_path / "tickets.json"))
        client.link.write(client.link.open_stream(), b"hello")
        await server.until(lambda server=server: server.streams)
        server.link.write(CONTROL_STREAM, b"hello")
        await client.until(lambda client=client: client.streams)
        resumed.append(client.link.resumed)
        certificates.add(client.link.server_certificate)
        client.link.close()
        await client.until(lambda client=client: client.closings)
    assert resumed == [False, True, True]
    assert len(certificates) == 1


async def test_a_ticket_is_kept_for_another_time_if_nobody_answered(make_site, tmp_path):
    from twingateway.link.tickets import TicketStore

    site = await make_site()
    tickets = TicketStore(tmp_path / "tickets.json")
    client, _ = await site.dial(tickets=tickets)
    client.link.write(client.link.open_stream(), b"hello")
    while not tickets._read():
        await asyncio.sleep(0.005)
    site.relay.conditions.cut = True
    await refused(site, tickets=tickets, dial_timeout=0.3)
    site.relay.conditions.cut = False
    again, _ = await site.dial(tickets=tickets)
    assert again.link.resumed


async def test_ipv6(authority, server_files):
    from twingateway.link.quic_client import QuicDialer
    from twingateway.link.quic_server import listen_quic

    servers = []

    def make() -> Recorder:
        servers.append(Recorder())
        return servers[-1]

    certificate, key = server_files
    try:
        listener = await listen_quic("::1", 0, identity=ServerIdentity(certificate, key), make_handler=make)
    except LinkError:
        pytest.skip("this machine has no IPv6")
    client = Recorder()
    dialer = QuicDialer("::1", listener.address[1], ca_file=authority.file, server_name="localhost")
    link = await dialer.dial(client)
    write_hello(link)
    await servers[0].until(lambda: servers[0].streams)
    assert link.facts().peer_address.startswith("[::1]:")
    link.close()
    await client.until(lambda: client.closings)
    await listener.close()
