"""Ranges behave like a set of numbers, within their limit."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.sync.ranges import Ranges

STEPS = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 8)), max_size=40)


@settings(max_examples=200)
@given(STEPS)
def test_like_a_set_and_reporting_exactly_what_is_new(steps):
    ranges, model = Ranges(1000), set()
    for first, length in steps:
        added = set(range(first, first + length + 1))
        fresh = [number for low, high in ranges.add(first, first + length) for number in range(low, high + 1)]
        assert fresh == sorted(added - model)
        model |= added
    assert {number for number in range(1, 200) if number in ranges} == model
    newest = ranges.newest(1000)
    assert [number for low, high in reversed(newest) for number in range(low, high + 1)] == sorted(model)
    assert all(below[1] + 1 < above[0] for above, below in pairwise(newest))
    assert ranges.highest == max(model, default=0)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 4))
def test_the_limit_forgets_from_below_and_never_invents(steps, limit):
    ranges, model = Ranges(limit), set()
    for first, length in steps:
        model |= set(range(first, first + length + 1))
        ranges.add(first, first + length)
        assert len(ranges) <= limit
        assert all((number in ranges) <= (number in model) for number in range(1, 200))
        assert all(number not in ranges and not ranges.add(number, number) for number in range(1, ranges.floor))


def test_newest_lists_the_highest_first():
    ranges = Ranges(10)
    for number in (1, 2, 5, 9):
        ranges.add(number, number)
    assert ranges.newest(2) == [(9, 9), (5, 5)]
    assert ranges.newest(9) == [(9, 9), (5, 5), (1, 2)]
