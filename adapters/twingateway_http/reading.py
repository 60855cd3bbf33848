"""Which properties are picked from a document, be it polled or pushed, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite

import jmespath

from twingateway.adapter import Value
from twingateway.errors import DeviceReplyInvalid
from twingateway_http.document import unix_ms
from twingateway_http.settings import PropertySettings

Picker = Callable[[Value], Value]


@dataclass(frozen=True, slots=True)
class Reading:
    """The good values, a fault by property for each that failed, and the device's time in Unix milliseconds."""

    values: Mapping[str, Value] = field(default_factory=dict)
    faults: Mapping[str, DeviceReplyInvalid] = field(default_factory=dict)
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One property in one kind of document. `optional`: that nothing is there is no fault."""

    name: str
    pick: Picker
    scale: Decimal
    optional: bool

    def read(self, document: Value) -> Value:
        """None when nothing is there, which is a fault unless it is optional. Raises DeviceReplyInvalid."""
        picked = self.pick(document)
        if picked is None and not self.optional:
            raise DeviceReplyInvalid("nothing there in the answer")
        return picked if picked is None or self.scale == 1 else _scaled(picked, self.scale)


class Shape:
    """The points of one kind of document, and where it holds the device's time, if it does."""

    def __init__(self, points: tuple[Point, ...], time: str | None) -> None:
        self.points = points
        self._time = None if time is None else picker(time)

    def read(self, document: Value) -> Reading:
        values: dict[str, Value] = {}
        faults: dict[str, DeviceReplyInvalid] = {}
        for point in self.points:
            try:
                value = point.read(document)
            except DeviceReplyInvalid as error:
                faults[point.name] = DeviceReplyInvalid(f"{point.name}: {error.message}", property=point.name)
            else:
                if value is not None:
                    values[point.name] = value
        time = None
        try:
            time = self._read_time(document)
        except DeviceReplyInvalid as error:
            faults[""] = error
        return Reading(values, faults, time)

    def _read_time(self, document: Value) -> int | None:
        picked = None if self._time is None else self._time(document)
        return None if picked is None else unix_ms(picked)


def polled(name: str, settings: PropertySettings) -> Point:
    assert settings.pick is not None
    return Point(name, picker(settings.pick), settings.scale, settings.optional)


def pushed(name: str, settings: PropertySettings) -> Point:
    """What is pushed need not hold every property."""
    assert settings.push is not None
    return Point(name, picker(settings.push), settings.scale, optional=True)


def picker(expression: str) -> Picker:
    """JMESPath as a function that raises DeviceReplyInvalid where the document is none it can be used on."""
    compiled = jmespath.compile(expression)

    def pick(document: Value) -> Value:
        try:
            found: Value = compiled.search(document)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise DeviceReplyInvalid(f"{expression}: {error}") from None
        return found

    return pick


def _scaled(value: Value, scale: Decimal) -> int | float:
    if not _is_number(value):
        raise DeviceReplyInvalid(f"{value!r:.60} is not a number, so it cannot be scaled")
    return plain(Decimal(str(value)) * scale)


def plain(number: Decimal) -> int | float:
    """As JSON has it: a whole number without a point."""
    return int(number) if number == number.to_integral_value() else float(number)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
