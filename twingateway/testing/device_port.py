"""A device port that records what a driver tells its host, for adapters' tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twingateway.adapter import Value
from twingateway.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Report:
    values: Mapping[str, Value]
    time: int | None
    again: bool = False


class RecordingPort:
    """A `DevicePort`. `values` is the newest value by name, `reports` every report in order, `presence` None until
    the driver said anything, then True or False; `offline_error` and `problems` hold the errors it was given, `bad`
    the properties that are not good at present."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.values: dict[str, Value] = {}
        self.presence: bool | None = None
        self.offline_error: DeviceError | None = None
        self.problems: list[DeviceError] = []
        self.bad: dict[str, DeviceError] = {}
        self._changed = asyncio.Event()

    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        self.reports.append(Report(dict(values), time, again))
        self.values.update(values)
        self.online()

    def online(self) -> None:
        self.presence = True
        self.offline_error = None
        self._changed.set()

    def offline(self, error: DeviceError) -> None:
        self.presence = False
        self.offline_error = error
        self._changed.set()

    def problem(self, error: DeviceError) -> None:
        self.problems.append(error)
        self._changed.set()

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        self.bad = dict(bad)
        self._changed.set()

    async def until(self, condition: Callable[[RecordingPort], bool], timeout: float = 5.0) -> None:
        """Wait until `condition(self)` holds, looking again after every call; raises TimeoutError after `timeout`
        seconds."""
        async with asyncio.timeout(timeout):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()
