"""Rounds come at multiples of their period, whatever the polls in between take and timers do."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twingateway_modbus.schedule import Round, phases, quiet_moment

PERIODS = st.sampled_from([0.02, 0.1, 0.5, 1.0, 3.3])


@given(PERIODS, st.floats(0, 0.999), st.floats(0, 1e6), st.lists(st.floats(-0.001, 5.0), max_size=50))
def test_a_round_never_drifts_and_never_asks_twice_for_what_it_missed(
    period: float, phase: float, start: float, polls: list[float]
) -> None:
    """A poll may end before it was due: timers fire up to a millisecond early."""
    item = Round(period, [], phase)
    item.start(start)
    for number, took in enumerate(polls):
        before, now = item.due, item.due + took
        item.advance(now)
        assert item.due > max(now, before)
        assert item.due - max(now, before) <= period * 1.001
        assert number == 0 or item.due - before >= period * 0.999
        steps = item.due / period - phase
        assert abs(steps - round(steps)) < 1e-4


def test_the_first_round_is_at_once() -> None:
    item = Round(10.0, [], 0.4)
    item.start(100.0)
    assert item.due == 100.0
    item.advance(100.1)
    assert item.due == 104.0


@given(PERIODS, st.floats(0, 0.999), st.floats(0, 1e6), st.floats(0, 1e3))
def test_rounds_of_one_phase_are_together_whenever_they_began(
    period: float, phase: float, start: float, later: float
) -> None:
    early, late = Round(period, [], phase), Round(period, [], phase)
    early.start(start)
    late.start(start + later)
    early.advance(start + later + period / 3)
    late.advance(start + later + period / 3)
    assert abs(early.due - late.due) < 1e-6


def test_devices_are_spread_over_the_period() -> None:
    taken = sorted(islice(phases(), 100))
    gaps = [after - before for before, after in zip(taken, [*taken[1:], 1.0], strict=True)]
    assert max(gaps) < 0.02


def polled(*phases: float, period: float = 1.0, now: float = 100.0) -> list[Round]:
    """Rounds that have been going on for a while at `now`."""
    rounds = [Round(period, [], phase) for phase in phases]
    for each in rounds:
        each.start(now - 10.0)
        each.advance(now)
    return rounds


def test_a_quiet_moment_lies_between_the_rounds_of_others() -> None:
    rounds = polled(0.0, 0.01, 0.03, 0.2)
    assert quiet_moment(rounds, 100.25, 0.03, 0.001) == 100.25
    assert quiet_moment(rounds, 100.19, 0.03, 0.001) == pytest.approx(100.201)
    assert quiet_moment(rounds, 99.995, 0.03, 0.001) == pytest.approx(100.031)


def test_without_a_moment_that_is_long_enough_the_longest_is_taken() -> None:
    rounds = polled(0.0, 0.3, 0.4, 0.5, 0.9)
    assert quiet_moment(rounds, 100.05, 0.5, 0.0) == pytest.approx(100.5)


def test_who_polls_no_more_holds_up_nobody() -> None:
    rounds = polled(0.0, 0.01)
    assert quiet_moment(rounds, 200.0, 0.5, 0.0) == 200.0
    assert quiet_moment([], 200.0, 0.5, 0.0) == 200.0


@given(st.lists(st.floats(0, 0.999), max_size=20), st.floats(100, 101), st.floats(0.001, 0.4), st.floats(0, 0.01))
def test_a_quiet_moment_is_soon_and_delays_nobody_if_there_is_one(
    phases: list[float], now: float, span: float, taken: float
) -> None:
    rounds = polled(*phases, now=now)
    moment = quiet_moment(rounds, now, span, taken)
    assert now <= moment <= now + 1.0 + taken
    dues = [due for each in rounds for due in each.dues(now - 1, now + 2)]
    if any(moment + 1e-9 < due < moment + span - 1e-9 for due in dues):
        gaps = [after - before - taken for before, after in pairwise(sorted(due for due in dues if due >= now))]
        assert max(gaps, default=0.0) < span + 1e-9
