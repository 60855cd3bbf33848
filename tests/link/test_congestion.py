"""The controller on simulated paths in virtual time, beside what aioquic brings."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import pytest

from tests.link.simulated_path import controlled

MEGABIT = 125_000
SECONDS = 10


@dataclass(frozen=True)
class Bulk:
    """What became of a bulk transfer after a start of 5 s, as shares of what the path could have carried: bytes that
    passed the bottleneck, those of them that were new to the peer, and all that was sent; seconds in the queue."""

    used: float
    arrived: float
    sent: float
    median_wait: float
    longest_wait: float


def bulk(files, authority, algorithm=None, **path) -> Bulk:
    simulation = controlled(files, authority.file, algorithm, rate=MEGABIT, **path)
    simulation.run(1)
    simulation.client.send_stream_data(0, bytes(2 * SECONDS * MEGABIT))
    simulation.run(6)
    start, forth = simulation.received[simulation.server], simulation.forth
    forth.sent = forth.passed = 0
    forth.waits.clear()
    simulation.run(6 + SECONDS)
    whole = SECONDS * MEGABIT
    return Bulk(
        used=forth.passed / whole,
        arrived=(simulation.received[simulation.server] - start) / whole,
        sent=forth.sent / whole,
        median_wait=statistics.median(forth.waits),
        longest_wait=max(forth.waits),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("loss", [0.02, 0.1, 0.2])
def test_random_loss_ahead_of_a_slow_link_leaves_it_in_use_and_its_queue_short(server_files, authority, loss, seed):
    """What is asked of it on an empty link of 1 Mbit/s, 100 ms round trip and 300 ms of queue."""
    ours = bulk(server_files, authority, loss=loss, seed=seed, queue=0.3)
    assert ours.used >= 0.85
    assert ours.arrived >= 0.85, "and not by repeating what has arrived"
    assert ours.median_wait < 0.1
    assert ours.sent <= 1.4


def test_random_loss_of_a_fifth_makes_reno_collapse_there(server_files, authority):
    assert bulk(server_files, authority, "reno", loss=0.2).arrived < 0.3


def test_without_loss_it_fills_the_path_and_leaves_most_of_the_queue_empty(server_files, authority):
    ours = bulk(server_files, authority, queue=0.3)
    assert ours.arrived >= 0.95
    assert ours.sent <= 1.01
    assert ours.median_wait < 0.05
    assert ours.longest_wait < 0.1


def test_in_a_shallow_queue_its_own_loss_is_not_taken_for_the_paths(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=MEGABIT, queue=0.02)
    simulation.run(1)
    simulation.client.send_stream_data(0, bytes(2 * SECONDS * MEGABIT))
    simulation.run(10)
    control = simulation.client.control
    assert control.random_loss < 0.08
    assert control.bandwidth < 1.3 * MEGABIT


def test_a_path_that_becomes_slower_is_followed(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=4 * MEGABIT)
    simulation.run(1)
    simulation.client.send_stream_data(0, bytes(20 * MEGABIT))
    simulation.run(4)
    simulation.forth.rate = MEGABIT
    simulation.run(14)
    assert simulation.client.control.bandwidth < 1.4 * MEGABIT
    simulation.forth.longest_wait = 0.0
    simulation.run(18)
    assert simulation.forth.longest_wait < 0.3


def test_little_to_send_does_not_lower_what_may_be_sent(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=8 * MEGABIT)
    simulation.run(1)
    window = simulation.client.control.congestion_window
    due = [1.0]

    def trickle(now):
        if now >= due[0]:
            simulation.client.send_stream_data(0, bytes(100))
            due[0] = now + 0.1

    simulation.run(20, trickle)
    assert simulation.client.control.congestion_window >= window
    assert simulation.client.control.pacing_rate(0.1) >= 10 * 1200 / 0.1


def test_an_application_that_wants_more_than_the_path_carries_waits_here_and_not_in_the_path(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=2 * MEGABIT, delay=0.15)
    simulation.run(1)
    due = [1.0]

    def pull(room, now):
        if now < due[0]:
            return None
        due[0] = now + 0.002
        return bytes(room)

    simulation.client.pull = pull
    simulation.run(11, tick=0.005)
    simulation.forth.longest_wait = 0.0
    received = len(simulation.heard)
    simulation.run(16, tick=0.005)
    assert simulation.forth.longest_wait < 0.2
    assert simulation.client.control.random_loss < 0.05
    assert (len(simulation.heard) - received) * 1170 > 0.85 * 5 * 2 * MEGABIT


def test_a_round_trip_that_has_become_longer_is_learnt(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=MEGABIT, delay=0.02)
    simulation.run(1)
    simulation.client.send_stream_data(0, bytes(60 * MEGABIT))
    simulation.run(5)
    simulation.forth.delay = simulation.back.delay = 0.1
    simulation.run(30)
    start = simulation.received[simulation.server]
    simulation.run(35)
    assert simulation.received[simulation.server] - start > 0.8 * 5 * MEGABIT
