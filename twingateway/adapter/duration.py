"""Durations as people write them: `500ms`, `10s`, `5m`, `1.5h`, `2d`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from twingateway.twin.duration import DURATION_PATTERN as DURATION_PATTERN
from twingateway.twin.duration import UNITS as UNITS
from twingateway.twin.duration import parse_duration as parse_duration

#: A field of a settings or device model: written as `10s`, held as float seconds.
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": f"^{DURATION_PATTERN}$"}, {"type": "number", "minimum": 0}],
            "description": "A duration such as 500ms, 10s, 5m, 2h or 1d; a plain number is seconds.",
        }
    ),
]
