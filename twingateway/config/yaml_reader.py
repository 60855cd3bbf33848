"""YAML 1.2 text → plain Python data and the line of every path.

ruamel.yaml does the syntax (events with positions); the values are made here, by the YAML 1.2 core schema and nothing
more: `on`, `12:30`, `1_000` and `2024-01-01` are strings, `1e3` is a number, a key is always the text it was written
as. Aliases are allowed but count in full against the limit on nodes, so a small text cannot become large data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from twingateway.errors import MalformedText, Problem

MAX_DEPTH = 32
MAX_NODES = 100_000

Path: TypeAlias = tuple[str, ...]
Lines: TypeAlias = dict[Path, int]

_TAG = "tag:yaml.org,2002:"
_MAX_DIGITS = 4000


def _null(text: str) -> None:
    return None


#: The core schema, in order: the first pattern that matches the whole of a plain scalar decides.
_CORE: tuple[tuple[str, re.Pattern[str], Callable[[str], Any]], ...] = (
    ("null", re.compile(r"~|null|Null|NULL|"), _null),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    ("int", re.compile(r"[-+]?[0-9]+"), int),
    ("int", re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    ("int", re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    ("float", re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    ("float", re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: float("nan")),
)


def read_yaml(text: str, file: str) -> list[tuple[Any, Lines]]:
    """Every document of the stream with its lines. Raises MalformedText whose problems have file and line."""
    composer = _Composer(text, file)
    documents = list(composer.documents())
    if composer.problems:
        raise MalformedText(str(composer.problems[0]), composer.problems)
    return documents


class _Composer:
    """Builds data from ruamel's events; duplicate keys are collected, anything worse ends the reading."""

    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events = self._translated(text)
        self._lines: Lines = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._builders: dict[type, Callable[[Any, Path], Any]] = {
            ScalarEvent: self._scalar,
            SequenceStartEvent: self._sequence,
            MappingStartEvent: self._mapping,
            AliasEvent: self._alias,
        }

    def documents(self) -> Iterator[tuple[Any, Lines]]:
        for event in self._events:
            if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentStartEvent | DocumentEndEvent):
                continue
            self._lines, self._anchors = {(): event.start_mark.line + 1}, {}
            yield self._node(event, ()), self._lines

    def _translated(self, text: str) -> Iterator[Any]:
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            context = f" ({error.context})" if error.context else ""
            raise self._refusal(
                f"not YAML: {error.problem}{context}", mark.line + 1 if mark else 0, "syntax"
            ) from error
        except YAMLError as error:
            line = text.count("\n", 0, getattr(error, "position", 0)) + 1
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._refusal(f"not YAML: {reason}", line, "syntax") from error

    def _refusal(self, message: str, line: int, rule: str) -> MalformedText:
        problem = Problem(message, rule=rule, line=line, file=self._file)
        return MalformedText(str(problem), [*self.problems, problem])

    def _node(self, event: Any, path: Path) -> Any:
        line = event.start_mark.line + 1
        if len(path) > MAX_DEPTH:
            raise self._refusal(f"nested deeper than {MAX_DEPTH} levels", line, "depth")
        self._count(1, line)
        before = self._nodes
        data = self._builders[type(event)](event, path)
        anchor = None if isinstance(event, AliasEvent) else event.anchor
        if anchor:
            self._anchors[anchor] = (data, self._nodes - before + 1)
        return data

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._refusal(f"more than {MAX_NODES:,} values, counting each alias in full", line, "size")

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        text, tag, line = event.value, event.tag, event.start_mark.line + 1
        if tag is None and not event.implicit[0]:
            return text
        if tag in (_TAG + "str", "!"):
            return text
        if len(text) > _MAX_DIGITS:
            if tag is None:
                return text
            raise self._refusal("a number of this length is not supported", line, "syntax")
        for name, pattern, convert in _CORE:
            if tag in (None, _TAG + name) and pattern.fullmatch(text):
                return convert(text)
        if tag is None:
            return text
        if tag.removeprefix(_TAG) in {name for name, _, _ in _CORE}:
            raise self._refusal(f"{text!r} is not of type {tag.removeprefix(_TAG)}", line, "tag")
        raise self._refusal(f"the tag {tag} is not supported", line, "tag")

    def _sequence(self, event: SequenceStartEvent, path: Path) -> list[Any]:
        self._check_tag(event, "seq")
        items: list[Any] = []
        while not isinstance(inner := next(self._events), SequenceEndEvent):
            at = (*path, str(len(items)))
            self._lines[at] = inner.start_mark.line + 1
            items.append(self._node(inner, at))
        return items

    def _mapping(self, event: MappingStartEvent, path: Path) -> dict[str, Any]:
        self._check_tag(event, "map")
        members: dict[str, Any] = {}
        while not isinstance(inner := next(self._events), MappingEndEvent):
            line = inner.start_mark.line + 1
            if not isinstance(inner, ScalarEvent):
                raise self._refusal("a key must be a plain text", line, "syntax")
            key = inner.value
            at = (*path, key)
            if key in members:
                first = self._lines[at]
                message = f"the key is written twice, first on line {first}"
                self.problems.append(Problem(message, ".".join(at), "duplicate", line, self._file))
            else:
                self._lines[at] = line
            members[key] = self._node(next(self._events), at)
        return members

    def _check_tag(self, event: Any, name: str) -> None:
        if event.tag not in (None, "!", _TAG + name):
            raise self._refusal(f"the tag {event.tag} is not supported", event.start_mark.line + 1, "tag")

    def _alias(self, event: AliasEvent, path: Path) -> Any:
        line = event.start_mark.line + 1
        if event.anchor not in self._anchors:
            raise self._refusal(f"*{event.anchor} names no complete value before it", line, "alias")
        data, nodes = self._anchors[event.anchor]
        self._count(nodes, line)
        return data
