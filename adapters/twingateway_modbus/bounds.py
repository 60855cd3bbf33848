"""What a register map lets be written, besides the model: both hold, so that a map can only be narrower. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from twingateway.adapter import Value
from twingateway.errors import InvalidValue, Problem
from twingateway_modbus.linear import decimal

#: How far from a step, relative to it, a number may be and still be on it: arithmetic on doubles.
_NOISE = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Bounds:
    """`step` counts from `minimum`, or from 0."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    step: Decimal | None = None

    def check(self, name: str, value: Value) -> None:
        """Each number of `value`. Raises InvalidValue."""
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                self._check(name, number)

    def _check(self, name: str, number: float) -> None:
        exact = decimal(number)
        if self.minimum is not None and exact < self.minimum:
            raise _refusal(f"{number} is below the register map's minimum of {self.minimum}", name, "minimum")
        if self.maximum is not None and exact > self.maximum:
            raise _refusal(f"{number} is above the register map's maximum of {self.maximum}", name, "maximum")
        if self.step is not None:
            origin = self.minimum or Decimal(0)
            off = (exact - origin).remainder_near(self.step)
            if abs(off) > _NOISE * max(abs(exact), self.step):
                raise _refusal(f"{number} is not on the register map's steps of {self.step}", name, "step")


#: What most properties have.
NO_BOUNDS = Bounds()


def _refusal(text: str, name: str, rule: str) -> InvalidValue:
    return InvalidValue(Problem(text, name, rule))
