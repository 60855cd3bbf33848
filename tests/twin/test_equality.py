import pytest

from twingateway.twin.equality import same


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (0.1, 0.1, True),
        ("1", 1, False),
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        (None, None, True),
        (None, 0, False),
        ([1, {"a": True}], [1.0, {"a": True}], True),
        ([1, {"a": True}], [1, {"a": 1}], False),
        ([1, 2], [1], False),
        ([], {}, False),
        ({}, [], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": None}, {}, False),
    ],
)
def test_same_is_json_equality(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal  # type: ignore[arg-type]
    assert same(other, one) is equal  # type: ignore[arg-type]
