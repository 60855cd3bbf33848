import math
import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twingateway.twin.model import Property, PropertyType
from twingateway.validation.step import Grid


def grid(step: float, minimum: float | None = None) -> Grid:
    made = Grid.of(Property(PropertyType.NUMBER, step=step, minimum=minimum))
    assert made is not None
    return made


def single(value: float) -> float:
    """What a device that holds single-precision floats makes of a number."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def test_a_property_without_step_has_no_grid() -> None:
    assert Grid.of(Property(PropertyType.NUMBER, minimum=1)) is None


@pytest.mark.parametrize(
    ("step", "minimum", "value"),
    [
        (0.1, None, 0.3),
        (0.01, None, 19.99),
        (0.01, None, 4.35),
        (0.5, 16, 22.5),
        (0.5, 0.25, 1.75),
        (0.1, None, 1e15),
        (5, 1, 11),
        (5, 1, 11.0),
        (0.1, None, -0.7),
        (1e-20, None, 3e-20),
        (2.5, None, 0),
    ],
)
def test_numbers_that_a_person_calls_on_step_are(step: float, minimum: float | None, value: float) -> None:
    for device in (True, False):
        assert grid(step, minimum).fit(value, device=device) == value


@pytest.mark.parametrize(
    ("step", "minimum", "value"),
    [
        (0.1, None, 0.25),
        (0.5, 16, 22.3),
        (0.5, 0.25, 1.5),
        (5, None, 1_000_003),
        (5, 1, 10),
        (1, None, 1e12 + 0.5),
        (1, None, 0.001),
        (1e-20, None, 2.5e-20),
    ],
)
def test_numbers_between_steps_are_refused_both_ways(step: float, minimum: float | None, value: float) -> None:
    for device in (True, False):
        assert grid(step, minimum).fit(value, device=device) is None


def test_the_noise_of_doubles_is_moved_onto_the_step() -> None:
    assert 0.1 + 0.2 != 0.3
    assert grid(0.1).fit(0.1 + 0.2, device=False) == 0.3
    assert grid(0.01).fit(1.1 * 3, device=True) == 3.3


def test_a_single_precision_reading_is_kept_as_it_is_and_refused_as_a_wish() -> None:
    reading = single(23.1)
    assert reading != 23.1
    assert grid(0.1).fit(reading, device=True) == reading
    assert grid(0.1).fit(reading, device=False) is None


def test_where_doubles_are_coarser_than_the_step_every_number_passes() -> None:
    assert grid(0.1).fit(1e300, device=False) == 1e300


def test_the_nearest_steps_are_named_as_a_person_writes_them() -> None:
    assert grid(0.5, 16).neighbours(22.3) == ("22", "22.5")
    assert grid(0.1).neighbours(-0.25) == ("-0.3", "-0.2")
    assert grid(1e-7).neighbours(2.5e-7) == ("0.0000002", "0.0000003")
    assert str(grid(0.5, 16)) == "steps of 0.5 from 16"


decimals = st.builds(lambda digits, places: digits / 10**places, st.integers(1, 10**6), st.integers(0, 6))


@given(decimals, decimals, st.integers(-(10**6), 10**6))
@settings(max_examples=200)
def test_the_float_nearest_to_a_step_is_on_it_and_its_neighbours_are_moved_back(
    step: float, minimum: float, count: int
) -> None:
    made = grid(step, minimum)
    point = float(made.origin + count * made.step)
    assume(abs(point) < step * 1e9)
    assert made.fit(point, device=False) == point
    assert made.fit(math.nextafter(point, math.inf), device=False) == point


@given(decimals, st.integers(-(10**4), 10**4), st.floats(0.01, 0.99))
@settings(max_examples=200)
def test_what_lies_clearly_between_two_steps_is_refused(step: float, count: int, part: float) -> None:
    value = (count + part) * step
    made = grid(step)
    assume(abs(count) * 1e-6 < min(part, 1 - part) / 2)
    assert made.fit(value, device=True) is None
