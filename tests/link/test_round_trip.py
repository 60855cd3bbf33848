"""The path's own round trip, fed by hand."""

from __future__ import annotations

import math

from twingateway.link.round_trip import EMPTYING, MEMORY, RoundTrip


def test_the_shortest_sample_is_the_paths():
    trip = RoundTrip()
    assert trip.shortest == math.inf
    for rtt in (0.2, 0.1, 0.3):
        trip.sample(0.0, rtt)
    assert trip.shortest == 0.1


def test_while_it_is_confirmed_nothing_need_be_emptied():
    trip = RoundTrip()
    for second in range(60):
        trip.sample(second, 0.1 if second % 9 == 0 else 0.3)
    assert not trip.emptying
    assert trip.shortest == 0.1


def test_what_is_not_confirmed_for_long_is_looked_for_and_learnt_anew():
    trip = RoundTrip()
    trip.sample(0.0, 0.1)
    trip.sample(MEMORY + 1, 0.3)
    assert trip.emptying
    trip.sample(MEMORY + 1.2, 0.25)
    assert trip.emptying
    trip.sample(MEMORY + 1 + 0.3 + EMPTYING, 0.28)
    assert not trip.emptying
    assert trip.shortest == 0.25


def test_the_old_one_seen_again_ends_the_search():
    trip = RoundTrip()
    trip.sample(0.0, 0.1)
    trip.sample(MEMORY + 1, 0.3)
    trip.sample(MEMORY + 1.1, 0.105)
    assert not trip.emptying
    assert trip.shortest == 0.1


def test_a_round_is_told_by_its_shortest():
    trip = RoundTrip()
    for rtt in (0.1, 0.4, 0.4):
        trip.sample(0.0, rtt)
    assert trip.round_over() == 0.1
    for rtt in (0.3, 0.2, 0.4):
        trip.sample(1.0, rtt)
    assert trip.round_over() == 0.2


def test_two_samples_say_nothing_of_a_queue():
    trip = RoundTrip()
    for rtt in (0.1, 0.4):
        trip.sample(0.0, rtt)
    assert trip.round_over() is None
