"""The step rule: a number lies on a grid of `step`, counted from `minimum` (or 0), in decimal arithmetic.

Decimal, because the step 0.1 that a person writes has no exact binary form. What counts as noise rather than as
another value (`size` is the greater of the number's and the step's magnitude):
- off by at most 1e-9 of size (and a thousandth of a step): arithmetic on doubles. Moved onto the grid, so that what
  a device reports equals what was asked of it.
- from a device, off by at most 1e-6 of size (and a quarter of a step): a single-precision reading. Kept as it is.
- an integer carries no noise.
- where the doubles around a number lie further apart than a step, the rule says nothing and the number is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

from twingateway.twin.model import Property

# An own context: the caller's thread may have set another precision or other traps.
_CONTEXT = Context(prec=60)
_DOUBLE_NOISE = Decimal("1e-9")
_SINGLE_NOISE = Decimal("1e-6")
_DOUBLE_CAP = Decimal("0.001")
_SINGLE_CAP = Decimal("0.25")
_DOUBLE_STEPS = float(2**53)
_QUICK_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Grid:
    """`origin + n * step` for every whole n.

    `digits`, `first` and `every` restate it in whole units of 10^-digits, for numbers smaller than `reach`: a float
    that equals itself rounded to that many digits *is* the float nearest to that decimal, so whole-number arithmetic
    on the digits is exact there, and five times quicker than Decimal.
    """

    origin: Decimal
    step: Decimal
    digits: int
    first: int
    every: int
    reach: float

    @classmethod
    def of(cls, source: Property) -> Grid | None:
        """The grid of a property, None if it has no step."""
        if source.step is None:
            return None
        origin, step = _decimal(source.minimum or 0), _decimal(source.step)
        digits = max(0, *(-int(number.normalize(_CONTEXT).as_tuple().exponent) for number in (origin, step)))
        first, every = (int(number.scaleb(digits, _CONTEXT)) for number in (origin, step))
        reach = 2.0**50 / 10**digits if digits <= _QUICK_DIGITS else 0.0
        return cls(origin, step, digits, first, every, reach)

    def fit(self, value: float, *, device: bool) -> float | None:
        """The number to keep for `value` (int or float, finite), or None if it is off the grid."""
        if abs(value) < self.reach and round(value, self.digits) == value:
            units = round(value * 10**self.digits)
            if (units - self.first) % self.every == 0:
                return value
        if abs(value) >= float(self.step) * _DOUBLE_STEPS:
            return value
        exact = _decimal(value)
        nearest = self._point(exact, ROUND_HALF_EVEN)
        off = abs(_CONTEXT.subtract(exact, nearest))
        if not off:
            return value
        if isinstance(value, int):
            return None
        size = max(abs(exact), self.step)
        if off <= min(size * _DOUBLE_NOISE, self.step * _DOUBLE_CAP):
            return float(nearest)
        if device and off <= min(size * _SINGLE_NOISE, self.step * _SINGLE_CAP):
            return value
        return None

    def neighbours(self, value: float) -> tuple[str, str]:
        """The grid's points just below and above a number, as a person writes them."""
        exact = _decimal(value)
        return _plain(self._point(exact, ROUND_FLOOR)), _plain(self._point(exact, ROUND_CEILING))

    def __str__(self) -> str:
        return f"steps of {_plain(self.step)} from {_plain(self.origin)}"

    def _point(self, exact: Decimal, rounding: str) -> Decimal:
        count = _CONTEXT.divide(_CONTEXT.subtract(exact, self.origin), self.step)
        whole = count.to_integral_value(rounding, _CONTEXT)
        return _CONTEXT.add(self.origin, _CONTEXT.multiply(whole, self.step))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _plain(value: Decimal) -> str:
    return format(value.normalize(_CONTEXT), "f")
