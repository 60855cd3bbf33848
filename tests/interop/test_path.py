"""The emulated link's judgement over packets."""

from __future__ import annotations

import random

import pytest

from interop.path import Conditions, Direction


def arrivals(conditions: Conditions, count: int, size: int = 1000, every: float = 0.001) -> list[list[float]]:
    direction = Direction(conditions, random.Random(1))
    return [direction.arrivals(size, number * every) for number in range(count)]


def test_a_packet_arrives_after_the_delay():
    assert arrivals(Conditions(delay=0.05), 1) == [[0.05]]


def test_nothing_passes_while_the_link_is_down():
    assert arrivals(Conditions(down=True), 3) == [[], [], []]


@pytest.mark.parametrize("burst", [1.0, 8.0])
def test_so_much_is_lost_and_in_such_runs(burst):
    lost = [not each for each in arrivals(Conditions(loss=0.1, burst=burst), 40_000)]
    assert sum(lost) / len(lost) == pytest.approx(0.1, rel=0.15)
    runs = sum(1 for before, now in zip([False, *lost], lost, strict=False) if now and not before)
    assert sum(lost) / runs == pytest.approx(max(burst, 1 / 0.9), rel=0.15)


def test_a_slow_link_queues_and_drops_what_would_wait_too_long():
    sent = arrivals(Conditions(rate=80_000, queue=0.25), 5, every=0.0)
    assert sent == [[pytest.approx(0.1)], [pytest.approx(0.2)], [pytest.approx(0.3)], [], []]


def test_loss_strikes_before_the_bottleneck():
    direction = Direction(Conditions(rate=80_000, loss=0.5), random.Random(1))
    passed = sum(bool(direction.arrivals(1000, number * 0.1)) for number in range(200))
    assert direction.counters.passed_bytes == passed * 1000
    assert direction.counters.lost == 200 - passed


def test_jitter_keeps_the_order():
    times = [at for each in arrivals(Conditions(delay=0.05, jitter=0.02), 500) for at in each]
    assert times == sorted(times)
    assert max(at - 0.001 * number for number, at in enumerate(times)) > 0.06


def test_some_packets_are_overtaken():
    times = [at for each in arrivals(Conditions(reorder=0.1, reorder_by=0.02), 500) for at in each]
    late = [at - 0.001 * number for number, at in enumerate(times)]
    assert 20 < sum(each == pytest.approx(0.02) for each in late) < 100


def test_some_packets_arrive_twice():
    assert 20 < sum(len(each) == 2 for each in arrivals(Conditions(duplicate=0.1), 500)) < 100
