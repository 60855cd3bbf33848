"""A device as configured, and how its driver tells the host about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twingateway.errors import DeviceError
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.value import Value


@dataclass(frozen=True, slots=True)
class Device:
    """One device as configured. `settings` is an instance of its adapter kind's `device` model."""

    id: DeviceId
    settings: Any
    model: Model | None = None


class DevicePort(Protocol):
    """How a driver tells its host about its device. All calls return at once; they are made on the event loop's
    thread (from another one, by `loop.call_soon_threadsafe`)."""

    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        """Values the device has now. `time`: Unix milliseconds by the device's clock, if it has one. The host
        validates, drops what did not change (unless `again`: a sign of life), versions and replicates; a refused
        value hinders no other. A report also means that the device is online."""
        ...

    def online(self) -> None:
        """The device answers, though nothing is to be reported."""
        ...

    def offline(self, error: DeviceError) -> None:
        """The device is gone; desired values wait until it is back."""
        ...

    def problem(self, error: DeviceError) -> None:
        """Something about the device is wrong though it is there (a message that could not be read): shown as
        `status.source` until the next good report."""
        ...

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        """The properties whose shown value is not to be relied on at present, and why; all others are good, while the
        device is online. Shown as `quality` and `reason` of the reported value, and in `status.quality`; with what
        is reported right after it in one step."""
        ...
