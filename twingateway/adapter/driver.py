"""What an adapter implements: an `Adapter` for what its devices share, a `Driver` for each device.

The host calls `run`, `read` and `write` of one driver; it supervises them, so drivers raise errors of
`twingateway.errors` (DeviceError and below) and need no retry loops of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twingateway.adapter.figure import Figure
from twingateway.adapter.port import Device, DevicePort
from twingateway.errors import DeviceRefused, InvalidValue, Problem
from twingateway.twin.value import Value


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write that the device did not refuse.

    `confirmed`: the device itself reported `observed` afterwards and it equals what was asked for (within the
    property's resolution). Only then is a desired value called applied. With an `observed` that does not match, the
    desired value has failed, as after a WriteMismatch.
    """

    confirmed: bool
    observed: Value = None


#: The write went out, and this device has no way to tell what became of it.
UNCONFIRMED = Written(confirmed=False)


def not_writable(name: str) -> InvalidValue:
    """What `write` raises for a property that it cannot write."""
    return InvalidValue(Problem("it cannot be written on this device", name, "access"))


class Driver(ABC):
    """One device, from the moment its document is loaded until it is removed."""

    #: Properties that `write` can write; desired values for any other are rejected without asking the driver.
    writable: frozenset[str] = frozenset()
    #: Seconds within which the driver says something of a device that is well (`report` or `online` of its port): its
    #: slowest round, or the device's own beat (see `Beat`); it may change. After three of them in silence the host
    #: shows the device as stale. None: there is no such time.
    period: float | None = None

    @abstractmethod
    async def run(self) -> None:
        """Poll or listen until cancelled, reporting through the device port.

        Raising a DeviceError marks the device offline with that error; the host calls `run` again after a back-off
        (1 s, doubling to 60 s, with jitter). A driver that can tell that its device is gone while it goes on
        listening calls `port.offline` instead, and tries it less and less often. Never returns; what is wrong with
        one property alone it tells its port, and goes on with the others. Ends at once when cancelled.
        """

    @abstractmethod
    async def read(self) -> Mapping[str, Value]:
        """Every readable property once, now. Raises DeviceError."""

    async def write(self, name: str, value: Value) -> Written:
        """Write one property and read it back. Called for `writable` names, one at a time for one device, while it
        runs; once it returned nothing is reported any more that was read before it.

        Raises InvalidValue for what the device cannot be asked for, before anything is sent (ends as rejected; see
        `not_writable` for other names), a transient DeviceError (tried again when the device returns) or any other
        DeviceError (ends as failed): a device's own no is a DeviceRefused.
        """
        raise not_writable(name)

    async def read_back(self, name: str) -> Value:
        """One property, now; how the host finds out, before its first write of it, after a crash in the middle of
        one or one that failed, and when its node is given the device, whether there is anything to write. Raises
        DeviceError; DeviceRefused, at once, if it has no way to, or knows no such property."""
        values = await self.read()
        if name not in values:
            raise DeviceRefused(f"{name} cannot be read back")
        return values[name]

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        """Whether `observed` is `wanted` within the device's resolution of this property. Never raises, whatever the
        two are."""
        return wanted == observed

    async def close(self) -> None:
        """Release what this device alone uses; nothing is told to its port any more. May be called again, and though
        `run` never was."""


class Adapter(ABC):
    """What the devices of one adapter share: connections, a bus, a client. One per node and adapter name."""

    async def start(self) -> None:
        """Called once before the first driver runs. Must not wait for any device."""

    @abstractmethod
    def driver(self, device: Device, port: DevicePort) -> Driver:
        """A driver for this device. Must not do I/O."""

    def figures(self) -> Iterable[Figure]:
        """What the adapter counts, now. Asked for at each scrape; must not wait."""
        return ()

    async def stop(self) -> None:
        """Called after the last driver was closed. May be called again, and though `start` failed or never was."""
