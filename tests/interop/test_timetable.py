"""What people write to change a link while it runs."""

from __future__ import annotations

import argparse

import pytest

from interop.timetable import ADDRESS, REBIND, SET, SHOW, Outage, Step, read_at, read_outage, read_step


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("down", Step(SET, "down", True)),
        (" up\n", Step(SET, "down", False)),
        ("down=0", Step(SET, "down", False)),
        ("address", Step(ADDRESS)),
        ("rebind", Step(REBIND)),
        ("show", Step(SHOW)),
        ("loss=30%", Step(SET, "loss", 0.3)),
        ("delay = 100ms", Step(SET, "delay", 0.1)),
        ("rate=256k", Step(SET, "rate", 256_000)),
        ("burst=8", Step(SET, "burst", 8)),
        ("reorder-by=20ms", Step(SET, "reorder_by", 0.02)),
    ],
)
def test_each_step_is_understood(text, step):
    assert read_step(text) == step
    assert read_at(f"1m:{text}") == (60.0, step)


@pytest.mark.parametrize("text", ["", "loss", "loss=", "loss=2", "burst=0.5", "speed=3", "down=maybe", "delay=soon"])
def test_what_is_no_step_is_refused_with_what_would_be(text):
    with pytest.raises(argparse.ArgumentTypeError):
        read_step(text)


def test_a_time_goes_before_the_step():
    with pytest.raises(argparse.ArgumentTypeError, match="TIME:STEP"):
        read_at("address")


def test_an_outage_comes_once_or_again_and_again():
    down, up = Step(SET, "down", True), Step(SET, "down", False)
    assert list(read_outage("10s:5s").steps(3600)) == [(10, down), (15, up)]
    assert list(read_outage("10s:5s:1m").steps(100)) == [(10, down), (15, up), (70, down), (75, up)]
    assert read_outage("0:500ms") == Outage(0, 0.5)


@pytest.mark.parametrize("text", ["10s", "1s:2s:3s:4s", "1s:5s:5s", "now:5s"])
def test_what_is_no_outage_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        read_outage(text)
