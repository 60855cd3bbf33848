import enum
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.errors import InvalidValue, TooLarge
from twingateway.twin.value import MAX_BYTES, MAX_DEPTH, MAX_INTEGER
from twingateway.validation.normalise import normalise


class Colour(enum.StrEnum):
    RED = "red"


class ForeignFloat(float):
    """Stands for numpy.float64, which is a subclass of float."""


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [None, True, 0, -MAX_INTEGER, MAX_INTEGER, 1.5, -0.0, 1e308, "", "grün", "💩", [], {}]
)
def test_plain_values_pass_unchanged(value: Any) -> None:
    result = normalise(value)
    assert result == value
    assert type(result) is type(value)


def test_a_whole_float_stays_a_float_and_a_tuple_becomes_a_list() -> None:
    assert repr(normalise((1.0, (2,)))) == "[1.0, [2]]"


def test_the_result_shares_no_container_with_the_input() -> None:
    inner: list[int] = []
    value = {"a": inner}
    result = normalise(value)
    inner.append(1)
    assert result == {"a": []}


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
        (MAX_INTEGER + 1, "range"),
        (-MAX_INTEGER - 1, "range"),
        pytest.param(10**5000, "range", id="huge"),
        ("a\ud800", "unicode"),
        ("\udcff", "unicode"),
        (b"bytes", "type"),
        (Decimal("1"), "type"),
        (Fraction(1, 2), "type"),
        ({1, 2}, "type"),
        (1j, "type"),
        (Colour.RED, "type"),
        (ForeignFloat(1), "type"),
        (object(), "type"),
    ],
)
def test_what_peers_cannot_share_is_refused_at_every_depth(value: Any, rule: str) -> None:
    for wrapped, path in ((value, "p"), ({"a": [0, value]}, "p.a.1")):
        with pytest.raises(InvalidValue) as caught:
            normalise(wrapped, "p")
        assert (caught.value.problem.rule, caught.value.problem.path) == (rule, path)


@pytest.mark.parametrize("key", [1, pytest.param(10**5000, id="huge"), None, True, b"x", "\ud800", Colour.RED])
def test_a_key_that_is_not_plain_text_is_refused(key: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        normalise({"a": {key: 1}}, "p")
    assert caught.value.problem.path == "p.a"


def test_sixteen_levels_pass_and_seventeen_do_not() -> None:
    assert normalise(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(TooLarge) as caught:
        normalise(nested(MAX_DEPTH + 1))
    assert caught.value.detail["rule"] == "depth"


def test_a_value_that_contains_itself_is_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TooLarge):
        normalise(loop)


@pytest.mark.parametrize("character", ["a", "\n", "\x01", "ä", "€", "💩"])
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [text], lambda text: {"k": text}])
def test_the_size_limit_is_that_of_compact_json_to_the_byte(character: str, wrap: Any) -> None:
    def size(text: str) -> int:
        return len(json.dumps(wrap(text), ensure_ascii=False, separators=(",", ":")).encode())

    each = size(character) - size("")
    fits = character * ((MAX_BYTES - size("")) // each)
    assert normalise(wrap(fits)) == wrap(fits)
    with pytest.raises(TooLarge) as caught:
        normalise(wrap(fits + character))
    assert caught.value.detail["rule"] == "size"


def test_many_small_items_are_too_large_together() -> None:
    assert normalise([0] * (MAX_BYTES // 2 - 1))
    with pytest.raises(TooLarge):
        normalise([0] * (MAX_BYTES // 2 + 1))


texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(texts, part, max_size=4),
    max_leaves=20,
)


@given(json_values)
@settings(max_examples=200)
def test_every_json_value_within_the_limits_passes_and_survives_encoding(value: Any) -> None:
    result = normalise(value)
    assert result == value
    assert json.loads(json.dumps(result, allow_nan=False)) == result
