"""`${NAME}` in node and device files, taken from the environment; and the types that keep secrets unprinted.

Only strings are expanded, never keys. `$${` stands for a literal `${`. What was put in is remembered, so that a
message about a value shows `${NAME}` and not what the environment held.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twingateway.adapter.secret import Secret as Secret
from twingateway.adapter.secret import SecretFiles as SecretFiles
from twingateway.config.source import Source
from twingateway.errors import Problem

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Shorter values are not worth hiding and would garble a message by matching parts of words in it.
_SHORTEST_HIDDEN = 4


@dataclass(frozen=True, slots=True)
class Expanded:
    """A document's data with its environment references replaced."""

    data: Any
    problems: tuple[Problem, ...] = ()
    _inserted: Mapping[str, str] = field(default_factory=dict, repr=False)

    def redact(self, message: str) -> str:
        """The message with every inserted value shown as the reference it came from."""
        for value in sorted(self._inserted, key=len, reverse=True):
            message = message.replace(value, self._inserted[value])
        return message


def expand_env(source: Source, environ: Mapping[str, str]) -> Expanded:
    """Replace `${NAME}` in every string; a variable that is missing is a problem naming path and variable."""
    expansion = _Expansion(source, environ)
    data = expansion.walk(source.data, ())
    return Expanded(data, tuple(expansion.problems), expansion.inserted)


class _Expansion:
    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.inserted: dict[str, str] = {}
        self._source = source
        self._environ = environ

    def walk(self, data: Any, path: tuple[str, ...]) -> Any:
        if isinstance(data, dict):
            return {key: self.walk(member, (*path, str(key))) for key, member in data.items()}
        if isinstance(data, list):
            return [self.walk(item, (*path, str(index))) for index, item in enumerate(data)]
        if isinstance(data, str) and "${" in data:
            return _REFERENCE.sub(lambda match: self._value(match, path), data)
        return data

    def _value(self, match: re.Match[str], path: tuple[str, ...]) -> str:
        name = match[1]
        if name is None:
            return "${"
        if not match[0].endswith("}") or _NAME.fullmatch(name) is None:
            self._problem(path, f"{match[0]!r} is not a reference like ${{NAME}}; write $${{ for a literal ${{")
        elif name not in self._environ:
            self._problem(path, f"the environment variable {name} is not set; write $${{ for a literal ${{")
        else:
            value = self._environ[name]
            if len(value) >= _SHORTEST_HIDDEN:
                self.inserted[value] = match[0]
                self.inserted[repr(value)[1:-1]] = match[0]
            return value
        return match[0]

    def _problem(self, path: tuple[str, ...], message: str) -> None:
        self.problems.append(self._source.problem(message, path, "env"))
