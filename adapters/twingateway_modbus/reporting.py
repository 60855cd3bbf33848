"""Which changes are reported, and how often: said for a property, its group, its device or all devices of a node.

Each of the four settings is taken from the narrowest level that says it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from twingateway.adapter import Duration, Value

Interval = Annotated[Duration, Field(ge=0, le=86400 * 30)]
Percent = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True, slots=True)
class Reporting:
    """Intervals in seconds. `percent` is of the value last reported."""

    deadband: float = 0.0
    percent: float = 0.0
    min_interval: float = 0.0
    max_interval: float | None = None

    def matters(self, before: Value, now: Value) -> bool:
        """Whether the step from `before` to `now` is worth a report."""
        if not (self.deadband or self.percent) or type(before) is bool or type(now) is bool:
            return before != now or type(before) is not type(now)
        if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
            return any(self.matters(*pair) for pair in zip(before, now, strict=True))
        if not isinstance(now, int | float) or not isinstance(before, int | float):
            return before != now
        return abs(now - before) > max(self.deadband, abs(before) * self.percent / 100)


class ReportingSettings(BaseModel):
    """What one level says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deadband: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Smaller changes of numbers are not reported."
    )
    deadband_percent: Percent = Field(0.0, description="The same, of the value last reported.")
    min_interval: Interval = Field(0.0, description="Changes are reported at most this often.")
    max_interval: Interval | None = Field(None, description="Reported at least this often, changed or not.")


#: One for all that are equal: a thousand meters of one type have a few, not thirty thousand.
_shared = lru_cache(maxsize=1024)(Reporting)
_NOTHING = ReportingSettings.model_validate({})


def reporting(levels: Iterable[ReportingSettings]) -> Reporting:
    """`levels`: the narrowest first."""
    known = tuple(levels)

    def said(key: str) -> ReportingSettings:
        return next((level for level in known if key in level.model_fields_set), _NOTHING)

    return _shared(
        said("deadband").deadband,
        said("deadband_percent").deadband_percent,
        said("min_interval").min_interval,
        said("max_interval").max_interval,
    )
