"""The proof: what the devices hold against what the twins say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twingateway.demo.documents import DemoDevice

#: What two floating-point computations of one value may differ by, relative to it (a float32 has 24 bits).
ROUNDING = 2e-7

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A property of which device and twin say different things; None where one of them says nothing."""

    device: str
    property: str
    truth: Any
    twin: Any

    def __str__(self) -> str:
        return f"{self.device}.{self.property}: the device says {self.truth!r}, the twin {self.twin!r}"


def compare(devices: Iterable[DemoDevice], truth: Values, twins: Values) -> list[Mismatch]:
    """Device → property → value, on both sides. A property that only one side has is a mismatch, too."""
    found = []
    for device in devices:
        held, shown = truth.get(device.name, {}), twins.get(device.name, {})
        for name in sorted({*device.tolerances, *held, *shown}):
            tolerance = device.tolerances.get(name, 0.0)
            if not agree(held.get(name), shown.get(name), tolerance):
                found.append(Mismatch(device.name, name, held.get(name), shown.get(name)))
    return found


def agree(truth: Any, twin: Any, tolerance: float) -> bool:
    """Numbers within `tolerance` and rounding; everything else only if it is equal and of the same kind."""
    if truth is None or twin is None:
        return False
    if _is_number(truth) and _is_number(twin):
        return bool(abs(truth - twin) <= tolerance + ROUNDING * max(1.0, abs(truth), abs(twin)))
    return type(truth) is type(twin) and bool(truth == twin)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
