"""Rounds come at multiples of their period, whatever the polls in between take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twingateway_modbus.schedule import Round


@given(st.lists(st.floats(0.001, 5.0), max_size=50))
def test_a_round_never_drifts_and_never_asks_twice_for_what_it_missed(polls: list[float]) -> None:
    item = Round(0.5, [], due=100.0)
    for took in polls:
        before, now = item.due, item.due + took
        item.advance(now)
        assert now < item.due <= now + 0.5
        assert item.due > before
        assert (item.due - 100.0) % 0.5 == 0
