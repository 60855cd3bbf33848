"""CBOR as the wire uses it: plain values only, checked before anything is believed.

Tags, indefinite lengths, duplicate keys, `undefined`, NaN, infinities, invalid UTF-8 and bytes behind the item are
refused. Nothing is allocated from a claimed length: the decoder grows as bytes are really there.
"""

from __future__ import annotations

from io import BytesIO
from math import isfinite
from typing import Any

from cbor2 import CBORDecodeError, CBORDecoder, CBORError, dumps

from twingateway.errors import InvalidValue, Problem, ProtocolViolation
from twingateway.twin.value import MAX_DEPTH, Value

#: Integers have 64 bits with sign.
MAX_INTEGER = 2**63 - 1


class _NoTags(dict[int, Any]):
    """Stands where the decoder looks for a tag's meaning: no tag has one here."""

    def __missing__(self, tag: int) -> Any:
        raise CBORDecodeError(f"tag {tag}")


_NO_TAGS = _NoTags({-1: None})  # which is no tag; an empty mapping would be taken for none


def encode(item: object) -> bytes:
    """One item; floats in the shortest form that loses nothing."""
    return dumps(item, canonical=True)


def decode(data: bytes, depth: int) -> object:
    """Exactly one item nested at most `depth` arrays and maps deep. Raises ProtocolViolation.

    Scalars inside may still be NaN or foreign simple values: check what you use with `check_value` or by type.
    """
    source = BytesIO(data)
    try:
        item: object = CBORDecoder(
            source,
            semantic_decoders=_NO_TAGS,
            max_depth=depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        ).decode()
    except (CBORError, ValueError, RecursionError) as error:
        raise ProtocolViolation(f"not CBOR as this protocol uses it: {error}", 0x81) from error
    if source.tell() != len(data):
        raise ProtocolViolation("bytes behind the CBOR item", 0x81)
    return item


def int_size(number: int) -> int:
    """Bytes that an integer takes."""
    if number < 0:
        number = -1 - number
    if number < 24:
        return 1
    if number < 0x100:
        return 2
    if number < 0x10000:
        return 3
    return 5 if number < 0x1_0000_0000 else 9


def text_size(text: str) -> int:
    """Bytes that a text takes."""
    length = len(text) if text.isascii() else len(text.encode())
    return length + int_size(length)


def is_value(value: object, depth: int = MAX_DEPTH, binary: bool = False) -> bool:
    """Whether this is a `Value` of at most `depth` levels; with `binary`, byte strings count as scalars."""
    kind = type(value)
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]
    if value is None or kind is bool or kind is str:
        return True
    if isinstance(value, list):
        return depth > 0 and all(is_value(item, depth - 1, binary) for item in value)
    if isinstance(value, dict):
        return depth > 0 and all(
            type(name) is str and is_value(item, depth - 1, binary) for name, item in value.items()
        )
    return binary and kind is bytes


def value_size(value: Value) -> int:
    """Bytes that a value takes at most. Raises InvalidValue for what may not be sent."""
    if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
        return int_size(value)
    if not is_value(value):
        raise InvalidValue(Problem("a value is JSON with finite numbers, at most 16 levels deep", rule="type"))
    if isinstance(value, float):
        return 9
    try:
        return len(encode(value))
    except (CBORError, UnicodeError) as error:
        raise InvalidValue(Problem(f"cannot be encoded: {error}", rule="type")) from error
