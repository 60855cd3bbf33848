"""When the first packet is sent again, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aioquic.quic.events import HandshakeCompleted

from tests.link.simulated_path import Simulation, controlled
from twingateway.link import doorbell
from twingateway.link.knocking import RING_EVERY
from twingateway.ports.link import Knocking

OFTEN = Knocking(every=0.07, begin=2.0, end=4.0)
#: The time of asking often is over, and the last first packet not long ago.
LONG_SILENT = {"knocking": Knocking(every=0.07, begin=-90.0, end=0.0, rings=True), "unasked_at": 45.0}


@pytest.fixture
def blocked(server_files, authority) -> Callable[..., Simulation]:
    """A client that knocks at a path on which nothing passes."""

    def make(knocking: Knocking | None = None, **path: Any) -> Simulation:
        simulation = controlled(server_files, authority.file, **{"rate": 125_000.0, "knocking": knocking, **path})
        simulation.forth.down = simulation.back.down = True
        return simulation

    return make


def knocks(simulation: Simulation, until: float) -> list[float]:
    """When first packets left until then."""
    times: list[float] = []
    known = len(simulation.sent_by_client)

    def note(now: float) -> None:
        nonlocal known
        times.extend([now] * (len(simulation.sent_by_client) - known))
        known = len(simulation.sent_by_client)

    simulation.run(until, note, tick=0.002)
    note(simulation.now)
    return times


def test_without_more_knowledge_it_goes_after_a_quarter_and_a_half_and_then_every_second(blocked) -> None:
    assert knocks(blocked(), 4.5) == pytest.approx([0, 0.25, 0.75, 1.75, 2.75, 3.75], abs=0.01)


def test_it_goes_often_for_the_time_that_the_parent_bears_it_and_every_second_after(blocked) -> None:
    times = knocks(blocked(OFTEN), 7.5)
    before = [at for at in times if at < 1.99]
    often = [at for at in times if 1.99 <= at < 4]
    after = [at for at in times if at >= 4]
    assert before == pytest.approx([0, 0.25, 0.75, 1.75], abs=0.01)
    assert often == pytest.approx([2 + 0.07 * n for n in range(len(often))], abs=0.1)
    assert 26 <= len(often) <= 29
    assert after == pytest.approx([often[-1] + 1, often[-1] + 2, often[-1] + 3], abs=0.02)


@pytest.mark.parametrize("outage", [2.5, 2.53, 3.01])
def test_a_way_that_is_free_again_is_found_within_one_pause_and_its_round_trip_measured(blocked, outage) -> None:
    """Another first packet leaves before the one that got through is answered: none is taken for another."""
    simulation = blocked(OFTEN, rate=1e9)
    simulation.run(outage)
    simulation.forth.down = simulation.back.down = False
    simulation.run(5)
    done = next(at for at, end, event in simulation.heard if isinstance(event, HandshakeCompleted))
    assert done <= outage + OFTEN.every + 0.1 + 0.01, "a pause and a round trip"
    assert simulation.client._loss._rtt_min == pytest.approx(0.1, abs=0.01)
    assert simulation.client.control.packets_lost == 0, "of a server that is silent nothing follows about the path"


def test_a_path_slower_than_the_pauses_is_measured_right(blocked) -> None:
    simulation = blocked(rate=1e9, delay=0.4)
    simulation.forth.down = simulation.back.down = False
    simulation.run(0.9)
    assert simulation.client._loss._rtt_latest == pytest.approx(0.8, abs=0.01)
    simulation.run(5)
    assert [type(event) for _, end, event in simulation.heard if end is simulation.client].count(HandshakeCompleted)


def test_what_was_sent_in_vain_is_not_kept_for_ever(blocked) -> None:
    simulation = blocked(Knocking(every=0.07, begin=0.0, end=1000.0))
    simulation.run(30)
    assert sum(len(space.sent_packets) for space in simulation.client._loss.spaces) < 35
    assert simulation.client._loss.bytes_in_flight < 1300


def test_of_a_long_silence_rings_come_twice_a_second_and_a_first_packet_once_a_minute(blocked) -> None:
    simulation = blocked(**LONG_SILENT)
    times = knocks(simulation, 50)
    sizes = [len(packet) for packet in simulation.sent_by_client]
    assert times == pytest.approx([0.5 * n for n in range(len(times))], abs=0.15)
    assert set(sizes) == {12, 1200}
    assert [at for at, size in zip(times, sizes, strict=True) if size == 1200] == pytest.approx([45.0], abs=0.15)


def test_rings_come_often_for_a_while_after_the_network_has_changed(blocked) -> None:
    hurried = replace(LONG_SILENT["knocking"], hurried=2.0)
    simulation = blocked(**{**LONG_SILENT, "knocking": hurried})
    times = knocks(simulation, 6)
    assert {len(packet) for packet in simulation.sent_by_client} == {12}
    assert 25 <= sum(at < 2.0 for at in times) <= 30
    assert sum(at > 2.1 for at in times) <= 8


def test_where_rings_are_answered_they_follow_upon_the_time_of_asking_often(blocked) -> None:
    simulation = blocked(replace(OFTEN, rings=True))
    knocks(simulation, 10)
    sizes = [len(packet) for packet in simulation.sent_by_client]
    rings = sizes.index(12)
    assert rings >= 30, "until then whole packets"
    assert sizes[rings:] == [12] * (len(sizes) - rings)
    assert 11 <= len(sizes) - rings <= 13


@pytest.mark.parametrize("outage", [2.3, 7.01])
def test_the_first_packet_follows_upon_the_answer_to_a_ring(blocked, outage) -> None:
    simulation = blocked(rate=1e9, **LONG_SILENT)
    simulation.run(outage)
    simulation.forth.down = simulation.back.down = False
    simulation.run(outage + 5)
    done = next(at for at, _, event in simulation.heard if isinstance(event, HandshakeCompleted))
    assert done <= outage + RING_EVERY + 2 * 0.1 + 0.01, "a pause and two round trips"
    assert simulation.client._loss._rtt_min == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_long_silence_ends_soon_on_a_path_that_loses_much_as_well(blocked, seed) -> None:
    simulation = blocked(rate=1e9, loss=0.2, seed=seed, **LONG_SILENT)
    simulation.run(3.0)
    simulation.forth.down = simulation.back.down = False
    simulation.run(10)
    heard = [at for at, end, event in simulation.heard if isinstance(event, HandshakeCompleted)]
    assert heard, "the handshake was completed"
    rung = sum(len(packet) == 12 for packet in simulation.sent_by_client)
    assert rung < 6 + 8, "rings end with the first answer"


def test_a_server_that_answers_no_rings_any_more_is_found_within_a_minute(blocked) -> None:
    simulation = blocked(rate=1e9, **LONG_SILENT)
    simulation.answers_rings = False
    simulation.forth.down = simulation.back.down = False
    simulation.run(44)
    assert not simulation.heard
    simulation.run(47)
    assert any(isinstance(event, HandshakeCompleted) for _, _, event in simulation.heard)


def test_somebody_elses_answer_opens_nothing(blocked) -> None:
    simulation = blocked(**LONG_SILENT)
    simulation.run(1.0)
    for forged in (doorbell.ANSWER + bytes(8), doorbell.ANSWER, simulation.sent_by_client[0]):
        simulation.client.receive_datagram(forged, ("192.0.2.66", 1), now=simulation.now)
    simulation.run(5.0)
    assert {len(packet) for packet in simulation.sent_by_client} == {12}


def test_an_answer_that_comes_again_and_again_is_worth_one(blocked) -> None:
    """So many first packets, and no more, as a ring answered in vain brings about."""
    simulation = blocked(**LONG_SILENT)
    simulation.run(0.2)
    answer = doorbell.answer_to(simulation.sent_by_client[0])
    times = []
    while simulation.now < 0.9:
        simulation.client.receive_datagram(answer, ("192.0.2.2", 2000), now=simulation.now)
        times += knocks(simulation, simulation.now + 0.01)
    assert len(times) <= 11, "one every 0.07 s"
