"""Durations, bit rates and shares as people write them on a command line, and types for argparse."""

from __future__ import annotations

import argparse
import re

_UNITS = {
    "duration": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0},
    "bit rate": {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9},
}
_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)")


def _parse(text: str, kind: str) -> float:
    found = _QUANTITY.fullmatch(text.strip())
    factor = None if found is None else _UNITS[kind].get(found[2].lower())
    if found is None or factor is None:
        units = ", ".join(unit for unit in _UNITS[kind] if unit)
        raise argparse.ArgumentTypeError(f"{text!r} is no {kind}: a number and one of {units}")
    return float(found[1]) * factor


def seconds(text: str) -> float:
    """`50ms`, `30s`, `5m`; a bare number is seconds."""
    return _parse(text, "duration")


def bits_per_second(text: str) -> float:
    """`256k`, `1m`; a bare number is bit/s."""
    return _parse(text, "bit rate")


def share(text: str) -> float:
    """A number from 0 up to, but not including, 1; or a percentage such as `20%`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: a number from 0 to 1 or a percentage") from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value
