"""jsonschema and jsonschema-rs agree: on the official suite for every keyword used, on random models and values."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twingateway.errors import InvalidValue, TooLarge
from twingateway.twin.model import Property, PropertyType
from twingateway.twin.value import MAX_INTEGER
from twingateway.validation.normalise import normalise
from twingateway.validation.schema import KEYWORDS, compile_schema
from twingateway.validation.step import Grid

SUITE = Path(__file__).parent / "suite"
#: What the shipped document schemas use besides the keywords that models compile to.
DOCUMENT_KEYWORDS = {"const", "pattern", "propertyNames", "minProperties", "uniqueItems", "exclusiveMinimum"}


def python_says(schema: Any, value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def rust_says(schema: Any, value: Any) -> bool:
    return jsonschema_rs.Draft202012Validator(schema).is_valid(value)


def keywords(schema: Any) -> set[str]:
    """Every keyword in a schema and its subschemas; names of members are not keywords."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema) - {"$schema"}
    for keyword in ("items", "additionalProperties", "propertyNames"):
        found |= keywords(schema.get(keyword))
    for part in schema.get("properties", {}).values():
        found |= keywords(part)
    return found


def cases() -> list[Any]:
    found = []
    for file in sorted(SUITE.glob("*.json")):
        for group in json.loads(file.read_text()):
            if keywords(group["schema"]) <= KEYWORDS | DOCUMENT_KEYWORDS:
                found += [
                    pytest.param(group["schema"], case["data"], case["valid"], id=f"{file.stem}-{number}")
                    for number, case in enumerate(group["tests"])
                ]
    return found


CASES = cases()


def test_the_suite_exercises_every_keyword() -> None:
    used: set[str] = set().union(*(keywords(case.values[0]) for case in CASES))
    assert used == KEYWORDS | DOCUMENT_KEYWORDS
    assert len(CASES) > 250


@pytest.mark.parametrize(("schema", "data", "valid"), CASES)
def test_both_agree_with_the_official_suite(schema: Any, data: Any, valid: bool) -> None:
    try:
        value = normalise(data)
    except (InvalidValue, TooLarge):
        return  # never reaches a validator
    assert python_says(schema, value) is valid
    assert rust_says(schema, value) is valid


bounds = (
    st.none()
    | st.sampled_from([0, -1, 2.5, 1e-7, 100, -1e300, 1e300, MAX_INTEGER, 2.0**53, 1e17])
    | st.floats(allow_nan=False, allow_infinity=False)
)
counts = st.none() | st.integers(0, 4)
names = st.sampled_from(["a", "b", "ä", "", "$ref", "__proto__", "c d"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-MAX_INTEGER, MAX_INTEGER),
    st.integers(-3, 101),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 101).map(float),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.sampled_from([1e17, 1e300, -1e300, 2.0**53, 2.0**63, 2.0**64, -0.0, 5e-324, 1e-7, "a\n", "é", "👩‍👩‍👧"]),
)
values = st.recursive(
    scalars, lambda part: st.lists(part, max_size=5) | st.dictionaries(names, part, max_size=4), max_leaves=10
)
enum_values = st.lists(scalars.filter(lambda value: value is not None), min_size=1, max_size=4)


@st.composite
def properties(draw: st.DrawFn, depth: int = 2) -> Property:
    kinds = list(PropertyType) if depth else list(PropertyType)[:5]
    members: dict[str, Property] = {}
    kind = draw(st.sampled_from(kinds))
    if kind is PropertyType.OBJECT:
        members = draw(st.dictionaries(names, properties(depth - 1), max_size=3))
    return Property(
        kind,
        minimum=draw(bounds),
        maximum=draw(bounds),
        min_length=draw(counts),
        max_length=draw(counts),
        min_items=draw(counts),
        max_items=draw(counts),
        values=tuple(draw(enum_values)) if kind is PropertyType.ENUM else (),
        items=draw(st.none() | properties(depth - 1)) if kind is PropertyType.ARRAY else None,
        members=members,
        required=frozenset(draw(st.lists(st.sampled_from(sorted(members)), max_size=2))) if members else frozenset(),
    )


@given(properties(), values, st.booleans())
@example(Property(PropertyType.INTEGER), 1e300, True)
@example(Property(PropertyType.INTEGER), 2.0**63, True)
@example(Property(PropertyType.ENUM, values=(1, "1")), True, True)
@settings(max_examples=200)
def test_both_agree_on_every_model_and_value(source: Property, value: Any, closed: bool) -> None:
    schema = compile_schema(source, closed=closed)
    assert keywords(schema) <= KEYWORDS
    value = normalise(value)
    assert python_says(schema, value) is rust_says(schema, value)


@given(st.data())
@settings(max_examples=200)
def test_both_agree_close_to_the_bounds_of_a_number(data: st.DataObject) -> None:
    bound = data.draw(bounds.filter(lambda each: each is not None))
    near = data.draw(st.sampled_from([bound, bound * (1 + 2**-52), bound * (1 - 2**-53), int(bound), float(bound)]))
    kind = data.draw(st.sampled_from([PropertyType.NUMBER, PropertyType.INTEGER]))
    schema = compile_schema(Property(kind, minimum=bound, maximum=data.draw(st.sampled_from([None, bound]))))
    try:
        value = normalise(near)
    except InvalidValue:
        return
    assert python_says(schema, value) is rust_says(schema, value)


def verdicts(schema: Any, value: Any) -> set[Any]:
    """What the two say, an exception counting as a verdict of its own."""
    found: set[Any] = set()
    for say in (python_says, rust_says):
        try:
            found.add(say(schema, value))
        except (ValueError, UnicodeError) as error:
            found.add(type(error))
    return found


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, float("nan")),
        ({"type": "number"}, float("inf")),
        ({"minLength": 1}, "\ud800"),
        ({"type": "object"}, {1: 2}),
    ],
)
def test_where_they_disagree_the_value_is_stopped_first(schema: Any, value: Any) -> None:
    assert len(verdicts(schema, value)) == 2
    with pytest.raises(InvalidValue):
        normalise(value)


@pytest.mark.parametrize(("step", "value"), [(0.1, 0.3), (0.01, 19.99), (0.01, 4.35)])
def test_where_they_disagree_on_multiples_our_own_step_decides(step: float, value: float) -> None:
    assert verdicts({"multipleOf": step}, value) == {True, False}
    source = Property(PropertyType.NUMBER, step=step)
    assert "multipleOf" not in compile_schema(source)
    grid = Grid.of(source)
    assert grid is not None
    assert grid.fit(value, device=False) == value


@pytest.mark.parametrize("schema", [{"pattern": "^a$"}, {"pattern": r"^a\d?$"}])
def test_patterns_are_not_compiled_to_because_they_disagree_on_a_line_break(schema: Any) -> None:
    assert verdicts(schema, "a\n") == {True, False}
    assert "pattern" not in KEYWORDS
