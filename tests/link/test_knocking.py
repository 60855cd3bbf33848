"""When the first packet is sent again, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from aioquic.quic.events import HandshakeCompleted

from tests.link.simulated_path import Simulation, controlled
from twingateway.ports.link import Knocking

OFTEN = Knocking(every=0.07, begin=2.0, end=4.0)


@pytest.fixture
def blocked(server_files, authority):
    """A client that knocks at a path on which nothing passes."""

    def make(knocking: Knocking | None = None, **path: Any) -> Simulation:
        simulation = controlled(server_files, authority.file, **{"rate": 125_000.0, **path})
        simulation.client.knocking = knocking
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
