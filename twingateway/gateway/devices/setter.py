"""Brings one value at a time to a device, once: asks the device first where it may hold it already, and says what
came of it.

For that it knows what this process has begun to write, what the device took last, and of which properties the device
was asked or told anything since the last write that failed. What is wanted, for how long, and when it is tried again,
others know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

from twingateway.adapter.driver import Driver
from twingateway.errors import DeviceError, DeviceTimeout, DeviceUnreachable, WriteMismatch
from twingateway.gateway.devices.wishes import Wish
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.value import Value

#: Seconds that one write, with its read-back, may take.
WRITE_TIMEOUT = 30.0
#: Seconds within which a device that nothing was asked of before may say what it holds; then it is written.
ASK_TIMEOUT = 1.0


class Doubt(Enum):
    """Whether the device may hold a value that it is to be given."""

    NONE = "it holds another"
    UNKNOWN = "nobody has asked"
    BEGUN = "a write of it was begun"


class Setter:
    """Of one device. `begun`, by property: the mark of what may have reached the device, or not."""

    def __init__(self, driver: Driver, begun: Mapping[str, str]) -> None:
        self._driver = driver
        self._begun = dict(begun)
        self._done: dict[str, str] = {}
        """By property: the mark of what this process attempted last."""
        self._taken: dict[str, Value] = {}
        """By property: what the device took last, if nothing was written over it since. The ack does not say so any
        more once it speaks of a newer value, though that may never be written."""
        self._touched: set[str] = set()
        """Read or written, and no write failed since, nor was the device handed over: what it holds of others is not
        known."""

    @property
    def begun(self) -> Mapping[str, str]:
        return MappingProxyType(self._begun)

    def has_begun(self, wish: Wish) -> bool:
        return self._begun.get(wish.name) == wish.mark

    def begin(self, wish: Wish) -> None:
        """It may reach the device from now on."""
        self._begun[wish.name] = self._done[wish.name] = wish.mark

    def took(self, name: str, observed: Value) -> None:
        """The device is known to have taken this last."""
        self._taken[name] = observed

    def settled(self, name: str) -> None:
        """The outcome of what was begun is on record."""
        self._begun.pop(name, None)

    def lost_sight(self, name: str) -> None:
        """The device was handed over: what it holds may be another's word."""
        self._touched.discard(name)
        self._taken.pop(name, None)

    def doubt(self, wish: Wish, value: Value, *, was_begun: bool) -> Doubt:
        """Whether the device may have this value already, so that it is asked before it is written. What it took last
        may be this value in an earlier version: none between was written, or its root was restored and gave it a new
        one. `was_begun`: as an override."""
        if self.has_begun(wish) or was_begun:
            return Doubt.BEGUN
        if wish.name not in self._touched:
            return Doubt.UNKNOWN
        observed = self._taken.get(wish.name)
        is_it = observed is not None and self._driver.matches(wish.name, value, observed)
        return Doubt.UNKNOWN if is_it else Doubt.NONE

    async def ask(self, wish: Wish, value: Value, believed: Value) -> tuple[bool, Value]:
        """Whether the device holds a value, and what it holds. What cannot be read back is as `believed`, unless this
        process wrote another value. Raises DeviceError if the device may say so later."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                observed = await self._driver.read_back(wish.name)
        except (DeviceError, TimeoutError) as error:
            if isinstance(error, DeviceError) and error.transient:
                raise
            return self._done.get(wish.name, wish.mark) in (wish.mark, wish.override), believed
        self._touched.add(wish.name)
        holds_it = self._driver.matches(wish.name, value, observed)
        if holds_it:
            self._taken[wish.name] = observed
        return holds_it, observed

    async def set(
        self, wish: Wish, value: Value, doubt: Doubt, left: Callable[[], float | None], *, may_repeat: bool
    ) -> Ack | None:
        """What came of it; None if there was no time left for it. `left`: seconds for which it is still wanted, None
        if that is not known. `may_repeat`: to write it twice does no harm. Raises DeviceError or InvalidValue, and
        what a faulty driver raises."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                if doubt is not Doubt.NONE:
                    settled = await self._read_back(wish, value, doubt, lambda: may_repeat and (left() or 0) > 0)
                    if settled is not None:
                        return settled
                self._touched.add(wish.name)
                seconds = left()
                return None if seconds is None or seconds <= 0 else await self._write(wish, value, seconds)
        except TimeoutError:
            raise DeviceTimeout("the device did not settle the write in time") from None

    async def _write(self, wish: Wish, value: Value, left: float) -> Ack:
        self._taken.pop(wish.name, None)
        limit = left if left < WRITE_TIMEOUT else None  # a driver may let it wait for its turn
        try:
            async with asyncio.timeout(limit):
                written = await self._driver.write(wish.name, value)
        except DeviceError as error:
            if not isinstance(error, DeviceTimeout | WriteMismatch):  # such a value may be on its way still
                self._touched.discard(wish.name)
            raise
        if written.confirmed:
            if written.observed is not None:
                self._taken[wish.name] = written.observed
            return Ack(wish.version, AckState.APPLIED, observed=written.observed)
        return self._unconfirmed(wish, value, written.observed)

    def _unconfirmed(self, wish: Wish, value: Value, observed: Value) -> Ack:
        """What the device did not confirm: it showed nothing, or the value that it had anyway, or another one."""
        message = "the device has no way to report this property back"
        if observed is not None:
            if not self._driver.matches(wish.name, value, observed):
                raise WriteMismatch(f"{wish.name} is {observed!r} after {value!r} was written", observed=observed)
            message = "the device said nothing to the write; before it, it had reported this value"
        return Ack(wish.version, AckState.DELIVERED, "unconfirmed", message)

    async def _read_back(self, wish: Wish, value: Value, doubt: Doubt, may_repeat: Callable[[], bool]) -> Ack | None:
        """Settle a wish without writing: None when the value has to be written (again)."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT if doubt is Doubt.UNKNOWN else None):
                observed = await self._driver.read_back(wish.name)
        except TimeoutError:
            return None
        except DeviceError as error:
            if doubt is Doubt.UNKNOWN and not isinstance(error, DeviceUnreachable):
                return None
            if error.transient:
                raise
            if may_repeat():
                return None
            message = "the write may or may not have reached the device, and this property cannot be read back"
            return Ack(wish.version, AckState.FAILED, "outcome-unknown", message)
        self._touched.add(wish.name)
        if self._driver.matches(wish.name, value, observed):
            self._taken[wish.name] = observed
            return Ack(wish.version, AckState.APPLIED, observed=observed)
        return None
