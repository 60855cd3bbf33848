"""Carries a device's desired values, and local overrides of them, to it, once each, and says how far each has come
(DESIGN, rule 12).

For one of them the steps are: checks → ack `delivered` and attempt, durable together → write → final ack.
What this process has not written before, and a write whose outcome is unknown, is read back first, and written only
if the device differs: so nothing that it holds is written again after a restart, a move or the loss of a store,
whatever of that was on record. So is what is wanted after a write that failed. Of what was applied before a device
was handed over (moved, or its holder's store replaced) the device is asked, too, whether it still holds it.
A property that has to wait (device off, transient error) never holds up its neighbours. Of several the most urgent
goes first. A value with a ttl is written only while it is known that time is left of it; with none left it is
`expired`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum

import structlog

from twingateway.adapter.driver import Driver, not_writable
from twingateway.errors import (
    DeviceError,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidValue,
    StoreError,
    TooLarge,
    Unavailable,
    WriteMismatch,
)
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.devices.retries import RETRY, Retries
from twingateway.gateway.devices.wishes import Wish, Wishes
from twingateway.gateway.state.clock import Clock
from twingateway.ports.store import Attempt
from twingateway.twin.ack import HANDED_OVER, OVERRIDDEN, Ack, AckState
from twingateway.twin.desired import Desired
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section, Version
from twingateway.twin.value import Value
from twingateway.validation.model import CompiledModel, Direction

log = structlog.get_logger("desired")

#: Seconds after which it is asked again how long a value is still wanted.
ASK_AGAIN = 10.0
#: Seconds that one write, with its read-back, may take.
WRITE_TIMEOUT = 30.0
#: Seconds within which a device that nothing was asked of before may say what it holds; then it is written.
ASK_TIMEOUT = 1.0


class _Doubt(Enum):
    """Whether the device may hold a value that it is to be given."""

    NONE = "it holds another"
    UNKNOWN = "nobody has asked"
    BEGUN = "a write of it was begun"


class Actuator:
    """The desired values of one device that is held here."""

    def __init__(
        self,
        device: DeviceId,
        model_ref: str | None,
        driver: Driver,
        reporter: Reporter,
        models: ModelBook,
        wishes: Wishes,
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
        self._wishes = wishes
        self._clock = clock
        self._held = held
        self._lifetimes = lifetimes
        self._uncertain = {attempt.name: str(attempt.version) for attempt in attempts}
        """By property: the mark of what may have reached the device, or not"""
        self._done: dict[str, str] = {}
        """By property: the mark of what this process attempted last."""
        self._taken: dict[str, Value] = {}
        """By property: what the device took last, since the ack of the next version says nothing of it."""
        self._touched: set[str] = set()
        """Read or written, and no write failed since: what the device holds of others is not known."""
        self._retries = Retries(clock)
        self._looks: list[float] = []
        """When something about a ttl is to be looked at again (monotonic seconds)."""
        self._unsaid: dict[str, tuple[Wish, Ack]] = {}
        """Outcomes that the store has not taken yet: they are told before anything is done again."""
        self._nudged = asyncio.Event()
        self._nudged.set()

    def attempts(self) -> list[Attempt]:
        """Writes of which the outcome is not known, for whoever goes on."""
        marks = self._uncertain.items()
        known = ((name, self._wishes.current(self._device, name), mark) for name, mark in marks)
        return [
            Attempt(self._device, name, wish.version)
            for name, wish, mark in known
            if wish is not None and not wish.is_override and wish.mark == mark
        ]

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
        seen: set[str] = set()
        for wish in self._pending():
            if self._nudged.is_set() and self._is_overtaken(wish, seen):
                return
            seen.add(wish.mark)
            await self._try_to_advance(wish)

    async def _forget_orphans(self) -> None:
        """Acks of desired values that were removed while this node did not hear of it."""
        for name in self._wishes.orphans(self._device) if self._held(self._device) else ():
            try:
                await self._wishes.forget(self._device, name)
            except (StoreError, Unavailable):
                self._looks.append(self._clock.now() + RETRY[0])

    def _is_overtaken(self, wish: Wish, seen: set[str]) -> bool:
        return any(other.rank < wish.rank and other.mark not in seen for other in self._pending())

    async def _try_to_advance(self, wish: Wish) -> None:
        try:
            if self._is_wanted(wish):
                await self._advance(wish)
        except (StoreError, Unavailable):
            self._retries.put_off(wish.name, wish.mark)
        except Exception:
            log.exception("a desired value could not be carried out", device=str(self._device), property=wish.name)
            self._retries.put_off(wish.name, wish.mark)

    def _pending(self) -> list[Wish]:
        if not self._held(self._device):
            return []
        return self._wishes.open(self._device)

    async def _advance(self, wish: Wish) -> None:
        """One step for one wish; leaves it where it has to wait."""
        observed = self._wishes.observed(self._device, wish.name)
        if observed is not None:
            self._taken[wish.name] = observed
        unsaid = self._unsaid.get(wish.name)
        if unsaid is not None:
            await self._say(*unsaid)
            if unsaid[0] != wish or not unsaid[1].settled:
                self._nudged.set()
            return
        if wish.value is None:
            await self._wishes.forget(self._device, wish.name)
            return
        said = await self._said_already(wish)
        if said is not None and not said.is_handed_over:
            return
        try:
            wanted = Desired(wish.value) if wish.is_override else Desired.from_value(wish.value)
            value = self._judge(wish.name, wanted.value)
        except (InvalidValue, TooLarge) as error:
            outcome = _rejected(wish.version, error) if said is None else replace(said, code="", message="")
            await self._say(wish, outcome)
            return
        if said is not None:
            await self._ask(wish, value, said)
        elif await self._is_in_time(wish, wanted.terms.ttl):
            await self._proceed(wish, value, wanted.terms.ttl)

    async def _said_already(self, wish: Wish) -> Ack | None:
        """What is the outcome, if that is known. An override covers what is desired; its outcome is that of the
        desired value it becomes."""
        overruled = self._wishes.overrules(self._device, wish)
        if overruled is not None:
            await self._wishes.say_desired(self._device, wish.name, self._timed(overruled))
        ack = self._wishes.ack(self._device, wish)
        if ack is not None and ack.settled:
            return ack
        inherited = self._wishes.inherited(self._device, wish)
        if inherited is not None:
            await self._say(wish, inherited)
        return inherited

    async def _ask(self, wish: Wish, value: Value, said: Ack) -> None:
        """Whether the device still holds what it took before it was handed over: who held it may have written it
        since without anybody hearing of that. What cannot be read back is believed, unless this process wrote another
        value."""
        if value is None or not self._reporter.is_online or not self._retries.is_due(wish.name, wish.mark):
            return
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                observed = await self._driver.read_back(wish.name)
        except (DeviceError, TimeoutError) as error:
            if isinstance(error, DeviceError) and error.transient:
                self._retries.put_off(wish.name, wish.mark)
                return
            observed = said.observed
            holds_it = self._done.get(wish.name, wish.mark) in (wish.mark, wish.override)
        else:
            self._touched.add(wish.name)
            holds_it = self._driver.matches(wish.name, value, observed)
        if not self._is_wanted(wish):
            return
        if holds_it:
            await self._say(wish, Ack(wish.version, AckState.APPLIED, observed=observed))
        else:
            message = "the device was handed over without it"
            await self._say(wish, Ack(wish.version, AckState.DELIVERED, HANDED_OVER, message))
            self._nudged.set()

    async def _is_in_time(self, wish: Wish, ttl: float | None) -> bool:
        """Whether there is anything to be done yet; what there is to say otherwise, is said. A value whose time is up
        after it was attempted is read back still."""
        left = self._left(wish, ttl)
        if left is None:
            self._lifetimes.ask(self._key(wish), wish.version)
            self._looks.append(self._clock.now() + ASK_AGAIN)
            message = "waiting to hear how long it is still wanted"
            await self._say(wish, Ack(wish.version, AckState.DELIVERED, "ttl-unknown", message))
            return False
        if left <= 0 and self._uncertain.get(wish.name) != wish.mark:
            await self._say(wish, _expired(wish.version))
            return False
        if left < math.inf:
            self._looks.append(self._clock.now() + left)
        return True

    async def _proceed(self, wish: Wish, value: Value, ttl: float | None) -> None:
        """One step for a value (None: its model is missing) that is in time."""
        version = wish.version
        if value is None:
            message = f"waiting for the model {self._model_ref}"
            await self._say(wish, Ack(version, AckState.DELIVERED, "unknown-model", message))
        elif not self._reporter.is_online:
            why = self._reporter.error
            code, message = (why.code, why.message) if why else ("", "waiting for the device")
            await self._say(wish, Ack(version, AckState.DELIVERED, code, message))
        elif self._retries.is_due(wish.name, wish.mark):
            doubt = self._doubt(wish, value)
            if await self._announce(wish) and self._is_wanted(wish):
                await self._carry_out(wish, value, doubt, ttl)

    def _doubt(self, wish: Wish, value: Value) -> _Doubt:
        """Whether the device may have this value already, so that it is asked before it is written. What it took last
        may be this value in an earlier version: its root was restored and gave it a new one."""
        if self._uncertain.get(wish.name) == wish.mark or self._wishes.was_attempted(self._device, wish):
            return _Doubt.BEGUN
        if wish.name not in self._touched or self._wishes.is_handed_over(self._device, wish.name):
            return _Doubt.UNKNOWN
        observed = self._taken.get(wish.name)
        is_it = observed is not None and self._driver.matches(wish.name, value, observed)
        return _Doubt.UNKNOWN if is_it else _Doubt.NONE

    async def _announce(self, wish: Wish) -> bool:
        """Make durable, in one commit, that the wish was delivered and that it is about to be written. False if it
        was replaced meanwhile."""
        ack = self._wishes.ack(self._device, wish)
        is_news = ack is None or ack.code == OVERRIDDEN
        begins = self._uncertain.get(wish.name) != wish.mark
        if is_news or begins:
            delivered = self._timed(Ack(wish.version, AckState.DELIVERED)) if is_news else None
            covered = self._wishes.overrules(self._device, wish, attempt=True) if begins else None
            overruled = None if covered is None else self._timed(covered)
            if not await self._wishes.announce(self._device, wish, delivered, attempt=begins, overruled=overruled):
                return False
            self._uncertain[wish.name] = wish.mark
        self._done[wish.name] = wish.mark
        return True

    def _judge(self, name: str, value: Value) -> Value:
        """The value as the model has it; None while the model is missing."""
        if name not in self._driver.writable:
            raise not_writable(name)
        if self._model_ref is None:
            return value
        compiled = self._compiled()
        return None if compiled is None else compiled.check(name, value, direction=Direction.DOWN)

    def _left(self, wish: Wish, ttl: float | None) -> float | None:
        """Seconds for which the value is still wanted; None if that is not known."""
        return math.inf if ttl is None else self._lifetimes.left(self._key(wish), wish.version)

    def _key(self, wish: Wish) -> RegisterKey:
        return RegisterKey(self._device, Section.DESIRED, wish.name)

    async def _carry_out(self, wish: Wish, value: Value, doubt: _Doubt, ttl: float | None) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                ack = await self._write(wish, value, doubt, ttl)
        except TimeoutError:
            ack = self._after_error(wish, DeviceTimeout("the device did not settle the write in time"))
        except DeviceError as error:
            ack = self._after_error(wish, error)
        except InvalidValue as error:
            ack = _rejected(wish.version, error)
        except Exception as error:
            log.exception("adapter fault", device=str(self._device), property=wish.name)
            ack = Ack(wish.version, AckState.FAILED, "adapter-fault", f"the adapter failed: {error}")
        await self._say(wish, ack)

    async def _write(self, wish: Wish, value: Value, doubt: _Doubt, ttl: float | None) -> Ack:
        if doubt is not _Doubt.NONE:
            settled = await self._read_back(wish, value, doubt, ttl)
            if settled is not None:
                return settled
        self._touched.add(wish.name)
        left = self._left(wish, ttl)
        if left is None or left <= 0:
            return _expired(wish.version)
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

    async def _read_back(self, wish: Wish, value: Value, doubt: _Doubt, ttl: float | None) -> Ack | None:
        """Settle a wish without writing: None when the value has to be written (again)."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT if doubt is _Doubt.UNKNOWN else None):
                observed = await self._driver.read_back(wish.name)
        except TimeoutError:
            return None
        except DeviceError as error:
            if doubt is _Doubt.UNKNOWN and not isinstance(error, DeviceUnreachable):
                return None
            if error.transient:
                raise
            if self._is_idempotent(wish.name) and (self._left(wish, ttl) or 0) > 0:
                return None
            message = "the write may or may not have reached the device, and this property cannot be read back"
            return Ack(wish.version, AckState.FAILED, "outcome-unknown", message)
        self._touched.add(wish.name)
        if self._driver.matches(wish.name, value, observed):
            self._taken[wish.name] = observed
            return Ack(wish.version, AckState.APPLIED, observed=observed)
        return None

    def _after_error(self, wish: Wish, error: DeviceError) -> Ack:
        if error.transient:
            self._retries.put_off(wish.name, wish.mark)
            return Ack(wish.version, AckState.DELIVERED, error.code, error.message)
        return Ack(wish.version, AckState.FAILED, error.code, error.message, error.detail.get("observed"))

    async def _say(self, wish: Wish, ack: Ack) -> None:
        """Keep how far a wish has come unless that is known, or the wish was replaced meanwhile."""
        name, timed = wish.name, self._timed(replace(ack, version=wish.version))
        known = self._wishes.ack(self._device, wish)
        if known is not None and _without_time(known) == _without_time(timed):
            self._unsaid.pop(name, None)
            return
        self._unsaid[name] = wish, ack
        kept = await self._wishes.say(self._device, wish, timed)
        del self._unsaid[name]
        if not kept:
            self._nudged.set()
        elif ack.settled:
            self._retries.forget(name)
            self._uncertain.pop(name, None)
            self._taken.pop(name, None)

    def _timed(self, ack: Ack) -> Ack:
        return replace(ack, time=self._clock.wall_ms())

    def _compiled(self) -> CompiledModel | None:
        if self._model_ref is None:
            return None
        return self._models.find(self._device.namespace, self._model_ref)

    def _is_idempotent(self, name: str) -> bool:
        compiled = self._compiled()
        known = None if compiled is None else compiled.model.properties.get(name)
        return known is not None and known.idempotent

    def _is_wanted(self, wish: Wish) -> bool:
        """No newer one took its place meanwhile (an override may have become the desired value), and the device is
        still this node's."""
        current = self._wishes.current(self._device, wish.name)
        is_it = current is not None and wish.is_override and current.override == wish.override
        return (is_it or current == wish) and self._held(self._device)

    def _until_retry(self, looked: float) -> float | None:
        """Seconds to the next retry, or look at a ttl, that was not due when the values were last looked at; None
        without one."""
        later = [at for at in (*self._retries.times(), *self._looks) if at > looked]
        return max(0.0, min(later) - self._clock.now()) + 0.001 if later else None


def _rejected(version: Version, error: InvalidValue | TooLarge) -> Ack:
    return Ack(version, AckState.REJECTED, error.code, error.message)


def _expired(version: Version) -> Ack:
    return Ack(version, AckState.EXPIRED, "expired", "its time to live passed before it could be written")


def _without_time(ack: Ack) -> tuple[object, ...]:
    return (ack.version, ack.state, ack.code, ack.message, ack.observed)
