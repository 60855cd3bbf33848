"""JSON text → plain Python data and the line of every path.

`json` does the syntax and the values; since it tells no positions, a second pass over the text, by then known to be
JSON, notes the line of each member and finds duplicate keys and too deep nesting.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from twingateway.config.yaml_reader import MAX_DEPTH, Lines
from twingateway.errors import MalformedText, Problem

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def read_json(text: str, file: str) -> tuple[Any, Lines]:
    """The document and its lines. Raises MalformedText whose problems have file and line."""
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _malformed(f"not JSON: {error.msg} (column {error.colno})", "syntax", error.lineno, file) from error
    except RecursionError as error:
        raise _malformed(f"nested deeper than {MAX_DEPTH} levels", "depth", 0, file) from error
    except ValueError as error:
        raise _malformed(f"not JSON: {error}", "syntax", 0, file) from error
    index = _Index(file)
    index.read(text)
    if index.problems:
        raise MalformedText(str(index.problems[0]), index.problems)
    return data, index.lines


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _malformed(message: str, rule: str, line: int, file: str) -> MalformedText:
    problem = Problem(message, rule=rule, line=line, file=file)
    return MalformedText(str(problem), [problem])


@dataclass(slots=True)
class _Container:
    path: tuple[str, ...]
    is_object: bool
    key: str | None = None
    items: int = 0
    keys: set[str] = field(default_factory=set)


class _Index:
    """Lines of all members of a text that is known to be JSON."""

    def __init__(self, file: str) -> None:
        self.lines: Lines = {}
        self.problems: list[Problem] = []
        self._file = file
        self._open: list[_Container] = []

    def read(self, text: str) -> None:
        line, seen = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", seen, match.start())
            seen = match.start()
            token = match[0]
            if token in "}]":
                self._open.pop()
            elif token == ",":
                self._open[-1].key = None
            elif token != ":":
                self._member(token, line)
            if len(self._open) > MAX_DEPTH + 1:
                raise _malformed(f"nested deeper than {MAX_DEPTH} levels", "depth", line, self._file)

    def _member(self, token: str, line: int) -> None:
        """A key, a scalar, or the opening of an object or array."""
        if not self._open:
            path: tuple[str, ...] = ()
            self.lines[path] = line
        else:
            inside = self._open[-1]
            if inside.is_object and inside.key is None:
                self._key(inside, json.loads(token), line)
                return
            path = (*inside.path, inside.key if inside.key is not None else str(inside.items))
            inside.items += 1
            self.lines.setdefault(path, line)
        if token in "{[":
            self._open.append(_Container(path, token == "{"))

    def _key(self, inside: _Container, key: str, line: int) -> None:
        inside.key = key
        path = (*inside.path, key)
        if key in inside.keys:
            message = f"the key is written twice, first on line {self.lines[path]}"
            self.problems.append(Problem(message, ".".join(path), "duplicate", line, self._file))
        inside.keys.add(key)
        self.lines.setdefault(path, line)
