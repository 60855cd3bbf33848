"""Scale and offset in exact arithmetic: 235 × 0.1 is 23.5 and nothing else. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Linear(NamedTuple):
    """value = (raw × factor + addend) ÷ divisor, the divisor a power of ten."""

    factor: int
    addend: int
    divisor: int

    @classmethod
    def of(cls, scale: Decimal, offset: Decimal) -> Linear:
        places = max(0, *(-_exponent(number) for number in (scale, offset)))
        divisor = 10**places
        return cls(int(scale * divisor), int(offset * divisor), divisor)

    @property
    def step(self) -> float:
        """The distance between two neighbouring values."""
        return abs(self.factor) / self.divisor

    def value(self, raw: int) -> int | float:
        scaled = raw * self.factor + self.addend
        return scaled if self.divisor == 1 else scaled / self.divisor

    def raw(self, value: Decimal) -> Decimal:
        return (value * self.divisor - self.addend) / self.factor

    def shifted(self, exponent: int) -> Linear:
        """The same with the scale (not the offset) multiplied by ten to the `exponent`."""
        scale = Decimal(self.factor) / self.divisor
        return Linear.of(scale.scaleb(exponent), Decimal(self.addend) / self.divisor)

    @property
    def is_identity(self) -> bool:
        return self == IDENTITY


IDENTITY = Linear(1, 0, 1)


def _exponent(number: Decimal) -> int:
    return int(number.normalize().as_tuple().exponent)


def decimal(number: int | float) -> Decimal:
    """The decimal a person reads: 0.1 is a tenth."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
