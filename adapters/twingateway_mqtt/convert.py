"""What a device writes for a value ↔ the property's type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from twingateway.adapter import Value
from twingateway.errors import DeviceReplyInvalid
from twingateway_mqtt.payload import text_of
from twingateway_mqtt.settings import VALUE, ScalarType

_TRUE = ("true", "on", "1", "yes")
_FALSE = ("false", "off", "0", "no")
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,30}\s*")


class Converter:
    """One property's type and its words for true and false. `type` None leaves every value as it is."""

    def __init__(self, type: ScalarType | None, true_words: tuple[str, ...], false_words: tuple[str, ...]) -> None:
        self._convert = _CONVERSIONS.get(type) if type is not None else None
        self._boolean = type is ScalarType.BOOLEAN or bool(true_words)
        self._written = {True: true_words[0], False: false_words[0]} if true_words else {}
        self._words = {word.casefold(): True for word in true_words or _TRUE}
        self._words.update({word.casefold(): False for word in false_words or _FALSE})

    def read(self, value: Value) -> Value:
        """Raises DeviceReplyInvalid when the value is none of this type."""
        if self._boolean:
            return self._to_boolean(value)
        return self._convert(value) if self._convert is not None else value

    def written(self, value: Value) -> Value:
        """As the device wants to be told."""
        return self._written[value] if isinstance(value, bool) and self._written else value

    def _to_boolean(self, value: Value) -> bool:
        if isinstance(value, bool):
            return value
        word = self._words.get(text_of(value).strip().casefold())
        if word is None:
            raise _wrong(value, "true or false")
        return word


def fill(template: Value, value: Value) -> Value:
    """The template with `$value` replaced: by the value itself, or by its text inside a longer text."""
    if template == VALUE:
        return value
    if isinstance(template, str):
        return template.replace(VALUE, text_of(value))
    if isinstance(template, list):
        return [fill(item, value) for item in template]
    if isinstance(template, dict):
        return {key: fill(item, value) for key, item in template.items()}
    return template


def _wrong(value: Value, wanted: str) -> DeviceReplyInvalid:
    return DeviceReplyInvalid(f"{text_of(value)[:60]!r} is not {wanted}")


def _to_number(value: Value) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else math.nan
    if not math.isfinite(number):
        raise _wrong(value, "a number")
    return number


def _to_integer(value: Value) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    number = _to_number(value)
    if isinstance(number, float) and not number.is_integer():
        raise _wrong(value, "an integer")
    return int(number)


def _to_string(value: Value) -> str:
    if isinstance(value, list | dict) or value is None:
        raise _wrong(value, "a text")
    return text_of(value)


_CONVERSIONS: dict[ScalarType, Callable[[Value], Value]] = {
    ScalarType.NUMBER: _to_number,
    ScalarType.INTEGER: _to_integer,
    ScalarType.STRING: _to_string,
}
