"""From whatever a device, a decoder or a client handed over to a plain, bounded JSON value.

Everything later relies on it: what passes can be encoded by every peer, means the same to all of them, and is judged
alike by both JSON Schema validators. Only exact Python JSON types pass (a subclass such as an enum member or another
library's number may behave differently elsewhere); tuples become lists; containers are copied.
Scalars take one table look-up. The size of a container is bounded from below and above while it is walked, and only
measured when the bounds leave the answer open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from twingateway.errors import InvalidValue, Problem, TooLarge
from twingateway.twin.value import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, Value

#: The most bytes that one character, and one number, can take in compact JSON (`\u0000`; `-2.2250738585072014e-308`).
_CHARACTER_BYTES = 6
_NUMBER_BYTES = 24


def normalise(value: object, path: str = "", *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> Value:
    """The value as plain JSON data.

    Raises InvalidValue (rules `type`, `finite`, `range`, `unicode`) or TooLarge (rules `depth`, `size`; its detail
    has `path` and `rule`). The problem's path is `path` and, dotted, where inside the value.
    """
    try:
        scalar = _SCALARS.get(type(value))
        if scalar is None:
            return _Walk(max_depth, max_bytes).whole(value)
        if type(value) is str and len(value) * _CHARACTER_BYTES > max_bytes:
            return _Walk(max_depth, max_bytes).whole(value)
        return scalar(value)
    except _Refused as refused:
        where = ".".join(part for part in (path, *reversed(refused.trail)) if part)
        problem = Problem(refused.message, where, refused.rule)
        if refused.rule in ("depth", "size"):
            raise TooLarge(str(problem), path=where, rule=refused.rule) from None
        raise InvalidValue(problem, rule=refused.rule) from None


class _Refused(Exception):
    """Unwinds a walk; each container adds its key, so that a path costs nothing while all is well."""

    def __init__(self, message: str, rule: str) -> None:
        self.message = message
        self.rule = rule
        self.trail: list[str] = []


def _keep(value: Any) -> Value:
    return value  # type: ignore[no-any-return]  # bool or None


def _float(value: float) -> Value:
    if isfinite(value):
        return value
    raise _Refused(f"{value} is not a finite number", "finite")


def _int(value: int) -> Value:
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    raise _Refused(
        f"an integer of {value.bit_length()} bits; at most 53 are exact everywhere (±{MAX_INTEGER})", "range"
    )


def _str(value: str) -> Value:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = ord(value[error.start])
            raise _Refused(f"half a character (U+{code:04X}) at position {error.start}", "unicode") from None
    return value


_SCALARS: dict[type, Callable[[Any], Value]] = {
    float: _float,
    int: _int,
    str: _str,
    bool: _keep,
    type(None): _keep,
}


class _Walk:
    """One walk through a container: copies it, counting the least and the most bytes it can take."""

    __slots__ = ("least", "max_bytes", "max_depth", "most")

    def __init__(self, max_depth: int, max_bytes: int) -> None:
        self.max_depth = max_depth
        self.max_bytes = max_bytes
        self.least = 0
        self.most = 0

    def whole(self, value: object) -> Value:
        result = self._value(value, 1)
        if self.most > self.max_bytes:
            size = len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode())
            if size > self.max_bytes:
                raise self._too_large()
        return result

    def _value(self, value: object, depth: int) -> Value:
        kind = type(value)
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            result = scalar(value)
            self._count(kind, value)
            return result
        if depth > self.max_depth and kind in (dict, list, tuple):
            raise _Refused(f"more than {self.max_depth} levels deep", "depth")
        if isinstance(value, dict) and kind is dict:
            return self._object(value, depth)
        if isinstance(value, list | tuple) and kind in (list, tuple):
            return self._array(value, depth)
        raise _Refused(f"a {kind.__name__} is not a JSON value (text, number, true, false, list or object)", "type")

    def _object(self, value: dict[object, object], depth: int) -> Value:
        self._add(2, 2)
        result: dict[str, Value] = {}
        for name, item in value.items():
            if not isinstance(name, str) or type(name) is not str:
                raise _Refused(f"a key is of type {type(name).__name__}; keys are text (put it in quotes)", "type")
            _str(name)
            self._add(len(name) + 3, len(name) * _CHARACTER_BYTES + 4)
            try:
                result[name] = self._value(item, depth + 1)
            except _Refused as refused:
                refused.trail.append(name)
                raise
        return result

    def _array(self, value: list[object] | tuple[object, ...], depth: int) -> Value:
        self._add(2, 2)
        result: list[Value] = []
        for position, item in enumerate(value):
            self._add(0, 1)
            try:
                result.append(self._value(item, depth + 1))
            except _Refused as refused:
                refused.trail.append(str(position))
                raise
        return result

    def _count(self, kind: type, value: Any) -> None:
        if kind is str:
            self._add(len(value) + 2, len(value) * _CHARACTER_BYTES + 2)
        else:
            self._add(1, _NUMBER_BYTES)

    def _add(self, least: int, most: int) -> None:
        self.least += least
        self.most += most
        if self.least > self.max_bytes:
            raise self._too_large()

    def _too_large(self) -> _Refused:
        return _Refused(f"larger than {self.max_bytes // 1024} KiB", "size")
