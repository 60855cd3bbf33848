"""A number that an adapter shows about itself, beside the node's own, at `GET /metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """`name`: in snake case with its unit (`busy_seconds`), without the adapter's; `help`: for people. Figures of one
    name have the same `help`, `grows` and labels. `grows`: it is counted since the start and never falls."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    grows: bool = False
