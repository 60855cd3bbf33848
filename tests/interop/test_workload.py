"""How late updates are counted to be."""

from __future__ import annotations

import math

import pytest

from interop.workload import Generator, Sightings, lateness


def test_an_update_is_seen_when_it_or_a_newer_one_of_its_device_is():
    sent = [0.0, 1.0, 2.0, 3.0]  # numbers 3 to 6: devices 0, 1, 0, 1
    late = lateness(sent, 3, 2, [(5, 2.5), (4, 4.0), (6, 4.5)], end=9.0)
    assert late.delays == [2.5, 3.0, 0.5, 1.5]
    assert late.delivered == 4


def test_what_never_came_counts_with_the_time_it_has_been_missing():
    late = lateness([0.0, 1.0], 1, 2, [(1, 0.25)], end=10.0)
    assert late.delays == [0.25, 9.0]
    assert late.delivered == 1


def test_percentiles_are_of_all_updates():
    late = lateness([0.0] * 100, 1, 100, [(n, n / 1000) for n in range(1, 101)], end=1.0)
    assert late.percentile_ms(0.5) == pytest.approx(50)
    assert late.percentile_ms(0.99) == pytest.approx(99)
    assert math.isnan(lateness([], 1, 1, [], 0.0).percentile_ms(0.5))


async def test_every_device_has_its_turn_and_values_only_grow(tmp_path):
    handed: list[tuple[int, int]] = []
    generator = Generator(3, lambda device, n: handed.append((device, n)))
    assert await generator.prime() == {"last": 3}
    said = await generator.run(1000.0, 0.006, str(tmp_path / "sent"))
    assert (said["last"], said["sent"]) == (9, 6)
    assert handed == [((n - 1) % 3, n) for n in range(1, 10)]


async def test_an_observer_knows_what_is_missing():
    sightings = Sightings(3)
    for n in (1, 2, 5, 2):
        sightings.saw(n, float(n))
    assert await sightings.missing(6) == {"missing": 2}
    sightings.saw(4, 7.0)
    sightings.saw(6, 8.0)
    assert await sightings.missing(6) == {"missing": 0}
