"""A device port that takes everything and tells nobody: the tools look at what the driver returns."""

from __future__ import annotations

from collections.abc import Mapping

from twingateway.adapter import Value
from twingateway.errors import DeviceError


class SilentPort:
    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        pass

    def online(self) -> None:
        pass

    def offline(self, error: DeviceError) -> None:
        pass

    def problem(self, error: DeviceError) -> None:
        pass

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        pass
