"""What passes before a handshake is complete, in virtual time: datagrams of those who were judged, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aioquic.quic.connection import MAX_EARLY_DATA
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted
from aioquic.tls import SessionTicket

from tests.link.simulated_path import CLIENT, Simulation, controlled
from twingateway.link.early import FLIGHT, MOST, EarlyDatagram
from twingateway.link.tickets import TicketBook

MEGABIT = 125_000
HOLDER = b"edge-1"


@dataclass
class Source:
    """A client's: what it was asked for, and numbered answers."""

    asked: list[tuple[float, list[int]]] = field(default_factory=list)
    made: int = 0

    def __call__(self, rooms: Sequence[int], now: float) -> list[bytes]:
        self.asked.append((now, list(rooms)))
        answers = [b"%d at %.2f" % (self.made + number, now) for number in range(len(rooms))]
        self.made += len(rooms)
        return answers


@dataclass
class Gate:
    """A server's: who was judged, and what came from them."""

    open: bool = True
    judged: list[bytes] = field(default_factory=list)

    def __call__(self, holder: bytes) -> Any:
        self.judged.append(holder)
        return (lambda data: None) if self.open else None


@dataclass
class Pair:
    """What two ends remember from one connection to the next."""

    files: Any
    ca_file: Any
    book: TicketBook = field(default_factory=TicketBook)
    kept: list[SessionTicket] = field(default_factory=list)
    gate: Gate | None = field(default_factory=Gate)
    holder: bytes | None = HOLDER
    source: Source = field(default_factory=Source)

    def connection(self, ticket: SessionTicket | None, **options: Any) -> Simulation:
        return controlled(
            self.files,
            self.ca_file,
            rate=MEGABIT,
            tickets=self.book,
            keep=self.kept.append,
            ticket=ticket,
            early=self.source,
            gate=self.gate,
            holder=self.holder,
            **options,
        )

    def again(self, **options: Any) -> Simulation:
        """A second connection, with the ticket of a first one."""
        self.connection(None).run(1)
        assert not self.source.asked, "without a ticket nothing can be early"
        return self.connection(self.kept[-1], **options)


@pytest.fixture
def pair(server_files, authority) -> Pair:
    return Pair(server_files, authority.file)


def at_server(simulation: Simulation) -> list[Any]:
    return [event for _, end, event in simulation.heard if end is simulation.server]


def early(simulation: Simulation) -> list[bytes]:
    return [event.data for event in at_server(simulation) if isinstance(event, EarlyDatagram)]


def test_datagrams_arrive_with_the_first_flight_before_the_handshake_is_complete(pair):
    simulation = pair.again()
    simulation.run(2)
    events = at_server(simulation)
    kinds = [type(event) for event in events if isinstance(event, EarlyDatagram | HandshakeCompleted)]
    assert kinds == [EarlyDatagram] * FLIGHT + [HandshakeCompleted]
    assert early(simulation) == [b"%d at 0.00" % number for number in range(FLIGHT)]
    assert pair.gate.judged == [HOLDER]
    first = next(when for when, _, event in simulation.heard if isinstance(event, EarlyDatagram))
    assert first < 0.1, "half a round trip"
    assert not simulation.client._datagrams_pending


def test_the_first_datagram_takes_room_that_would_be_padding_and_all_rooms_are_exact(pair):
    class Filling(Source):
        def __call__(self, rooms: Sequence[int], now: float) -> list[bytes]:
            super().__call__(rooms, now)
            return [bytes(room) for room in rooms]

    pair.source = Filling()
    simulation = pair.again()
    simulation.run(2)
    ((_, rooms),) = pair.source.asked
    assert [len(data) for data in early(simulation)] == rooms
    assert len(rooms) == FLIGHT
    flight = simulation.sent_by_client[:FLIGHT]
    assert all(1190 < len(packet) <= 1200 for packet in flight), "as many packets as datagrams"


def test_a_first_packet_that_is_sent_again_brings_what_is_newest_then(pair):
    simulation = pair.again()
    simulation.forth.down = True
    simulation.run(5)
    simulation.forth.down = False
    simulation.run(8)
    times = [at for at, _ in pair.source.asked]
    assert len(times) > 3
    assert times == sorted(set(times))
    assert all(len(rooms) == 1 for _, rooms in pair.source.asked[1:]), "one a packet, instead of padding"
    heard = early(simulation)
    assert heard
    assert all(float(data.split(b" at ")[1]) > 4.5 for data in heard), "nothing from the outage is delivered"


@pytest.mark.parametrize("lacking", ["gate", "proof", "permission"])
def test_without_all_that_it_takes_the_handshake_is_an_ordinary_one(pair, lacking):
    if lacking == "gate":
        pair.gate = None
    elif lacking == "proof":
        pair.holder = None
    else:
        pair.gate.open = False
    pair.connection(None).run(1)
    ticket = replace(pair.kept[-1], max_early_data_size=MAX_EARLY_DATA)  # whatever the server said
    simulation = pair.connection(ticket)
    simulation.client.send_stream_data(0, b"later")
    simulation.run(3)
    done = next(event for event in at_server(simulation) if isinstance(event, HandshakeCompleted))
    assert pair.source.asked, "the client tried"
    assert early(simulation) == []
    assert not done.early_data_accepted
    assert done.session_resumed
    assert simulation.received[simulation.server] == 5


def test_a_stream_in_early_data_ends_the_connection(pair):
    simulation = pair.again(hostile=True)
    simulation.client.send_stream_data(0, b"CONNECT")
    simulation.run(3)
    ended = [event for event in at_server(simulation) if isinstance(event, ConnectionTerminated)]
    assert [event.reason_phrase for event in ended] == ["early data is for datagrams only"]
    assert simulation.received[simulation.server] == 0


def test_only_so_many_early_datagrams_are_taken(pair):
    simulation = pair.again(hostile=True)
    for number in range(3 * MOST):
        simulation.client.send_datagram_frame(b"%d" % number)
    simulation.run(3)
    assert len(early(simulation)) == MOST


def test_a_flight_that_is_sent_again_finds_its_ticket_used(pair, server_files, authority):
    simulation = pair.again()
    simulation.run(2)
    flight = simulation.sent_by_client[:FLIGHT]
    judged = len(pair.gate.judged)
    for address in (CLIENT, ("198.51.100.7", 4000)):
        replay = pair.connection(None)
        heard = len(replay.heard)
        server = replay.server
        for packet in flight:
            server.receive_datagram(packet, address, now=0.0)
        events = []
        while (event := server.next_event()) is not None:
            events.append(event)
        assert heard == 0
        assert not any(isinstance(event, EarlyDatagram | HandshakeCompleted) for event in events)
        assert sum(len(data) for data, _ in server.datagrams_to_send(now=0.0)) <= 3 * sum(map(len, flight))
    assert len(pair.gate.judged) == judged, "nobody is even asked"
