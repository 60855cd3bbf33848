"""Durations as people write them: `500ms`, `10s`, `5m`, `1.5h`, `2d`."""

from __future__ import annotations

import math
import re

#: Seconds in each unit.
UNITS: dict[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

DURATION_PATTERN = r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(value: object) -> float:
    """`"10s"` → 10.0 seconds; a number is seconds already. Raises ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit: 500ms, 10s, 5m, 2h, 1d")
    return float(match[1]) * UNITS[match[2]]


def render_duration(seconds: float) -> str:
    """One text per duration, in the largest unit that makes it a whole number: 86400.0 → `1d`."""
    for unit, size in reversed(UNITS.items()):
        count = seconds / size
        if count >= 1 and count.is_integer():
            return f"{int(count)}{unit}"
    return f"{seconds:f}s"
