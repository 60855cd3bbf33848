"""What acknowledgements prove of a path, fed by hand: sizes in bytes, times in seconds."""

from __future__ import annotations

import pytest

from twingateway.link.delivery import BANDWIDTH_ROUNDS, Delivery


def flight(delivery: Delivery, start: float, packets: int, every: float, *, trip: float = 0.1) -> None:
    """So many packets of 1,000 bytes leave and are acknowledged a round trip later, both at this interval."""
    delivery.restarts(start)
    departures = [(start + n * every, delivery.departs(low=False)) for n in range(packets)]
    for sent, departure in departures:
        delivery.arrived(sent + trip, sent, 1000, departure)
        delivery.sample(sent + trip, sent, departure)


def test_the_greatest_rate_of_ten_round_trips_is_the_bandwidth():
    delivery = Delivery()
    flight(delivery, 0.0, 50, 0.001)
    fast = delivery.bandwidth
    for n in range(1, BANDWIDTH_ROUNDS):
        flight(delivery, float(n), 50, 0.004)
    assert delivery.bandwidth == fast
    flight(delivery, 20.0, 50, 0.004)
    assert delivery.bandwidth == pytest.approx(fast / 2, rel=0.1)


def test_acknowledgements_that_come_in_one_burst_prove_no_more_than_was_sent():
    delivery = Delivery()
    delivery.restarts(0.0)
    departures = [(n * 0.01, delivery.departs(low=False)) for n in range(10)]
    for sent, departure in departures:
        delivery.arrived(0.2, sent, 1000, departure)
        delivery.sample(0.2, sent, departure)
    assert delivery.bandwidth <= 10_000 / 0.1


def test_little_to_send_may_raise_the_bandwidth_and_never_lowers_it():
    delivery = Delivery()
    flight(delivery, 0.0, 50, 0.001)
    fast = delivery.bandwidth
    for n in range(1, 3 * BANDWIDTH_ROUNDS):
        delivery.limited(1000)
        flight(delivery, float(n), 1, 0.0)
    assert delivery.bandwidth == fast
    delivery.limited(50_000)
    flight(delivery, 100.0, 50, 0.0001)
    assert delivery.bandwidth > fast


def test_with_more_delivered_than_was_in_flight_it_is_limited_no_longer():
    delivery = Delivery()
    delivery.restarts(0.0)
    first = delivery.departs(low=False)
    delivery.limited(1000)
    assert delivery.application_limited
    second = delivery.departs(low=False)
    delivery.arrived(0.1, 0.0, 1000, first)
    assert delivery.application_limited
    delivery.arrived(0.1, 0.0, 1000, second)
    assert not delivery.application_limited


def test_a_round_trip_is_over_with_the_first_packet_that_left_after_the_last():
    delivery = Delivery()
    delivery.restarts(0.0)
    early = [delivery.departs(low=False) for _ in range(3)]
    assert [delivery.arrived(0.1, 0.0, 1000, departure) for departure in early] == [True, False, False]
    assert delivery.arrived(0.2, 0.1, 1000, delivery.departs(low=False))
