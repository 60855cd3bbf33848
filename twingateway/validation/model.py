"""A model compiled once, so that checking a value against it costs about a microsecond.

Order of a check: normalise to JSON; move numbers onto their step; jsonschema-rs decides; give the value the model's
own type (a whole float where an integer is asked for, a float where a number is, an enum's own spelling); then the
step and the access are judged. Only a refused value costs more: then jsonschema is imported to say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jsonschema_rs import Draft202012Validator

from twingateway.errors import InvalidValue, Problem
from twingateway.twin.model import Model, Property
from twingateway.twin.value import Value
from twingateway.validation.fit import Fit
from twingateway.validation.normalise import normalise
from twingateway.validation.report import in_document_order
from twingateway.validation.schema import Schema, compile_schema


class Direction(Enum):
    IN = "in"  # from a device, to be reported
    DOWN = "down"  # desired, to be written to a device


class CompiledModel:
    """The checks of one model; immutable, and safe to share between threads."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._checks = {name: _compile(source) for name, source in model.properties.items()}

    def check(self, name: str, value: Value, *, direction: Direction) -> Value:
        """The value to store for one property.

        A name that the model does not have passes unchanged on the way in, and is refused on the way down. None (the
        property is removed) always passes. Raises InvalidValue, whose problem's path begins with the property's name
        and whose detail holds `property`, `rule` and, if it is JSON, `value`; or TooLarge.
        """
        try:
            value = normalise(value, name)
        except InvalidValue as error:
            error.detail["property"] = name
            raise
        if value is None:
            return None
        check = self._checks.get(name)
        if check is None:
            return self._unknown(name, value, direction)
        down = direction is Direction.DOWN
        off_step: list[Problem] = []
        if check.fit.stepped:
            value = check.fit.onto_step(value, name, device=not down, off=off_step)
        if not check.is_valid[down](value):
            raise _refusal(name, value, _first_problem(check.schemas[down], value, name))
        if off_step:
            raise _refusal(name, value, off_step[0])
        if down and not check.writable:
            raise _refusal(name, value, _read_only(name))
        return check.fit.convert(value)

    def problems(self, name: str, value: Value, *, direction: Direction) -> list[Problem]:
        """Everything for which `check` refuses a value, in the order of the value; empty if it does not. Raises
        TooLarge."""
        try:
            self.check(name, value, direction=direction)
        except InvalidValue as error:
            check = self._checks.get(name)
            return [error.problem] if check is None else _problems(check, value, name, direction) or [error.problem]
        return []

    def _unknown(self, name: str, value: Value, direction: Direction) -> Value:
        if direction is Direction.IN:
            return value
        raise self._no_such(name, value)

    def _no_such(self, name: str, value: Value) -> InvalidValue:
        from twingateway.validation.explain import guess

        writable = [known for known, source in self.model.properties.items() if source.writable]
        message = f"{self.model.ref} has no such property{guess(name, writable)}"
        return _refusal(name, value, Problem(message, name, "unknown"))


@dataclass(frozen=True, slots=True)
class _Check:
    """One compiled property. Pairs are for the way in and the way down, in that order."""

    schemas: tuple[Schema, Schema]
    is_valid: tuple[Callable[[Any], bool], Callable[[Any], bool]]
    fit: Fit
    writable: bool


def _compile(source: Property) -> _Check:
    schemas = compile_schema(source, closed=False), compile_schema(source, closed=True)
    loose = Draft202012Validator(schemas[0]).is_valid
    strict = loose if schemas[0] == schemas[1] else Draft202012Validator(schemas[1]).is_valid
    return _Check(schemas, (loose, strict), Fit.of(source), source.writable)


def _problems(check: _Check, value: Value, path: str, direction: Direction) -> list[Problem]:
    from twingateway.validation.explain import problems

    down, found = direction is Direction.DOWN, list[Problem]()
    moved = check.fit.onto_step(value, path, device=not down, off=found)
    if down and not check.writable:
        found.append(_read_only(path))
    return in_document_order([*problems(check.schemas[down], moved, path), *found], value, path)


def _read_only(path: str) -> Problem:
    return Problem("the model says that it can only be read", path, "access")


def _first_problem(schema: Schema, value: Value, path: str) -> Problem:
    from twingateway.validation.explain import problems

    return next(iter(problems(schema, value, path)), Problem("does not fit the model", path, "schema"))


def _refusal(name: str, value: Value, problem: Problem) -> InvalidValue:
    from twingateway.validation.explain import shown

    plain = value if value is None or isinstance(value, bool | int | float) else shown(value)
    return InvalidValue(problem, property=name, value=plain, rule=problem.rule)
