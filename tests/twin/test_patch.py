import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.twin.equality import same
from twingateway.twin.patch import merge_patch, section_patch

# RFC 7396, appendix A: original, patch, result.
RFC_EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.sampled_from("abc"), part, max_size=3),
    max_leaves=8,
)
sections = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@pytest.mark.parametrize(("target", "patch", "result"), RFC_EXAMPLES)
def test_merge_patch_does_what_the_rfc_shows(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert merge_patch(target, patch) == result
    assert (target, patch) == before


@given(values, values)
@settings(max_examples=200)
def test_patching_twice_is_patching_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert same(merge_patch(once, patch), once)


@given(sections, sections)
@settings(max_examples=200)
def test_a_section_patch_names_exactly_the_registers_that_a_merge_changes(current: Any, patch: Any) -> None:
    merged = merge_patch(current, patch)
    assert isinstance(merged, dict)
    changed = section_patch(current, patch)
    for name in current.keys() | patch.keys():
        before, after = current.get(name), merged.get(name)
        assert (name in changed) is not same(before, after)
        assert name not in changed or same(changed[name], after)


def test_a_patch_inside_an_object_yields_the_whole_register() -> None:
    current = {"schedule": {"on": 6, "off": 22}, "speed": 3}
    assert section_patch(current, {"schedule": {"off": 23}, "speed": 3.0}) == {"schedule": {"on": 6, "off": 23}}


def test_removing_what_is_there_is_a_change_and_removing_what_is_not_is_none() -> None:
    assert section_patch({"a": 1, "gone": None}, {"a": None, "b": None, "gone": None}) == {"a": None}


def test_a_switch_that_was_a_number_changes() -> None:
    assert section_patch({"on": 1}, {"on": True}) == {"on": True}
