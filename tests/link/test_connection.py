"""Pulling datagrams, and probing through silence, in virtual time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.events import DatagramFrameReceived, HandshakeCompleted, StreamDataReceived
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import SessionTicket

from tests.link.simulated_path import controlled
from twingateway.link.connection import PROBE_INTERVAL
from twingateway.link.tickets import TicketBook

MEGABIT = 125_000


class Source:
    """Offers a datagram that carries its time, at most one per `every` seconds; notes what it is asked for."""

    def __init__(self, every: float, size: int = 60) -> None:
        self.every, self.size = every, size
        self.asked: list[tuple[float, int]] = []
        self.last = -1.0

    def __call__(self, room: int, now: float) -> bytes | None:
        if now - self.last < self.every:
            return None
        self.last = now
        self.asked.append((now, room))
        return struct.pack(">d", now).ljust(min(self.size, room), b".")


def arrivals(simulation) -> list[tuple[float, float]]:
    """(when, how old) of the datagrams that the server received."""
    return [
        (when, when - struct.unpack(">d", event.data[:8])[0])
        for when, end, event in simulation.heard
        if end is simulation.server and isinstance(event, DatagramFrameReceived)
    ]


@pytest.fixture
def simulate(server_files, authority):
    def make(**path):
        simulation = controlled(server_files, authority.file, **{"rate": MEGABIT, **path})
        simulation.run(1)
        return simulation

    return make


def test_room_is_exact(simulate):
    simulation = simulate()
    room = simulation.client.datagram_room
    assert room == 1170
    offered = [bytes(room), bytes(room - 1), b""]
    simulation.client.pull = lambda given, now: offered.pop(0) if offered else None
    simulation.run(2)
    sizes = [len(event.data) for _, _, event in simulation.heard if isinstance(event, DatagramFrameReceived)]
    assert sizes == [room, room - 1, 0]
    simulation.client.send_datagram_frame(bytes(room + 1))
    simulation.run(5)
    assert simulation.client._datagrams_pending, "one byte more is what aioquic never sends"


@pytest.mark.parametrize(
    ("limit", "room"), [(None, 0), (0, 0), (1, 0), (65, 63), (66, 63), (67, 64), (100, 97), (65535, 1170)]
)
def test_room_respects_the_largest_frame_that_the_peer_accepts(simulate, limit, room):
    simulation = simulate()
    simulation.client._remote_max_datagram_frame_size = limit
    assert simulation.client.datagram_room == room


def test_no_datagram_waits_in_the_transport_while_streams_fill_the_path(simulate):
    simulation = simulate()
    simulation.client.send_stream_data(0, bytes(10 * MEGABIT))
    simulation.run(6)
    pending = []
    source = Source(0.01, size=1170)

    def pull(room, now):
        pending.append(len(simulation.client._datagrams_pending))
        return source(room, now)

    simulation.client.pull = pull
    simulation.run(10)
    ages = [age for _, age in arrivals(simulation)]
    assert max(pending) == 0
    assert len(ages) > 200, "datagrams are not starved by streams"
    assert max(ages) < 0.05 + 0.25, "the path's delay, and the queue in the path"


def test_no_stream_passes_a_datagram_that_waits_for_its_turn_though_acknowledgements_are_due(simulate):
    simulation = simulate(delay=0.0005)
    simulation.server.pull = Source(0.005)
    simulation.client.pull = Source(0.0, size=1170)
    simulation.run(2, tick=0.005)
    before = simulation.received[simulation.server]
    simulation.client.send_stream_data(0, bytes(10 * MEGABIT))
    simulation.run(4, tick=0.005)
    passed = simulation.received[simulation.server] - before
    assert passed < 0.05 * 2 * MEGABIT, "what the window has left over is too little for a datagram"


def test_who_acknowledges_much_and_says_little_can_always_say_it(simulate):
    simulation = simulate(delay=0.0005)
    simulation.client.pull = Source(0.004, size=120)
    answered = simulation.server.pull = Source(0.01)
    simulation.client.send_stream_data(0, bytes(10 * MEGABIT))
    simulation.run(5, tick=0.005)
    times = [at for at, _ in answered.asked]
    assert max(after - before for before, after in pairwise([*times, simulation.now])) < 0.1


def test_a_path_has_room_to_spare_unless_something_had_to_wait_for_it_lately(simulate):
    simulation = simulate()
    client = simulation.client
    client.pull = Source(0.004)
    simulation.run(4, tick=0.002)
    assert client.is_roomy(simulation.now)
    client.send_stream_data(0, bytes(4 * MEGABIT))
    simulation.run(6, tick=0.002)
    assert not client.is_roomy(simulation.now)
    simulation.run(12, tick=0.002)
    assert simulation.received[simulation.server] == 4 * MEGABIT
    assert client.is_roomy(simulation.now)


def test_a_path_has_no_room_to_spare_for_who_sends_all_that_it_takes(simulate):
    simulation = simulate(loss=0.05)
    simulation.client.pull = Source(0.001, size=300)
    simulation.run(3, tick=0.002)
    times = [4 + 0.1 * step for step in range(60)]
    roomy = []
    for at in times:
        simulation.run(at, tick=0.002)
        roomy.append(simulation.client.is_roomy(simulation.now))
    assert sum(roomy) < 0.1 * len(roomy)


@pytest.mark.parametrize(("every", "outage"), [(0.05, 0.5), (0.05, 5.0), (0.05, 30.0), (0.0, 5.0)])
def test_after_an_outage_the_first_datagram_arrives_at_once_and_fresh(simulate, every, outage):
    simulation = simulate()
    source = simulation.client.pull = Source(every)
    simulation.server.pull = Source(0.05)
    simulation.run(5, tick=0.01)
    asked_before = len(source.asked)
    simulation.forth.down = simulation.back.down = True
    back = 5 + outage
    simulation.run(back, tick=0.01)
    simulation.forth.down = simulation.back.down = False
    simulation.run(back + 3, tick=0.01)
    when, _ = next(arrival for arrival in arrivals(simulation) if arrival[0] > back)
    assert when - back < 0.2
    assert max(age for at, age in arrivals(simulation) if at > back) < 0.05 + 0.2
    silent = [room for at, room in source.asked[asked_before:] if 5.5 < at < back]
    assert len(silent) <= 1.2 * outage / PROBE_INTERVAL + 2


def test_stream_data_written_before_an_outage_arrives_soon_after_it_without_datagrams(simulate):
    simulation = simulate()
    simulation.forth.down = simulation.back.down = True
    simulation.client.send_stream_data(0, b"alarm")
    simulation.run(31)
    assert simulation.received[simulation.server] == 0
    simulation.forth.down = simulation.back.down = False
    simulation.run(32.2)
    assert simulation.received[simulation.server] == 5


def test_a_link_that_hears_nothing_for_a_minute_ends(simulate):
    simulation = simulate()
    simulation.client.send_stream_data(0, b"hello")
    simulation.forth.down = simulation.back.down = True
    simulation.run(55)
    assert not simulation.client.is_closing
    simulation.run(65)
    assert simulation.client.is_closing


def packet_kinds(data: bytes) -> Iterator[QuicPacketType]:
    """The packets in one UDP payload."""
    buffer = Buffer(data=data)
    while not buffer.eof():
        start = buffer.tell()
        try:
            header = pull_quic_header(buffer, host_cid_length=8)
        except ValueError:  # padding
            return
        yield header.packet_type
        buffer.seek(start + header.packet_length)


@pytest.mark.parametrize("hostile", [False, True])
def test_early_data_is_neither_offered_nor_accepted_whatever_a_ticket_says(server_files, authority, hostile):
    book = TicketBook()
    kept: list[SessionTicket] = []
    first = controlled(server_files, authority.file, rate=MEGABIT, tickets=book, keep=kept.append)
    first.run(1)
    assert kept[0].max_early_data_size is None

    kept[0].max_early_data_size = 0xFFFFFFFF  # as a client would that ignores what the server said
    again = controlled(server_files, authority.file, rate=MEGABIT, tickets=book, ticket=kept[0], hostile=hostile)
    again.client.send_stream_data(0, b"early")
    again.run(3)
    at_server = [event for _, end, event in again.heard if end is again.server]
    done = next(event for event in at_server if isinstance(event, HandshakeCompleted))
    data = next(event for event in at_server if isinstance(event, StreamDataReceived))
    assert done.session_resumed
    assert not done.early_data_accepted
    assert at_server.index(done) < at_server.index(data)
    sent = {kind for data in again.sent_by_client for kind in packet_kinds(data)}
    assert (QuicPacketType.ZERO_RTT in sent) is hostile


def test_a_ticket_works_once(server_files, authority):
    book = TicketBook()
    kept: list[SessionTicket] = []
    controlled(server_files, authority.file, rate=MEGABIT, tickets=book, keep=kept.append).run(1)
    resumed = []
    for _ in range(2):
        simulation = controlled(server_files, authority.file, rate=MEGABIT, tickets=book, ticket=kept[0])
        simulation.run(1)
        resumed += [e.session_resumed for _, end, e in simulation.heard if isinstance(e, HandshakeCompleted)]
    assert resumed == [True, True, False, False]
