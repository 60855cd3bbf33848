"""Bringing a value into a property's own form: numbers onto their step, then everything to the model's types.

A `Fit` is a property reduced to what that takes, compiled once; a whole object or list is fitted through its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twingateway.errors import Problem
from twingateway.twin.model import Property, PropertyType
from twingateway.twin.value import Value
from twingateway.validation.step import Grid


@dataclass(frozen=True, slots=True)
class Fit:
    """One property, or one member or item of it. `stepped`: it or something in it has a step."""

    type: PropertyType
    values: tuple[Value, ...]
    grid: Grid | None
    stepped: bool
    items: Fit | None
    members: Mapping[str, Fit]

    @classmethod
    def of(cls, source: Property) -> Fit:
        grid = Grid.of(source)
        items = cls.of(source.items) if source.items is not None else None
        members = {name: cls.of(part) for name, part in source.members.items()}
        parts = [*members.values(), *([items] if items is not None else [])]
        stepped = grid is not None or any(part.stepped for part in parts)
        return cls(source.type, source.values, grid, stepped, items, members)

    def onto_step(self, value: Value, path: str, *, device: bool, off: list[Problem]) -> Value:
        """The value with its numbers on their steps; a number off its step is kept, and named in `off`.

        Values of the wrong type pass: the validator refuses them. `device`: see `Grid.fit`.
        """
        if not self.stepped:
            return value
        if isinstance(value, dict):
            return {
                name: part
                if (fit := self.members.get(name)) is None
                else fit.onto_step(part, f"{path}.{name}", device=device, off=off)
                for name, part in value.items()
            }
        if isinstance(value, list):
            fit = self.items
            if fit is None:
                return value
            return [
                fit.onto_step(part, f"{path}.{place}", device=device, off=off) for place, part in enumerate(value)
            ]
        if self.grid is None or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return _number_onto(self.grid, value, path, device, off)

    def convert(self, value: Value) -> Value:
        """A valid value in the model's own types."""
        return _CONVERT[self.type](self, value)


def _number_onto(grid: Grid, value: float, path: str, device: bool, off: list[Problem]) -> float:
    kept = grid.fit(value, device=device)
    if kept is not None:
        return kept
    below, above = grid.neighbours(value)
    off.append(Problem(f"{value} is not in {grid}; the nearest are {below} and {above}", path, "step"))
    return value


def _keep(fit: Fit, value: Any) -> Value:
    return value  # type: ignore[no-any-return]  # valid JSON


def _to_float(fit: Fit, value: Any) -> Value:
    return float(value)


def _to_int(fit: Fit, value: Any) -> Value:
    return int(value)


def _to_member(fit: Fit, value: Any) -> Value:
    # 1.0 becomes the model's 1, yet true is never taken for it.
    return next(each for each in fit.values if each == value and (type(each) is bool) == (type(value) is bool))


def _to_items(fit: Fit, value: Any) -> Value:
    items = fit.items
    return value if items is None else [items.convert(part) for part in value]


def _to_members(fit: Fit, value: Any) -> Value:
    members = fit.members
    return {name: members[name].convert(part) if name in members else part for name, part in value.items()}


_CONVERT: dict[PropertyType, Callable[[Fit, Any], Value]] = {
    PropertyType.NUMBER: _to_float,
    PropertyType.INTEGER: _to_int,
    PropertyType.BOOLEAN: _keep,
    PropertyType.STRING: _keep,
    PropertyType.ENUM: _to_member,
    PropertyType.ARRAY: _to_items,
    PropertyType.OBJECT: _to_members,
}
