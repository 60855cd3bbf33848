"""YAML 1.2 and JSON become plain data with lines; whatever is malformed says where."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.config.source import MAX_BYTES, load_file, load_text
from twingateway.errors import InvalidConfig, MalformedText, Problem


def value_of(text: str) -> object:
    [source] = load_text(f"value: {text}")
    return source.data["value"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("True", True),
        ("tRue", "tRue"),
        (".5", 0.5),
        ("1.", 1.0),
        ("+12", 12),
        ("-.inf", -math.inf),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("!!float 1", 1.0),
        ("<<", "<<"),
        ("=", "="),
        ('"\\ud83d\\ude00"', "\ud83d\ude00"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, meant: object) -> None:
    value = value_of(written)
    assert value == meant
    assert type(value) is type(meant)


def test_keys_are_the_text_they_were_written_as() -> None:
    [source] = load_text("on: 1\n12: 2\ntrue: 3\n0x10: 4\n<<: 5\n")
    assert source.data == {"on": 1, "12": 2, "true": 3, "0x10": 4, "<<": 5}


def test_only_plain_python_types_come_out() -> None:
    [source] = load_text("a: [1, {b: 'c'}]\nd: |\n  text\n")
    assert [type(source.data), type(source.data["a"]), type(source.data["a"][1])] == [dict, list, dict]
    assert {type(source.data["d"]), type(source.data["a"][1]["b"])} == {str}


YAML = """\
# a comment
kind: Device
spec:
  list:
    - name: one
      a.b: 1
    - name: two
  flow: {x: 1,
         y: 2}
"""
JSON = """\

{
  "kind": "Device", "spec": {
    "list": [
      {"name": "one",
       "a.b": 1},
      {"name": "two"}],
    "flow": {"x": 1,
             "y": "}]"}
  }
}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 2),
        ("kind", 2),
        ("spec", 3),
        ("spec.list.0.name", 5),
        ("spec.list[1].name", 7),
        (("spec", "list", 1), 7),
        ("spec.list.0.a.b", 6),
        ("spec.flow.y", 9),
        ("spec.flow.missing.deeper", 8),
        ("nothing", 2),
    ],
)
def test_yaml_paths_have_lines(path: str | tuple[str | int, ...], line: int) -> None:
    [source] = load_text(YAML)
    assert source.line_of(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [("", 2), ("spec", 3), ("spec.list.0.name", 5), ("spec.list.0.a.b", 6), ("spec.list.1", 7), ("spec.flow.y", 9)],
)
def test_json_paths_have_lines(path: str, line: int) -> None:
    [source] = load_text(JSON, "x.json")
    assert source.line_of(path) == line
    assert source.data == json.loads(JSON)


def test_several_documents_in_one_text_keep_their_own_lines() -> None:
    first, second = load_text("---\na: 1\n---\n\nb: 2\n")
    assert (first.data, first.line_of("a")) == ({"a": 1}, 2)
    assert (second.data, second.line_of("b")) == ({"b": 2}, 5)


def test_a_text_of_comments_holds_no_document() -> None:
    assert load_text("# nothing\n") == []


def test_json_is_recognised_by_its_content_and_flow_yaml_still_read() -> None:
    assert load_text('{"a": "\\ud83d\\ude00"}')[0].data == {"a": "\U0001f600"}
    assert load_text("{a: on}")[0].data == {"a": "on"}


@pytest.mark.parametrize(
    ("text", "file", "line", "rule"),
    [
        ("a: 1\nb: [1,\n", "x.yaml", 3, "syntax"),
        ("a: 1\n\t- b", "x.yaml", 2, "syntax"),
        ("a: b: c", "x.yaml", 1, "syntax"),
        ("a: 1\nb: \x01", "x.yaml", 2, "syntax"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml", 3, "duplicate"),
        ("a: !python/object:os.system x", "x.yaml", 1, "tag"),
        ("a: !!binary aGk=", "x.yaml", 1, "tag"),
        ("a: !!int x", "x.yaml", 1, "tag"),
        ("a: *b", "x.yaml", 1, "alias"),
        ("a: &x [*x]", "x.yaml", 1, "alias"),
        ("? [1]\n: 2", "x.yaml", 1, "syntax"),
        ("[" * 40 + "]" * 40, "x.yaml", 1, "depth"),
        ('{"a": 1,\n "b": }', "x.json", 2, "syntax"),
        ('{"a": 1,\n "a": 2}', "x.json", 2, "duplicate"),
        ('{"a": 1,\n "a": 2}', "x.yaml", 2, "duplicate"),
        ('{"a": NaN}', "x.json", 0, "syntax"),
        ("\n" + "[" * 40 + "]" * 40, "x.json", 2, "depth"),
        ("[" * 100_000, "x.json", 0, "depth"),
    ],
)
def test_malformed_text_tells_file_line_and_reason(text: str, file: str, line: int, rule: str) -> None:
    with pytest.raises(MalformedText) as caught:
        load_text(text, file)
    [problem] = caught.value.problems
    assert (problem.file, problem.line, problem.rule) == (file, line, rule)


def test_all_duplicate_keys_are_reported() -> None:
    with pytest.raises(MalformedText) as caught:
        load_text("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", "x.yaml")
    assert [str(problem) for problem in caught.value.problems] == [
        "x.yaml:2: a: the key is written twice, first on line 1",
        "x.yaml:5: b.c: the key is written twice, first on line 4",
    ]


def test_aliases_repeat_a_value_and_point_at_their_own_line() -> None:
    [source] = load_text("a: &x {b: 1}\nc: *x\n")
    assert source.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert source.line_of("c.b") == 2


def test_aliases_cannot_multiply_a_small_text_into_large_data() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(MalformedText, match="100,000"):
        load_text("\n".join(lines))


def test_a_text_over_one_mebibyte_is_refused_unread() -> None:
    with pytest.raises(MalformedText, match="1024 KiB"):
        load_text("#" * (MAX_BYTES + 1))


def test_files_are_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa4\n")
    assert load_file(file)[0].data == {"a": "ä"}
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(MalformedText) as caught:
        load_file(file)
    assert str(caught.value) == f"{file}:2: not UTF-8 text"


def test_a_file_that_is_not_there_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="No such file"):
        load_file(tmp_path / "none.yaml")


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029\x85\ufffe\uffff")
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_json_means_the_same_to_both_readers(data: object) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=1)
    assert load_text(text, "x.json")[0].data == data
    # Behind a comment the text is read as YAML, of which JSON is a part.
    assert load_text("# yaml\n" + text, "x.yaml")[0].data == data


@settings(max_examples=150, deadline=None)
@given(st.text("ab:-[]{},&*!#'\"\n \t|>?%@`0\\", max_size=40))
def test_no_text_makes_anything_but_data_or_malformed_text(text: str) -> None:
    problems: tuple[Problem, ...] = (Problem("none", line=1),)
    try:
        load_text(text, "x.yaml")
    except MalformedText as error:
        problems = error.problems
    assert all(problem.line > 0 for problem in problems)
