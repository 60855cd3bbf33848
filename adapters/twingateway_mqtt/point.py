"""A device document compiled for use: the topics to hear, what to read from each message, what a command looks like.

Properties of one topic and format are read from one decoding of its message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import jmespath

from twingateway.adapter import Model, Property, PropertyType, Value
from twingateway.errors import DeviceReplyInvalid
from twingateway_mqtt.convert import Converter, fill
from twingateway_mqtt.payload import decode, encode, text_of
from twingateway_mqtt.settings import (
    CommandSettings,
    DeviceSettings,
    Format,
    Names,
    PropertySettings,
    ScalarType,
)

Picker = Callable[[Value], Value]

#: The end of the year 9999, in Unix milliseconds.
MAX_TIME = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Point:
    """How one property is read from a decoded payload."""

    name: str
    pick: Picker
    converter: Converter
    optional: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message said: the good values, and a fault for each property it failed for. `time`: Unix milliseconds
    by the device's clock, if it said so."""

    values: Mapping[str, Value] = field(default_factory=dict)
    faults: tuple[DeviceReplyInvalid, ...] = ()
    time: int | None = None


@dataclass(frozen=True, slots=True)
class StateTopic:
    """One topic in one format, and the properties it reports."""

    topic: str
    format: Format
    points: tuple[Point, ...]
    time: Picker | None = None

    def read(self, payload: bytes) -> Reading:
        try:
            decoded = decode(payload, self.format)
        except DeviceReplyInvalid as error:
            return Reading(faults=(DeviceReplyInvalid(f"{self.topic}: {error.message}"),))
        values: dict[str, Value] = {}
        faults: list[DeviceReplyInvalid] = []
        for point in self.points:
            try:
                picked = point.pick(decoded)
                if picked is not None:
                    values[point.name] = point.converter.read(picked)
                elif not point.optional:
                    raise DeviceReplyInvalid("nothing there in the payload")
            except DeviceReplyInvalid as error:
                faults.append(DeviceReplyInvalid(f"{self.topic}: {point.name}: {error.message}", property=point.name))
        return Reading(values, tuple(faults), self._time(decoded))

    def _time(self, decoded: Value) -> int | None:
        """A clock that makes no sense is no fault of the values: they count from when they arrive."""
        if self.time is None or self.format is Format.TEXT:
            return None
        try:
            said = self.time(decoded)
        except DeviceReplyInvalid:
            return None
        if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < MAX_TIME:
            return None
        return int(said)


@dataclass(frozen=True, slots=True)
class Command:
    """How one property is written."""

    topic: str
    settings: CommandSettings
    converter: Converter
    confirmable: bool

    def payload(self, value: Value) -> bytes:
        return encode(fill(self.settings.template, self.converter.written(value)), self.settings.payload)

    def matches(self, wanted: Value, observed: Value) -> bool:
        if isinstance(wanted, bool) or isinstance(observed, bool):
            return wanted is observed
        if isinstance(wanted, int | float) and isinstance(observed, int | float):
            return abs(wanted - observed) <= self.settings.tolerance
        return wanted == observed


def state_topics(settings: DeviceSettings, names: Names, model: Model | None) -> list[StateTopic]:
    grouped: dict[tuple[str, Format], list[Point]] = {}
    for name, each in settings.properties.items():
        if each.topic is None:
            continue
        point = Point(name, picker(each.pick), _converter(name, each, model), each.optional)
        grouped.setdefault((names.expand(each.topic), each.payload), []).append(point)
    time = None if settings.time is None else picker(settings.time)
    return [StateTopic(topic, kind, tuple(points), time) for (topic, kind), points in grouped.items()]


def commands(properties: Mapping[str, PropertySettings], names: Names, model: Model | None) -> dict[str, Command]:
    return {
        name: Command(
            names.expand(settings.command.topic),
            settings.command,
            _converter(name, settings, model),
            confirmable=settings.topic is not None,
        )
        for name, settings in properties.items()
        if settings.command is not None
    }


def picker(expression: str | None) -> Picker:
    """JMESPath as a function; raises DeviceReplyInvalid when the payload is none that it can be used on."""
    if expression is None:
        return lambda decoded: decoded
    compiled = jmespath.compile(expression)

    def pick(decoded: Value) -> Value:
        try:
            found: Value = compiled.search(decoded)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise DeviceReplyInvalid(f"{expression}: {error}") from None
        return found

    return pick


def matches_text(value: Value, wanted: str | bool | int) -> bool:
    """Whether a presence payload says `wanted`, whichever way it writes it."""
    return text_of(value).strip().casefold() == text_of(wanted).casefold()


_OF_MODEL: dict[PropertyType, ScalarType] = {
    PropertyType.NUMBER: ScalarType.NUMBER,
    PropertyType.INTEGER: ScalarType.INTEGER,
    PropertyType.BOOLEAN: ScalarType.BOOLEAN,
    PropertyType.STRING: ScalarType.STRING,
}


def _converter(name: str, settings: PropertySettings, model: Model | None) -> Converter:
    described: Property | None = model.properties.get(name) if model is not None else None
    kind = settings.type or (_OF_MODEL.get(described.type) if described is not None else None)
    return Converter(kind, settings.true_words, settings.false_words)


def names_of(topics: Iterable[StateTopic]) -> frozenset[str]:
    return frozenset(point.name for topic in topics for point in topic.points)
