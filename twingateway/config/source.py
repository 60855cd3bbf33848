"""Documents as they were written: plain data, and the line of every part of it for error messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from twingateway.config.json_reader import read_json
from twingateway.config.yaml_reader import read_yaml
from twingateway.errors import InvalidConfig, InvalidDocument, MalformedText, Problem

MAX_BYTES = 1024 * 1024

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Source:
    """One document: dicts, lists, strings, numbers, booleans and None. It is shared and must not be changed.

    Its repr leaves the content out, since that may hold secrets.
    """

    data: Any = field(repr=False)
    file: str = ""
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict, repr=False)
    base: Source | None = field(default=None, repr=False)
    """The document (a profile) that lies beneath this one: what is written only there is located there."""

    def line_of(self, path: str | tuple[str | int, ...]) -> int:
        """One-based line of a path (`spec.items.0.name` or its parts), or of its nearest ancestor; 0 if unknown."""
        keys = self._keys(path) if isinstance(path, str) else tuple(str(part) for part in path)
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.lines:
                return self.lines[keys[:length]]
        return 0

    def _keys(self, dotted: str) -> tuple[str, ...]:
        """Keys may hold dots themselves: at each level the longest one that exists is taken."""
        parts = _INDEX.sub(r".\1", dotted).strip(".").split(".")
        keys: tuple[str, ...] = ()
        at = 0
        while at < len(parts):
            ends = range(len(parts), at, -1)
            end = next((end for end in ends if (*keys, ".".join(parts[at:end])) in self.lines), 0)
            if not end:
                break
            keys, at = (*keys, ".".join(parts[at:end])), end
        return keys

    def problem(self, message: str, path: str | tuple[str | int, ...] = "", rule: str = "") -> Problem:
        """A problem of this document, with its file and line."""
        dotted = path if isinstance(path, str) else ".".join(str(part) for part in path)
        home = self._home(path)
        return Problem(message, dotted, rule, home.line_of(path), home.file)

    def locate(self, problem: Problem) -> Problem:
        """The same problem with this document's file and line."""
        home = self._home(problem.path)
        return replace(problem, line=home.line_of(problem.path), file=home.file)

    def _home(self, path: str | tuple[str | int, ...]) -> Source:
        """The source in which the nearest ancestor of the path is written."""
        if self.base is None:
            return self
        own, beneath = self._depth(path), self.base._depth(path)
        return self.base if beneath > own else self

    def _depth(self, path: str | tuple[str | int, ...]) -> int:
        keys = self._keys(path) if isinstance(path, str) else tuple(str(part) for part in path)
        return next(length for length in range(len(keys), -1, -1) if not length or keys[:length] in self.lines)


def load_text(text: str, file: str = "") -> list[Source]:
    """The documents of a YAML 1.2 or JSON text; none if it holds only comments.

    Raises MalformedText (not YAML or JSON, duplicate keys, more than 1 MiB, 32 levels or 100,000 values); its
    problems have file and line.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _malformed(f"larger than {MAX_BYTES // 1024} KiB", "size", file)
    is_json = file.lower().endswith(".json")
    if is_json or text.lstrip()[:1] in ("{", "["):
        try:
            data, lines = read_json(text, file)
        except MalformedText as error:
            # Flow-style YAML begins like JSON.
            if is_json or error.problems[0].rule != "syntax":
                raise
        else:
            return [Source(data, file, lines)]
    return [Source(data, file, lines) for data, lines in read_yaml(text, file)]


def load_file(path: str | Path) -> list[Source]:
    """The documents of a file; raises InvalidConfig if it cannot be read, otherwise as `load_text`."""
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem(f"cannot be read: {error.strerror}", rule="file", file=file)
        raise InvalidConfig(str(problem), [problem]) from error
    if len(content) > MAX_BYTES:
        raise _malformed(f"larger than {MAX_BYTES // 1024} KiB", "size", file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _malformed("not UTF-8 text", "encoding", file, line) from error
    return load_text(text, file)


def load_files(paths: Iterable[str | Path]) -> Iterator[Source | Problem]:
    """The documents of all files in order; in place of a file that cannot be read, its problems."""
    for path in paths:
        try:
            yield from load_file(path)
        except InvalidDocument as error:
            yield from error.problems


def _malformed(message: str, rule: str, file: str, line: int = 0) -> MalformedText:
    problem = Problem(message, rule=rule, line=line, file=file)
    return MalformedText(str(problem), [problem])
