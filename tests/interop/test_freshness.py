"""What the comparison shows of each contender."""

from __future__ import annotations

import argparse

import pytest

from interop.freshness import Result, described, row
from interop.turns import Turn
from interop.workload import Lateness

RESULT = Result("twingateway", 55.5, 60.2, 66.4, 307.3, 799, 800, 122_256, 140_350, 2.13)


def test_a_row_has_the_figures_or_what_happened():
    shown = row(Turn("twingateway", (RESULT, Lateness([], 0)))).split()
    assert shown == ["twingateway", "56", "60", "66", "307", "799/800", "122", "140", "2.13"]
    assert row(Turn("mosquitto-bbr", None, "edge ended")).split(maxsplit=1) == ["mosquitto-bbr", "failed: edge ended"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "20 % loss, 50 ms one way, 1,000 updates/s"),
        ({"loss": 0.005, "burst": 8.0}, "0.5 % loss in bursts of 8, 50 ms one way, 1,000 updates/s"),
        ({"bandwidth": 256e3}, "20 % loss, 50 ms one way, 1,000 updates/s, 256 kbit/s"),
    ],
)
def test_the_title_says_under_which_conditions(changed, text):
    options = {"loss": 0.2, "burst": 1.0, "delay": 0.05, "rate": 1000.0, "bandwidth": 0.0, **changed}
    assert described(argparse.Namespace(**options)) == text
