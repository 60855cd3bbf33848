"""What the documents promise is shown by tests and programs that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROMISING = ["README.md", "twingateway/sync/PROTOCOL.md"]
#: A file, a folder or several of them, perhaps with the name of a test in it; or a program to run.
_TEST = re.compile(r"`(tests/[\w/*.]+)(?:::(\w+))?`")
_PROGRAM = re.compile(r"`python -m ((?:interop|tests)[.\w]*)[^`]*`")


def promises(file: str) -> list[tuple[str, str]]:
    """(promise, what shows it) of each row of the file's table."""
    section = (ROOT / file).read_text().split("\n## What is promised\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [(promise, shown) for promise, shown in rows[1:]]


def is_there(path: str, test: str) -> bool:
    found = [*ROOT.glob(path)]
    if not test:
        return bool(found)
    (file,) = found
    return any(getattr(node, "name", "") == test for node in ast.walk(ast.parse(file.read_text())))


def is_program(name: str) -> bool:
    path = name.replace(".", "/")
    return (ROOT / f"{path}.py").exists() or (ROOT / path / "__main__.py").exists()


@pytest.mark.parametrize("file", PROMISING)
def test_every_promise_names_what_shows_it(file: str):
    table = promises(file)
    assert len(table) > 5
    for promise, shown in table:
        assert _TEST.search(shown), promise


@pytest.mark.parametrize(
    "file", sorted(str(f.relative_to(ROOT)) for f in ROOT.rglob("*.md") if ".venv" not in f.parts)
)
def test_every_test_and_program_that_a_document_names_is_there(file: str):
    text = (ROOT / file).read_text()
    missing = [f"{path}::{test}" for path, test in _TEST.findall(text) if not is_there(path, test)]
    missing += [name for name in _PROGRAM.findall(text) if not is_program(name)]
    assert not missing


def test_a_name_that_is_not_there_is_missed():
    assert is_there("tests/test_promises.py", "is_there")
    assert not is_there("tests/test_promises.py", "is_nowhere")
    assert not is_there("tests/nowhere.py", "")
    assert is_program("tests.simulation")
    assert not is_program("tests.nowhere")
