"""Values ahead of the handshake (0-RTT), over real sockets between whole gateways: what they may do, and that a first
flight which somebody recorded does nothing the second time."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.link.authority import Authority
from twingateway.demo.relay import Relay
from twingateway.errors import NotAuthorized
from twingateway.gateway.peering.acceptor import Acceptor
from twingateway.gateway.peering.dialling import Parent
from twingateway.gateway.peering.uplink import Uplink, UplinkCarrier
from twingateway.link import door, quic_link, quic_server
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_link import QuicLink
from twingateway.link.quic_server import QuicListener, listen_quic
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tickets import TicketStore
from twingateway.mqtt.lanes import STATE_TOPIC, wrap
from twingateway.testing.joined import FakeMachine, MemoryNode, NamedCredential, NamedVerifier, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

pytestmark = pytest.mark.hurried

PUMP = DeviceId("default", "pump")


class Tap(Relay):
    """A relay that can stop either direction, and remembers what clients send while it records."""

    to_server = to_client = True
    record: list[bytes] | None = None

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.record is not None:
            self.record.append(data)
        if self.to_server:
            super().datagram_received(data, addr)

    def pass_down(self, data: bytes, client: Any) -> None:
        if self.to_client:
            super().pass_down(data, client)

    def replay(self, flight: list[bytes]) -> None:
        """From the address that the client has towards the server."""
        for opened in self._upstreams.values():
            for data in flight:
                opened.result().sendto(data, self._server)


class Edge(MemoryNode):
    parents: tuple[Parent, ...] = ()

    def _uplink(self, gateway: Any, parent: Any) -> Uplink:
        parts = gateway.peers, gateway.inbound, gateway.ledger, gateway.sessions
        return Uplink(self.parents, NamedCredential(self.name), 15.0, *parts, random.random)


@dataclass
class Site:
    cloud: MemoryNode
    edge: Edge
    tap: Tap
    listener: QuicListener
    acceptor: Acceptor
    tickets: Path
    judged: list[bytes]

    @property
    def child(self) -> Any:
        return next(iter(self.cloud.gateway.peers))

    @property
    def flow(self) -> object:
        return self.cloud.gateway.table.value(PUMP, Section.REPORTED, "flow")

    @property
    def settled(self) -> bool:
        """Linked, everything sent, and a ticket for the next time in hand."""
        parent = self.edge.gateway.peers.parent
        if parent is None or parent.line is None or not self.child.lines:
            return False
        told = self.child.session.known.low == parent.session.last_lsn
        return told and not parent.session.outbox and self.has_ticket

    @property
    def has_ticket(self) -> bool:
        return self.tickets.exists() and len(self.tickets.read_text()) > 2

    def say(self, value: int) -> None:
        self.edge.machines["pump"].say(flow=value)

    async def part(self) -> None:
        """The parent closes the link."""
        for link in list(self.listener._links):
            link.close()
        await until(lambda: not self.child.lines)

    def state(self) -> tuple[object, ...]:
        """Everything at the cloud that a first flight might change."""
        gateway = self.cloud.gateway
        registers = sorted(
            (str(stored.register.key), stored.register.version, stored.lsn) for stored in gateway.table.registers()
        )
        return registers, self.child.links, self.child.session.known, gateway.queries.presence(PUMP).state


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_link, "CLOSE_PATIENCE", 0.2)
    monkeypatch.setattr(door, "AFTERGLOW", 0.1)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path) as whole:
        yield whole


@asynccontextmanager
async def running(folder: Path, *, early_data: bool = True) -> AsyncIterator[Site]:
    authority = Authority(folder, "root")
    cloud, edge = MemoryNode("cloud"), Edge("edge")
    pump = edge.machines["pump"] = FakeMachine({"flow": 0, "speed": 0}, frozenset({"speed"}))
    judged: list[bytes] = []
    async with cloud.running():
        acceptor = cloud.listener._make_handler.__self__
        assert isinstance(acceptor, Acceptor)

        def gate(holder: bytes) -> Any:
            judged.append(holder)
            return acceptor.early_gate(holder)

        listener = await listen_quic(
            "127.0.0.1",
            0,
            identity=ServerIdentity(*authority.issue("cloud")),
            make_handler=acceptor.carrier,
            handshake_timeout=1.0,
            early_gate=gate,
        )
        tap = await Tap.start(listener.address)
        tickets = folder / "tickets.json"
        dialer = QuicDialer(
            *tap.address,
            ca_file=authority.file,
            tickets=TicketStore(tickets),
            early_data=early_data,
            dial_timeout=2.0,
        )
        edge.parents = (Parent("quic://cloud", (dialer,)),)
        try:
            async with edge.running(cloud):
                whole = Site(cloud, edge, tap, listener, acceptor, tickets, judged)
                await until(lambda: edge.gateway.peers.parent is not None and list(cloud.gateway.peers))
                await until(lambda: whole.flow == 0 and whole.settled)
                yield whole
                pump.port = None
        finally:
            tap.close()
            await listener.close()


async def test_a_value_is_there_before_the_handshake_can_be_and_nothing_else_has_changed(site: Site) -> None:
    links = site.child.links
    site.tap.to_client = False
    await site.part()
    await until(lambda: site.state()[3] == "unreachable")
    site.say(2)
    await until(lambda: site.flow == 2)
    assert not site.child.lines, "no handshake, no CONNECT, no session"
    assert site.child.links == links
    assert site.state()[3] == "unreachable"
    parent = site.edge.gateway.peers.parent
    assert parent is not None
    assert parent.session.outbox, "nothing was acknowledged"
    site.tap.to_client = True
    await until(lambda: site.settled, 10)
    await until(lambda: site.state()[3] == "online")
    site.say(3)
    await until(lambda: site.flow == 3)


async def recorded(site: Site) -> list[bytes]:
    """The packets by which the edge made a link with early data."""
    site.tap.to_client = False
    await site.part()
    flight = site.tap.record = []
    site.say(2)
    await until(lambda: site.flow == 2)
    site.tap.record = None
    site.tap.to_client = True
    await until(lambda: site.settled, 10)
    site.say(3)
    await until(lambda: site.flow == 3 and site.settled)
    return flight


def send_from_elsewhere(site: Site, flight: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for data in flight:
            stranger.sendto(data, site.listener.address)


async def changes_nothing(site: Site, send: Callable[[list[bytes]], None], flight: list[bytes]) -> None:
    before, judged, connections = site.state(), len(site.judged), site.listener.connections
    tickets = len(site.listener._tickets._tickets)
    for _ in range(4):
        send(flight)
    await asyncio.sleep(0.2)
    assert site.state() == before
    assert len(site.judged) == judged, "the ticket was used: nobody is even asked"
    assert site.listener.connections <= connections + 1, "one handshake that leads nowhere, however often"
    assert len(site.listener._tickets._tickets) == tickets
    await until(lambda: site.listener.connections == connections, 5)


async def test_a_flight_that_is_replayed_changes_nothing_while_the_link_lives(site: Site) -> None:
    flight = await recorded(site)
    line = site.child.line
    await changes_nothing(site, site.tap.replay, flight)
    await changes_nothing(site, lambda packets: send_from_elsewhere(site, packets), flight)
    site.say(4)
    await until(lambda: site.flow == 4)
    assert site.child.line is line, "no session was taken over"


async def test_a_flight_that_is_replayed_changes_nothing_when_the_link_is_gone(site: Site) -> None:
    flight = await recorded(site)
    site.tap.to_server = False
    await site.part()
    await until(lambda: site.listener.connections == 0, 5)
    await changes_nothing(site, site.tap.replay, flight)
    await changes_nothing(site, lambda packets: send_from_elsewhere(site, packets), flight)


async def test_a_flight_that_somebody_held_back_and_sends_later_is_too_old_to_matter(site: Site) -> None:
    site.tap.to_server = False
    await site.part()
    flight = site.tap.record = []
    site.say(2)
    await until(lambda: len(flight) >= 2)
    site.tap.record = None
    await until(lambda: site.has_ticket, 10)
    site.tickets.unlink()  # else the edge uses up the ticket itself
    site.tap.to_server = True
    await until(lambda: site.settled, 10)
    site.say(3)
    await until(lambda: site.flow == 3 and site.settled)
    before, judged, line = site.state(), len(site.judged), site.child.line
    send_from_elsewhere(site, flight)
    await until(lambda: len(site.judged) > judged)
    await asyncio.sleep(0.1)
    assert site.state() == before
    assert site.child.line is line


async def test_a_server_under_load_asks_for_the_address_first_and_takes_early_data_then(
    site: Site, monkeypatch
) -> None:
    monkeypatch.setattr(quic_server, "RETRY_FROM", 0)
    taken: list[bytes] = []
    take = site.acceptor._take_early
    monkeypatch.setattr(site.acceptor, "_take_early", lambda peer, data: (taken.append(data), take(peer, data)))
    await site.part()
    site.say(2)
    await until(lambda: site.flow == 2 and site.settled, 10)
    assert len(site.judged) == 1
    assert taken
    site.tap.to_client = False
    await site.part()
    flight = site.tap.record = []
    site.say(3)
    await until(lambda: sum(packet[0] >= 0xC0 for packet in flight) >= 3, 10)  # packets with long headers
    await asyncio.sleep(0.1)
    assert site.flow == 2, "whoever does not receive at its address gets nowhere"


@pytest.mark.parametrize("why", ["not wanted any more", "revoked or expired", "certificate changed"])
async def test_who_would_not_be_let_in_reports_nothing_early(site: Site, monkeypatch, why: str) -> None:
    if why == "not wanted any more":
        site.acceptor._allowed = frozenset({"somebody-else"})
    elif why == "revoked or expired":

        def refuse(*arguments: Any) -> Any:
            raise NotAuthorized("the certificate was revoked")

        monkeypatch.setattr(NamedVerifier, "verify", refuse)
    else:
        site.listener._tickets = type(site.listener._tickets)()  # what a new certificate of the server does
    site.tap.to_client = False
    await site.part()
    site.say(2)
    if why == "certificate changed":
        await until(lambda: site.listener.connections == 1)
    else:
        await until(lambda: site.judged)
    await asyncio.sleep(0.2)
    assert site.flow == 0
    assert len(site.judged) == (why != "certificate changed")


async def test_a_violation_in_early_data_ends_that_connection_only(site: Site, monkeypatch) -> None:
    told: list[str] = []
    abort = QuicLink.abort
    monkeypatch.setattr(QuicLink, "abort", lambda link, error: (told.append(error.message), abort(link, error)))
    monkeypatch.setattr(UplinkCarrier, "early_datagrams", lambda self, rooms, now: [wrap(STATE_TOPIC, b"\x80")])
    await site.part()
    await until(lambda: told, 10)
    assert told[0] == "early data: '$tg/s' does not go ahead of the handshake"
    site.say(5)
    await until(lambda: site.flow == 5, 10)
