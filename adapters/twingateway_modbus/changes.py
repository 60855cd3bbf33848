"""Which of the values read are reported, and when: deadbands, shortest and longest interval. Pure; `now` monotonic.

A change that comes before the shortest interval is over is not lost: the value read first after it is compared again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from twingateway.adapter import Value
from twingateway_modbus.point import Point


class Due(NamedTuple):
    """`changed` is news; `again` was reported before and is due once more."""

    changed: dict[str, Value]
    again: dict[str, Value]


class Changes:
    """Of one device, since it was last seen to be there."""

    def __init__(self, points: Mapping[str, Point]) -> None:
        self._policies = {name: point.reporting for name, point in points.items()}
        self._timed = any(policy.min_interval or policy.max_interval for policy in self._policies.values())
        self._values: dict[str, Value] = {}
        self._times: dict[str, float] = {}

    def forget(self) -> None:
        """Everything is news again."""
        self._values.clear()
        self._times.clear()

    def take(self, values: Mapping[str, Value], now: float, *, at_once: bool = False) -> Due:
        """The values to report; they count as reported. `at_once`: all of them, whatever the policy says."""
        reported, policies = self._values, self._policies
        if at_once:
            changed = dict(values)
        else:
            changed = {
                name: value
                for name, value in values.items()
                if name not in reported or policies[name].matters(reported[name], value)
            }
        again: dict[str, Value] = {}
        if self._timed:
            if not at_once:
                changed = {name: value for name, value in changed.items() if self._may(name, now)}
            again = {name: value for name, value in values.items() if name not in changed and self._must(name, now)}
            self._times |= dict.fromkeys((*changed, *again), now)
        reported |= changed
        reported |= again
        return Due(changed, again)

    def _may(self, name: str, now: float) -> bool:
        return name not in self._times or now - self._times[name] >= self._policies[name].min_interval

    def _must(self, name: str, now: float) -> bool:
        longest = self._policies[name].max_interval
        return longest is not None and name in self._times and now - self._times[name] >= longest
