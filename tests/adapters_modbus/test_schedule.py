"""Rounds come at multiples of their period, whatever the polls in between take and timers do."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from twingateway_modbus.schedule import Round, phases

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
