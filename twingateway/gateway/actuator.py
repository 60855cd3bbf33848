"""Carries a device's desired values to it, once each, and says how far each has come (DESIGN, rule 12).

For one desired version the steps are: checks → ack `delivered` and attempt, durable together → write → final ack.
After a restart, or after a write whose outcome is unknown, the device is read back before anything is written again.
A property that has to wait (device off, transient error) never holds up its neighbours. Of several the most urgent
goes first. A value with a ttl is written only while it is known that time is left of it; with none left it is
`expired`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from twingateway.adapter.driver import Driver
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    InvalidValue,
    StoreError,
    TooLarge,
    Unavailable,
)
from twingateway.gateway.clock import Clock
from twingateway.gateway.ledger import Draft, Ledger
from twingateway.gateway.lifetimes import Lifetimes
from twingateway.gateway.models import ModelBook
from twingateway.gateway.reporter import Reporter
from twingateway.gateway.table import TwinTable
from twingateway.ports.store import Attempt
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import Desired, terms_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value
from twingateway.validation.model import CompiledModel, Direction

log = structlog.get_logger("desired")

#: Seconds after which it is asked again how long a value is still wanted.
ASK_AGAIN = 10.0
#: Seconds that one write, with its read-back, may take.
WRITE_TIMEOUT = 30.0
#: Seconds before a write that failed for a passing reason is tried again: doubling from the first to the second.
RETRY = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class _Retry:
    """A desired version that waits until `at` (monotonic seconds), `delay` after it failed."""

    version: Version
    at: float
    delay: float


class Actuator:
    """The desired values of one device that is held here."""

    def __init__(
        self,
        device: DeviceId,
        model_ref: str | None,
        driver: Driver,
        reporter: Reporter,
        models: ModelBook,
        table: TwinTable,
        ledger: Ledger,
        clock: Clock,
        held: Callable[[DeviceId], bool],
        lifetimes: Lifetimes,
        attempts: Iterable[Attempt],
    ) -> None:
        self._device = device
        self._model_ref = model_ref
        self._driver = driver
        self._reporter = reporter
        self._models = models
        self._table = table
        self._ledger = ledger
        self._clock = clock
        self._held = held
        self._lifetimes = lifetimes
        self._uncertain = {attempt.name: attempt.version for attempt in attempts}
        self._retries: dict[str, _Retry] = {}
        self._looks: list[float] = []
        """When something about a ttl is to be looked at again (monotonic seconds)."""
        self._unsaid: dict[str, Ack] = {}
        """Outcomes that the store has not taken yet: they are told before anything is done again."""
        self._nudged = asyncio.Event()
        self._nudged.set()

    def nudge(self) -> None:
        """A desired value changed, or something that it waits for came."""
        self._nudged.set()

    def returned(self) -> None:
        """The device is back: what waited for it is tried at once."""
        self._retries.clear()
        self._nudged.set()

    async def run(self) -> None:
        looked = self._clock.now()
        while True:
            try:
                async with asyncio.timeout(self._until_retry(looked)):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            self._nudged.clear()
            looked = self._clock.now()
            self._looks = []
            await self._look()

    async def _look(self) -> None:
        """One step for every open value; begun anew when a more urgent one comes in between."""
        await self._forget_orphans()
        seen: set[Version] = set()
        for register in self._pending():
            if self._nudged.is_set() and self._is_overtaken(register, seen):
                return
            seen.add(register.version)
            await self._try_to_advance(register)

    async def _forget_orphans(self) -> None:
        """Acks of desired values that were removed while this node did not hear of it."""
        if not self._held(self._device):
            return
        desired = self._table.section(self._device, Section.DESIRED)
        acks = self._table.values(self._device, Section.ACK)
        for name in [name for name in acks if name not in desired]:
            try:
                await self._forget(name)
            except (StoreError, Unavailable):
                self._looks.append(self._clock.now() + RETRY[0])

    def _is_overtaken(self, register: Register, seen: set[Version]) -> bool:
        rank = _rank(register)
        return any(_rank(other) < rank and other.version not in seen for other in self._pending())

    async def _try_to_advance(self, register: Register) -> None:
        try:
            if self._is_wanted(register):
                await self._advance(register)
        except (StoreError, Unavailable):
            self._retry_later(register.key.name, register.version)
        except Exception:
            log.exception("a desired value could not be carried out", key=str(register.key))
            self._retry_later(register.key.name, register.version)

    def _pending(self) -> list[Register]:
        if not self._held(self._device):
            return []
        desired = self._table.section(self._device, Section.DESIRED).values()
        return sorted((stored.register for stored in desired if self._is_open(stored)), key=_order)

    def _is_open(self, stored: StoredRegister) -> bool:
        ack = self._ack(stored.register.key.name)
        if stored.register.value is None:
            return ack is not None
        return ack is None or ack.version != stored.register.version or not ack.settled

    async def _advance(self, desired: Register) -> None:
        """One step for one desired value; leaves it where it has to wait."""
        name, value, version = desired.key.name, desired.value, desired.version
        unsaid = self._unsaid.get(name)
        if unsaid is not None and unsaid.version == version:
            await self._say(name, unsaid)
            if not unsaid.settled:
                self._nudged.set()
            return
        if value is None:
            await self._forget(name)
            return
        try:
            wanted = Desired.from_value(value)
            value = self._judge(name, wanted.value)
        except (InvalidValue, TooLarge, DeviceRefused) as error:
            await self._say(name, Ack(version, AckState.REJECTED, error.code, error.message))
            return
        if await self._is_in_time(desired, wanted.terms.ttl):
            await self._proceed(desired, value, wanted.terms.ttl)

    async def _is_in_time(self, desired: Register, ttl: float | None) -> bool:
        """Whether there is anything to be done yet; what there is to say otherwise, is said. A value whose time is up
        after it was attempted is read back still."""
        name, version = desired.key.name, desired.version
        left = self._left(name, version, ttl)
        if left is None:
            self._lifetimes.ask(desired.key, version)
            self._looks.append(self._clock.now() + ASK_AGAIN)
            message = "waiting to hear how long it is still wanted"
            await self._say(name, Ack(version, AckState.DELIVERED, "ttl-unknown", message))
            return False
        if left <= 0 and self._uncertain.get(name) != version:
            await self._say(name, _expired(version))
            return False
        if left < math.inf:
            self._looks.append(self._clock.now() + left)
        return True

    async def _proceed(self, desired: Register, value: Value, ttl: float | None) -> None:
        """One step for a value (None: its model is missing) that is in time."""
        name, version = desired.key.name, desired.version
        if value is None:
            message = f"waiting for the model {self._model_ref}"
            await self._say(name, Ack(version, AckState.DELIVERED, "unknown-model", message))
        elif not self._reporter.is_online:
            why = self._reporter.error
            code, message = (why.code, why.message) if why else ("", "waiting for the device")
            await self._say(name, Ack(version, AckState.DELIVERED, code, message))
        elif self._is_due(name, version):
            uncertain = self._uncertain.get(name) == version or self._was_applied(name, value)
            await self._announce(name, version)
            if self._is_wanted(desired):
                await self._carry_out(name, value, version, uncertain, ttl)

    async def _announce(self, name: str, version: Version) -> None:
        """Make durable, in one commit, that the value was delivered and that it is about to be written."""
        delivered, attempts = [], []
        if not self._is_known(name, version):
            delivered.append(self._draft(name, Ack(version, AckState.DELIVERED)))
        if self._uncertain.get(name) != version:
            attempts.append(Attempt(self._device, name, version))
        if delivered or attempts:
            await self._ledger.write(delivered, attempts=attempts)
            self._uncertain[name] = version

    def _judge(self, name: str, value: Value) -> Value:
        """The value as the model has it; None while the model is missing."""
        if name not in self._driver.writable:
            raise DeviceRefused(f"{name} cannot be written on this device")
        if self._model_ref is None:
            return value
        compiled = self._compiled()
        return None if compiled is None else compiled.check(name, value, direction=Direction.DOWN)

    def _left(self, name: str, version: Version, ttl: float | None) -> float | None:
        """Seconds for which the value is still wanted; None if that is not known."""
        if ttl is None:
            return math.inf
        return self._lifetimes.left(RegisterKey(self._device, Section.DESIRED, name), version)

    async def _carry_out(self, name: str, value: Value, version: Version, uncertain: bool, ttl: float | None) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                ack = await self._write(name, value, version, uncertain, ttl)
        except TimeoutError:
            ack = self._after_error(name, version, DeviceTimeout("the device did not settle the write in time"))
        except DeviceError as error:
            ack = self._after_error(name, version, error)
        except Exception as error:
            log.exception("adapter fault", device=str(self._device), property=name)
            ack = Ack(version, AckState.FAILED, "adapter-fault", f"the adapter failed: {error}")
        await self._say(name, ack)

    async def _write(self, name: str, value: Value, version: Version, uncertain: bool, ttl: float | None) -> Ack:
        if uncertain:
            settled = await self._read_back(name, value, version, ttl)
            if settled is not None:
                return settled
        left = self._left(name, version, ttl)
        if left is None or left <= 0:
            return _expired(version)
        async with asyncio.timeout(left if left < WRITE_TIMEOUT else None):  # a driver may let it wait for its turn
            written = await self._driver.write(name, value)
        if written.confirmed:
            return Ack(version, AckState.APPLIED, observed=written.observed)
        message = "the device has no way to report this property back"
        return Ack(version, AckState.DELIVERED, "unconfirmed", message)

    async def _read_back(self, name: str, value: Value, version: Version, ttl: float | None) -> Ack | None:
        """Settle an interrupted write without writing: None when the value has to be written (again)."""
        try:
            observed = await self._driver.read_back(name)
        except DeviceError as error:
            if error.transient:
                raise
            if self._is_idempotent(name) and (self._left(name, version, ttl) or 0) > 0:
                return None
            message = "the write may or may not have reached the device, and this property cannot be read back"
            return Ack(version, AckState.FAILED, "outcome-unknown", message)
        if self._driver.matches(name, value, observed):
            return Ack(version, AckState.APPLIED, observed=observed)
        return None

    def _after_error(self, name: str, version: Version, error: DeviceError) -> Ack:
        if error.transient:
            self._retry_later(name, version)
            return Ack(version, AckState.DELIVERED, error.code, error.message)
        state = AckState.REJECTED if isinstance(error, DeviceRefused) else AckState.FAILED
        return Ack(version, state, error.code, error.message, error.detail.get("observed"))

    async def _say(self, name: str, ack: Ack) -> None:
        """Mint the ack unless it says nothing new or its desired value was replaced meanwhile."""
        desired = self._table.get(RegisterKey(self._device, Section.DESIRED, name))
        if desired is None or desired.register.version != ack.version:
            self._unsaid.pop(name, None)
            self._nudged.set()
            return
        known = self._ack(name)
        if known is not None and _without_time(known) == _without_time(ack):
            return
        self._unsaid[name] = ack
        await self._ledger.write([self._draft(name, ack)])
        del self._unsaid[name]
        if ack.settled:
            self._retries.pop(name, None)
            self._uncertain.pop(name, None)

    def _draft(self, name: str, ack: Ack) -> Draft:
        timed = Ack(ack.version, ack.state, ack.code, ack.message, ack.observed, self._clock.wall_ms())
        return Draft(RegisterKey(self._device, Section.ACK, name), timed.to_value())

    async def _forget(self, name: str) -> None:
        await self._ledger.write([Draft(RegisterKey(self._device, Section.ACK, name), None)])

    def _ack(self, name: str) -> Ack | None:
        value = self._table.value(self._device, Section.ACK, name)
        return None if value is None else Ack.from_value(value)

    def _was_applied(self, name: str, value: Value) -> bool:
        """An earlier version of this very value was applied (its root was restored and gave it a new version): the
        device is asked before it is written again."""
        ack = self._ack(name)
        return ack is not None and ack.state is AckState.APPLIED and self._driver.matches(name, value, ack.observed)

    def _is_known(self, name: str, version: Version) -> bool:
        ack = self._ack(name)
        return ack is not None and ack.version == version

    def _compiled(self) -> CompiledModel | None:
        if self._model_ref is None:
            return None
        return self._models.find(self._device.namespace, self._model_ref)

    def _is_idempotent(self, name: str) -> bool:
        compiled = self._compiled()
        known = None if compiled is None else compiled.model.properties.get(name)
        return known is not None and known.idempotent

    def _is_wanted(self, desired: Register) -> bool:
        """No newer desired value took its place meanwhile, and the device is still this node's."""
        current = self._table.get(desired.key)
        return current is not None and current.register.version == desired.version and self._held(self._device)

    def _retry_later(self, name: str, version: Version) -> None:
        before = self._retries.get(name)
        again = before is not None and before.version == version
        delay = min(2 * before.delay, RETRY[1]) if before is not None and again else RETRY[0]
        self._retries[name] = _Retry(version, self._clock.now() + delay, delay)

    def _is_due(self, name: str, version: Version) -> bool:
        retry = self._retries.get(name)
        return retry is None or retry.version != version or self._clock.now() >= retry.at

    def _until_retry(self, looked: float) -> float | None:
        """Seconds to the next retry, or look at a ttl, that was not due when the values were last looked at; None
        without one."""
        later = [at for at in (*(retry.at for retry in self._retries.values()), *self._looks) if at > looked]
        return max(0.0, min(later) - self._clock.now()) + 0.001 if later else None


def _rank(desired: Register) -> int:
    return terms_of(desired.value).rank


def _order(desired: Register) -> tuple[int, Version]:
    return _rank(desired), desired.version


def _expired(version: Version) -> Ack:
    return Ack(version, AckState.EXPIRED, "expired", "its time to live passed before it could be written")


def _without_time(ack: Ack) -> tuple[object, ...]:
    return (ack.version, ack.state, ack.code, ack.message, ack.observed)
