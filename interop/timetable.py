"""What can be done to a link while it runs, as people write it: `loss=0.3`, `down`, `20s:address`. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from interop.path import Conditions
from interop.quantities import bits_per_second, seconds, share

#: What is no condition: the edge gets another address, its NAT another port for each flow; tell how things stand.
ADDRESS, REBIND, SHOW, SET = "address", "rebind", "show", "set"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `name` and `value`: the condition to set, if `what` is SET."""

    what: str
    name: str = ""
    value: float | bool = 0.0


def run_length(text: str) -> float:
    try:
        packets = float(text)
    except ValueError:
        packets = 0.0
    if packets < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no mean run of lost packets: a number from 1 on")
    return packets


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 0 nor 1")
    return text == "1"


PARSERS: dict[str, Callable[[str], float | bool]] = {
    "delay": seconds,
    "jitter": seconds,
    "loss": share,
    "burst": run_length,
    "rate": bits_per_second,
    "queue": seconds,
    "reorder": share,
    "reorder_by": seconds,
    "duplicate": share,
    "down": _flag,
}
_WORDS = {
    "down": Step(SET, "down", True),
    "up": Step(SET, "down", False),
    **{what: Step(what) for what in (ADDRESS, REBIND, SHOW)},
}
assert set(PARSERS) == {field.name for field in fields(Conditions)}


def read_step(text: str) -> Step:
    """`down`, `up`, `address`, `rebind`, `show` or a condition: `delay=100ms`. Raises ArgumentTypeError."""
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    name, equals, value = (part.strip() for part in text.partition("="))
    name = name.replace("-", "_")
    if not equals or name not in PARSERS:
        conditions = "=…, ".join(PARSERS)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_WORDS)}, {conditions}=…")
    return Step(SET, name, PARSERS[name](value))


def read_at(text: str) -> tuple[float, Step]:
    """`TIME:STEP`: seconds from the beginning, and what to do then."""
    time, colon, what = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not TIME:STEP, like 20s:loss=0.3")
    return seconds(time), read_step(what)


@dataclass(frozen=True, slots=True)
class Outage:
    """From `start` on for `length`, and again `every` so often; None: once. Seconds."""

    start: float
    length: float
    every: float | None = None

    def steps(self, until: float) -> Iterator[tuple[float, Step]]:
        """Those that begin before `until`."""
        start = self.start
        while start < until:
            yield start, _WORDS["down"]
            yield start + self.length, _WORDS["up"]
            if self.every is None:
                return
            start += self.every


def read_outage(text: str) -> Outage:
    """`START:LENGTH` or `START:LENGTH:EVERY`."""
    parts = [seconds(part) for part in text.split(":")]
    if not 2 <= len(parts) <= 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not START:LENGTH or START:LENGTH:EVERY, like 10s:5s:60s")
    found = Outage(*parts)
    if found.every is not None and found.every <= found.length:
        raise argparse.ArgumentTypeError(f"{text!r}: the next outage would begin before this one ends")
    return found
