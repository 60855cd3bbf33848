"""What one device says about itself, on its way into the twin: checked, compared, versioned.

Implements the SDK's DevicePort. A refused value replaces nothing and hinders no other; it is shown, with the rule it
broke, in the presence register `refused` until the property reports well again. After a start the first report of
every property is minted even if it equals the stored one: a crash may have taken back a newer value that the
parent has. What a report changes of the quality of the device's values is said with it, in one step. What is
reported while the device's model is not here is taken as it is and marked `unvalidated`; it is judged when the model
comes.

A device is online while it says something, stale when it has said nothing for three of its periods, and online again
with its next word; offline is what its driver says. `since` is when it became so. A device that was online in the
node's last life and is not heard in this one is stale, too: what it has said meanwhile nobody knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import structlog

from twingateway.errors import DeviceError, InvalidValue, Problem, TooLarge, TwinGatewayError
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.mint import Draft
from twingateway.twin.equality import same
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import STATE, Presence, PresenceState
from twingateway.twin.register import RegisterKey, Section
from twingateway.twin.value import MAX_INTEGER, Value
from twingateway.validation.model import CompiledModel, Direction
from twingateway.validation.normalise import normalise

log = structlog.get_logger("device")

SOURCE, REFUSED, QUALITY, UNVALIDATED = "source", "refused", "quality", "unvalidated"
MODEL, ADAPTER = "model", "adapter"
#: Characters that a property's name may have.
MAX_NAME = 128
#: Periods without a word after which a device is stale, and the seconds that this takes at least: a busy moment of
#: the node is no silence of the device.
STALE_PERIODS, STALE_LEAST = 3, 3.0
#: Seconds after which a device is stale that was not heard at all since its node began, whatever its period is: long
#: enough for each unit of a slow line to have had its turn, or a broker to have said what it retained.
FIRST_WORD = 30.0
#: Characters of a refused value that are shown.
SHOWN = 200


class Reporter:
    """The port between one driver and the twin of its device."""

    def __init__(
        self,
        device: DeviceId,
        model_ref: str | None,
        models: ModelBook,
        ledger: Ledger,
        clock: Clock,
        statements: Statements,
        on_online: Callable[[], None],
    ) -> None:
        self._device = device
        self._model_ref = model_ref
        self._models = models
        self._ledger = ledger
        self._clock = clock
        self._statements = statements
        self._on_online = on_online
        self._keys: dict[str, RegisterKey] = {}
        """Of the properties that were reported since the start."""
        self._refused: dict[str, Value] = {}
        self._source_shown = True
        self._heard = clock.now()
        self._was_heard = False
        self._is_stale = False
        self._is_missed = False
        """The log says that it is not there."""
        self._is_closed = False
        self.is_online = False
        self.error: TwinGatewayError | None = None
        """Why the device is offline, or what was wrong with it last."""

    def close(self) -> None:
        """The device is not run here any more: whatever its driver still says is not passed on."""
        self._is_closed = True

    def introduce(self, adapter: str) -> None:
        """At the start: which adapter and model the device has; that it has not answered yet is no news. What was
        reported while the model was missing is judged now, if it is here."""
        self._write({ADAPTER: adapter, MODEL: self._model_ref, REFUSED: None, QUALITY: None})
        compiled = self._compiled()
        if self._model_ref is None or compiled is not None:
            self._validate(compiled)

    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        if self._is_closed:
            return
        compiled = self._compiled()
        if time is None or abs(time) > MAX_INTEGER:  # no clock of this world
            time = self._clock.wall_ms()
        said_last = self._statements.last(self._device, Section.REPORTED)
        bad, refused = self._bad(), self._refused
        left = bad
        drafts = []
        for name, value in values.items():
            try:
                checked = _check(compiled, name, value)
            except (InvalidValue, TooLarge) as error:
                self._refuse(name, value, error)
                continue
            if name in self._refused:
                self._refused = _without(self._refused, name)
            if value is not None and name in left:
                left = _without(left, name)  # it has just been reported; what else is good the driver says itself
            key = self._keys.get(name)
            if key is None:
                key = self._keys[name] = RegisterKey(self._device, Section.REPORTED, name)
                drafts.append(Draft(key, checked, time))
            elif again or not same(said_last(name), checked):
                drafts.append(Draft(key, checked, time))
        said: dict[str, Value] = {}
        if self._refused is not refused:
            said[REFUSED] = dict(self._refused) or None
        if left is not bad:
            said[QUALITY] = dict(left) or None
        if drafts and self._model_ref is not None and compiled is None:
            said[UNVALIDATED] = list[Value](sorted({*self._unvalidated(), *(draft.key.name for draft in drafts)}))
        self._said(drafts, said)

    def _said(self, drafts: list[Draft], said: dict[str, Value]) -> None:
        """The device was heard: what it reported, and what that changes."""
        presence = self._come()
        if presence is not None:
            said[STATE] = presence.to_value()
        self._statements.report(drafts, self._keyed(said))
        self._clear_source()
        self._came(presence)

    def online(self) -> None:
        presence = None if self._is_closed else self._come()
        if presence is not None:
            self._write({STATE: presence.to_value()})
            self._clear_source()
            self._came(presence)

    def _come(self) -> Presence | None:
        """It was heard: what is to be said of it if it was away."""
        self._heard, self._was_heard = self._clock.now(), True
        if self.is_online and not self._is_stale:
            return None
        self.is_online, self._is_stale = True, False
        self.error = None
        return Presence(PresenceState.ONLINE, self._clock.wall_ms())

    def _came(self, presence: Presence | None) -> None:
        if presence is not None:
            self._log(presence)
            self._on_online()

    def expect(self, period: float | None) -> None:
        """Look whether the device has kept silent for too long. `period` in seconds; None for a device that may be
        well for any time without a word, once it has said one."""
        patience = math.inf if period is None else max(STALE_PERIODS * period, STALE_LEAST)
        if not self._was_heard:
            patience = min(patience, FIRST_WORD)
        if self._is_stale or self._clock.now() - self._heard < patience:
            return
        if Presence.from_value(self._said_last(Section.PRESENCE, STATE)).state is PresenceState.ONLINE:
            self._is_stale = True
            if self._was_heard:
                code, message = "silent", f"nothing was heard for {STALE_PERIODS} periods of {period:g} s"
            else:
                code, message = "unheard", "nothing was heard since its node began"
            self._presence(Presence(PresenceState.STALE, self._clock.wall_ms(), code, message))

    def excuse(self) -> None:
        """This node was held up itself: silence is counted from now on."""
        self._heard = self._clock.now()

    def offline(self, error: DeviceError) -> None:
        """`error.detail["retry_in"]`: seconds until the driver itself tries again."""
        retry_in = error.detail.get("retry_in")
        self.fail(error, None if retry_in is None else self._clock.wall_ms() + int(retry_in * 1000))

    def problem(self, error: DeviceError) -> None:
        self._show_source(error, None)

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        known = self._bad()
        shown: dict[str, Value] = {}
        for name, error in bad.items():
            entry: dict[str, Value] = {"code": error.code, "message": error.message[:SHOWN]}
            last = known.get(name)
            same_as_before = isinstance(last, dict) and {**last, **entry} == last
            shown[name] = last if same_as_before else {**entry, "since": self._clock.wall_ms()}
        self._write({QUALITY: shown or None})

    def _bad(self) -> Mapping[str, Value]:
        """What is not good at present, by property."""
        said = self._statements.last(self._device, Section.PRESENCE)(QUALITY)
        return said if isinstance(said, dict) else {}

    def fail(self, error: TwinGatewayError, next_try: int | None) -> None:
        """Offline because of `error`; the host tries again at `next_try` (Unix milliseconds)."""
        was_online, self.is_online = self.is_online, False
        self._is_stale = False
        self.error = error
        before = Presence.from_value(self._said_last(Section.PRESENCE, STATE))
        if was_online or before.state is not PresenceState.OFFLINE or before.code != error.code:
            since = before.since if before.state is PresenceState.OFFLINE else self._clock.wall_ms()
            self._presence(Presence(PresenceState.OFFLINE, since, error.code, error.message))
        self._show_source(error, next_try)

    def _compiled(self) -> CompiledModel | None:
        return None if self._model_ref is None else self._models.find(self._device.namespace, self._model_ref)

    def _unvalidated(self) -> list[str]:
        """What was reported without the model."""
        names = self._said_last(Section.PRESENCE, UNVALIDATED)
        return [str(name) for name in names] if isinstance(names, list) else []

    def _validate(self, compiled: CompiledModel | None) -> None:
        """The model is here: of what was reported without it, what does not fit is refused and goes."""
        drafts = []
        for name in self._unvalidated():
            value = self._said_last(Section.REPORTED, name)
            try:
                checked = _check(compiled, name, value)
            except (InvalidValue, TooLarge) as error:
                self._refuse(name, value, error)
                checked = None
            if not same(checked, value):
                drafts.append(Draft(RegisterKey(self._device, Section.REPORTED, name), checked))
        self._statements.report(drafts, self._keyed({UNVALIDATED: None, REFUSED: dict(self._refused) or None}))

    def _refuse(self, name: str, value: object, error: InvalidValue | TooLarge) -> None:
        rule = error.problem.rule if isinstance(error, InvalidValue) else error.code
        name, seen = name[:MAX_NAME], repr(value)[:SHOWN]
        shown: dict[str, Value] = {"value": seen, "rule": rule, "message": error.message}
        known = self._refused.get(name)
        if isinstance(known, dict) and {**known, "time": 0} == {**shown, "time": 0}:
            return
        self._refused = {**self._refused, name: {**shown, "time": self._clock.wall_ms()}}
        if not isinstance(known, dict) or known["rule"] != rule:
            self._ledger.notice("value-refused", error.message, self._device, property=name, value=seen, rule=rule)

    def _presence(self, presence: Presence) -> None:
        self._write({STATE: presence.to_value()})
        self._log(presence)

    def _log(self, presence: Presence) -> None:
        was_missed, self._is_missed = self._is_missed, presence.state is not PresenceState.ONLINE
        if self._is_missed:
            what = f"a device is {presence.state}"
            log.warning(what, device=str(self._device), code=presence.code, reason=presence.message)
        elif was_missed:
            log.info("a device is online again", device=str(self._device))

    def _show_source(self, error: TwinGatewayError, next_try: int | None) -> None:
        self.error = error
        self._source_shown = True
        value: dict[str, Value] = {"code": error.code, "message": error.message, "time": self._clock.wall_ms()}
        if next_try is not None:
            value["next_try"] = next_try
        self._write({SOURCE: value})

    def _clear_source(self) -> None:
        if self._source_shown:
            self._source_shown = False
            self._write({SOURCE: None})

    def _write(self, values: Mapping[str, Value]) -> None:
        if self._is_closed:
            return
        self._statements.say(self._keyed(values))

    def _keyed(self, said: Mapping[str, Value]) -> dict[RegisterKey, Value]:
        return {RegisterKey(self._device, Section.PRESENCE, name): value for name, value in said.items()}

    def _said_last(self, section: Section, name: str) -> Value:
        return self._statements.value(RegisterKey(self._device, section, name))


def _without(entries: Mapping[str, Value], name: str) -> dict[str, Value]:
    return {other: entry for other, entry in entries.items() if other != name}


def _check(compiled: CompiledModel | None, name: str, value: Value) -> Value:
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidValue(Problem(f"a name has 1 to {MAX_NAME} characters", name[:MAX_NAME], "propertyNames"))
    if compiled is None or value is None:
        return normalise(value, name)
    return compiled.check(name, value, direction=Direction.IN)
