"""Percentiles, and which updates count to an outage."""

from __future__ import annotations

import pytest

from twingateway.demo.latency import Latencies, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([7.04], 0.99, 7.0),
        ([1, 2, 3, 4], 0.5, 2),
        ([4, 1, 3, 2], 1.0, 4),
        (range(1, 101), 0.99, 99),
        (range(1, 102), 0.99, 100),
        ([1, 2, 3], 0.0, 1),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_what_changed_before_the_beginning_is_not_measured() -> None:
    latencies = Latencies()
    latencies.add("mqtt", 10, 20)
    latencies.begin(100)
    latencies.add("mqtt", 99, 130)
    latencies.add("mqtt", 100, 130)
    assert latencies.normal() == {"mqtt": [30]}


def test_updates_that_an_outage_touched_are_kept_apart() -> None:
    latencies = Latencies()
    latencies.begin(0)
    latencies.add("modbus", 900, 990)  # seen before the cut
    latencies.add("modbus", 980, 5100)  # on its way when it was cut
    latencies.add("mqtt", 3000, 5200)  # changed meanwhile
    latencies.add("mqtt", 5000, 5300)  # changed when it was back
    latencies.outage(1000, 5000)
    assert latencies.normal() == {"modbus": [90], "mqtt": [300]}
    assert latencies.delayed() == {"modbus": [4120], "mqtt": [2200]}
