"""Carries a device's desired values, and local overrides of them, to it, once each, and says how far each has come
(DESIGN, rule 12).

For one of them the steps are: checks → ack `delivered` and attempt, durable together → write → final ack.
What this process has not written before, and a write whose outcome is unknown, is read back first, and written only
if the device differs: so nothing that it holds is written again after a restart, a move or the loss of a store,
whatever of that was on record. So is what is wanted after a write that failed, and what the device took last. Of what
was applied before a device was handed over (moved, or its holder's store replaced) the device is asked, too, whether
it still holds it.
A property that has to wait (device off, transient error) never holds up its neighbours. Of several the most urgent
goes first. A value with a ttl is written only while it is known that time is left of it; with none left it is
`expired`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from twingateway.adapter.driver import Driver, not_writable
from twingateway.errors import (
    DeviceError,
    InvalidValue,
    StoreError,
    TooLarge,
    Unavailable,
)
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.devices.retries import RETRY, Retries
from twingateway.gateway.devices.setter import Doubt, Setter
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
        self._setter = Setter(driver, {attempt.name: str(attempt.version) for attempt in attempts})
        self._retries = Retries(clock)
        self._unsaid: dict[str, tuple[Wish, Ack]] = {}
        """Outcomes that the store has not taken yet: they are told before anything is done again."""
        self._nudged = asyncio.Event()
        self._nudged.set()

    def attempts(self) -> list[Attempt]:
        """Writes of which the outcome is not known, for whoever goes on."""
        marks = self._setter.begun.items()
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
        while True:
            try:
                async with asyncio.timeout(self._retries.pause()):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            self._nudged.clear()
            self._retries.look()
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
                self._retries.look_again(RETRY[0])

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
            self._setter.took(wish.name, observed)
        if self._wishes.is_handed_over(self._device, wish.name):  # before something else is said of it
            self._setter.lost_sight(wish.name)
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
            await self._wishes.overrule(self._device, wish, self._timed(overruled))
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
            holds_it, observed = await self._setter.ask(wish, value, said.observed)
        except DeviceError:
            self._retries.put_off(wish.name, wish.mark)
            return
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
            self._retries.look_again(ASK_AGAIN)
            message = "waiting to hear how long it is still wanted"
            await self._say(wish, Ack(wish.version, AckState.DELIVERED, "ttl-unknown", message))
            return False
        if left <= 0 and not self._setter.has_begun(wish):
            await self._say(wish, _expired(wish.version))
            return False
        if left < math.inf:
            self._retries.look_again(left)
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
            was_begun = self._wishes.was_attempted(self._device, wish)
            doubt = self._setter.doubt(wish, value, was_begun=was_begun)
            if await self._announce(wish) and self._is_wanted(wish):
                await self._carry_out(wish, value, doubt, ttl)

    async def _announce(self, wish: Wish) -> bool:
        """Make durable, in one commit, that the wish was delivered and that it is about to be written. False if it
        was replaced meanwhile."""
        ack = self._wishes.ack(self._device, wish)
        is_news = ack is None or ack.code == OVERRIDDEN
        begins = not self._setter.has_begun(wish)
        if is_news or begins:
            delivered = self._timed(Ack(wish.version, AckState.DELIVERED)) if is_news else None
            covered = self._wishes.overrules(self._device, wish, attempt=True) if begins else None
            overruled = None if covered is None else self._timed(covered)
            if not await self._wishes.announce(self._device, wish, delivered, attempt=begins, overruled=overruled):
                return False
        self._setter.begin(wish)
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

    async def _carry_out(self, wish: Wish, value: Value, doubt: Doubt, ttl: float | None) -> None:
        again = self._is_idempotent(wish.name)
        try:
            ack = await self._setter.set(wish, value, doubt, lambda: self._left(wish, ttl), may_repeat=again)
        except DeviceError as error:
            ack = self._after_error(wish, error)
        except InvalidValue as error:
            ack = _rejected(wish.version, error)
        except Exception as error:
            log.exception("adapter fault", device=str(self._device), property=wish.name)
            ack = Ack(wish.version, AckState.FAILED, "adapter-fault", f"the adapter failed: {error}")
        await self._say(wish, ack or _expired(wish.version))

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
            self._setter.settled(name)

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


def _rejected(version: Version, error: InvalidValue | TooLarge) -> Ack:
    return Ack(version, AckState.REJECTED, error.code, error.message)


def _expired(version: Version) -> Ack:
    return Ack(version, AckState.EXPIRED, "expired", "its time to live passed before it could be written")


def _without_time(ack: Ack) -> tuple[object, ...]:
    return (ack.version, ack.state, ack.code, ack.message, ack.observed)
