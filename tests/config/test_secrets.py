"""Secrets come from the environment or from files, and are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from twingateway.config.secrets import Secret, SecretFiles, expand_env
from twingateway.config.source import load_text


def expand(text: str, **environ: str) -> tuple[object, list[str]]:
    [source] = load_text(text, "n.yaml")
    expanded = expand_env(source, environ)
    return expanded.data, [str(problem) for problem in expanded.problems]


def test_references_are_replaced_wherever_strings_are() -> None:
    data, problems = expand("a: ['x${ONE}y', {b: '${ONE}${TWO}'}]\nn: 1\n", ONE="1", TWO="2")
    assert data == {"a": ["x1y", {"b": "12"}], "n": 1}
    assert problems == []


def test_a_doubled_dollar_sign_is_a_literal_one_and_what_was_inserted_is_not_read_again() -> None:
    assert expand("a: 'cost $${X} $5 $X'", X="no")[0] == {"a": "cost ${X} $5 $X"}
    assert expand("a: '${X}'", X="${Y}")[0] == {"a": "${Y}"}


def test_every_missing_variable_is_a_problem_with_its_place() -> None:
    _, problems = expand("a: ok\nb:\n  c: '${NOT_SET}'\n  d: '${ALSO_NOT}'\n")
    assert [problem.split(";")[0] for problem in problems] == [
        "n.yaml:3: b.c: the environment variable NOT_SET is not set",
        "n.yaml:4: b.d: the environment variable ALSO_NOT is not set",
    ]


@pytest.mark.parametrize("written", ["${}", "${1A}", "${A", "${A-b}"])
def test_what_only_looks_like_a_reference_is_a_problem(written: str) -> None:
    _, problems = expand(f"a: '{written}'", A="x")
    assert len(problems) == 1
    assert "is not a reference" in problems[0]


def test_messages_show_the_reference_and_not_what_it_stands_for() -> None:
    [source] = load_text("a: '${PASSWORD}'")
    expanded = expand_env(source, {"PASSWORD": "hunter'2\n"})
    assert "hunter" not in expanded.redact(f"{expanded.data['a']!r} is not a number")
    assert "hunter" not in expanded.redact(f"{expanded.data['a']} is not a number")
    assert "hunter" not in repr(expanded.problems)


class Login(SecretFiles):
    user: str = ""
    password: Secret | None = None
    password_file: Path | None = None


def test_a_secret_is_read_from_the_file_beside_the_document_and_never_printed(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret phrase\n")
    login = Login.model_validate({"password_file": "pw"}, context={"folder": tmp_path})
    assert login.password is not None
    assert login.password.get_secret_value() == "s3cret phrase"
    assert "s3cret" not in repr(login) + str(login) + login.model_dump_json()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 70_000, "64 KiB"),
    ],
)
def test_a_secret_file_that_is_no_use_is_a_clear_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        Login.model_validate({"password_file": "pw"}, context={"folder": tmp_path})
    [error] = caught.value.errors()
    assert reason in error["msg"]
    assert error["ctx"]["at"] == "password_file"


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x")
    with pytest.raises(ValidationError, match="not both"):
        Login.model_validate({"password": "y", "password_file": "pw"}, context={"folder": tmp_path})
