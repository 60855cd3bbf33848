"""What the devices held here are to be at: desired values, or local overrides of them; and how far each has come.

An override's progress is kept in its own register, a desired value's in the ack register, so each is told for what it
is. While an override is followed, the ack of the desired value under it says `overridden`: whatever it was before, it
is not at the device now, and it is written again should the override end without becoming the desired value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twingateway.errors import TooLarge
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.overridden import override_of, verdict_of
from twingateway.gateway.state.table import TwinTable
from twingateway.ports.store import Attempt
from twingateway.twin.ack import HANDED_OVER, OVERRIDDEN, Ack, AckState
from twingateway.twin.conflict import Source, followed
from twingateway.twin.desired import origin_of, terms_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import LIFECYCLE_NAME
from twingateway.twin.model import ConflictPolicy, Property
from twingateway.twin.override import Override
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise

#: Outcomes that an override does not change: the value never came to the device.
_NEVER_THERE = frozenset({AckState.REJECTED, AckState.FAILED, AckState.EXPIRED, AckState.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class Wish:
    """`value`: as a desired register holds it, None when nothing is desired any more. `version`: of the desired
    value; of an override (`is_override`) its base. `override`: the id of the override that it is or was."""

    name: str
    value: Value
    version: Version
    override: str = ""
    is_override: bool = False

    @property
    def mark(self) -> str:
        """No other wish of its property has it."""
        return self.override if self.is_override else str(self.version)

    @property
    def rank(self) -> int:
        """The lowest goes first."""
        return 0 if self.is_override else terms_of(self.value).rank


class Wishes:
    """Of all devices of one node. `property_of` finds what a device's model says of a property."""

    def __init__(
        self,
        table: TwinTable,
        ledger: Ledger,
        locks: DeviceLocks,
        property_of: Callable[[DeviceId, str], Property | None],
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._locks = locks
        self._property_of = property_of

    def open(self, device: DeviceId) -> list[Wish]:
        """Those about which there is something to be done or said, the most urgent first."""
        names = {*self._table.section(device, Section.DESIRED), *self._table.section(device, Section.OVERRIDE)}
        wishes = (self.current(device, name) for name in names)
        found = [wish for wish in wishes if wish is not None and self._is_open(device, wish)]
        return sorted(found, key=lambda wish: (wish.rank, wish.version, wish.name))

    def orphans(self, device: DeviceId) -> list[str]:
        """Properties that have an ack of a desired value that is not there any more, not even as a tombstone."""
        desired = self._table.section(device, Section.DESIRED)
        return [name for name in self._table.values(device, Section.ACK) if name not in desired]

    def current(self, device: DeviceId, name: str) -> Wish | None:
        """What the device is to be at; None for nothing, or for nothing new."""
        desired, override = self._desired(device, name), override_of(self._table, device, name)
        if override is not None:
            verdict, judged = verdict_of(self._table, device, name)
            policy = self.policy(device, name)
            source = followed(override, desired, verdict, judged, policy)
            if source is Source.OVERRIDE:
                return Wish(name, override.value, override.base, str(override.id), True)
            if source is Source.NEITHER:
                return None
        if desired is None:
            return None
        return Wish(name, desired.value, desired.version, origin_of(desired.value).override)

    def ack(self, device: DeviceId, wish: Wish) -> Ack | None:
        """How far it has come; None if nothing was said about it yet."""
        if wish.is_override:
            override = override_of(self._table, device, wish.name)
            return override.ack if override is not None and str(override.id) == wish.override else None
        ack = self.desired_ack(device, wish.name)
        return ack if ack is not None and ack.version == wish.version else None

    def desired_ack(self, device: DeviceId, name: str) -> Ack | None:
        """What was said last about a desired value of this property, whichever it was."""
        value = self._table.value(device, Section.ACK, name)
        return None if value is None else Ack.from_value(value)

    def inherited(self, device: DeviceId, wish: Wish) -> Ack | None:
        """The outcome of a desired value that was written as an override already; until the device, having been
        handed over, was found without it, or was told something else."""
        said = self.ack(device, wish)
        is_asked = said is not None and said.code == HANDED_OVER
        override = None if wish.is_override or is_asked else self._origin(device, wish)
        if override is None or override.ack is None or not override.ack.settled:
            return None
        return None if self._was_left(device, wish, override) else override.ack

    def _was_left(self, device: DeviceId, wish: Wish, override: Override) -> bool:
        """Whether something else was carried out since. While an override is followed, what is desired is said to be
        `overridden`, unless it had never come to the device before."""
        ack = self.desired_ack(device, wish.name)
        if ack is None or ack.code == OVERRIDDEN or ack.version == wish.version:
            return False
        return ack.version > override.base or ack.state not in _NEVER_THERE

    def observed(self, device: DeviceId, name: str) -> Value:
        """What the device was last seen to take; None if that is not known."""
        ack = self._last_ack(device, name)
        return ack.observed if ack is not None and ack.state is AckState.APPLIED and not ack.is_handed_over else None

    def is_handed_over(self, device: DeviceId, name: str) -> bool:
        """What the device is said to have taken last, it took under an earlier grant, and was not asked since."""
        ack = self._last_ack(device, name)
        return ack is not None and ack.is_handed_over

    def _last_ack(self, device: DeviceId, name: str) -> Ack | None:
        ack, override = self.desired_ack(device, name), override_of(self._table, device, name)
        return override.ack if override is not None and (ack is None or ack.code == OVERRIDDEN) else ack

    def was_attempted(self, device: DeviceId, wish: Wish) -> bool:
        """It was begun as an override."""
        override = self._origin(device, wish)
        return override is not None and override.attempted

    def overrules(self, device: DeviceId, wish: Wish, *, attempt: bool = False) -> Ack | None:
        """What is to be said of the desired value that this override covers; None if nothing is. One that was applied
        is at the device until the override is attempted (`attempt`: it is about to be). As it names the override, it
        is said once of each."""
        desired = self._desired(device, wish.name)
        if not wish.is_override or desired is None or desired.value is None:
            return None
        ack = self.desired_ack(device, wish.name)
        message = f"the device follows the local override {wish.override}"
        overruled = Ack(desired.version, AckState.DELIVERED, OVERRIDDEN, message)
        known = ack is not None and ack.version == desired.version
        if ack is not None and known and ack.code == OVERRIDDEN:
            return None if ack.message == message else overruled
        if ack is not None and known and ack.state in _NEVER_THERE:
            return None
        override = override_of(self._table, device, wish.name)
        may_be_there = attempt or (override is not None and override.attempted)
        if ack is not None and known and ack.state is AckState.APPLIED and not may_be_there:
            return None
        return overruled

    async def say(self, device: DeviceId, wish: Wish, ack: Ack) -> bool:
        """Keep how far it has come; False if it was replaced meanwhile. Raises StoreError or Unavailable."""
        if wish.is_override:
            return await self._update(device, wish, lambda override: override.with_ack(ack))
        return await self.say_desired(device, wish.name, replace(ack, version=wish.version))

    async def overrule(self, device: DeviceId, wish: Wish, ack: Ack) -> bool:
        """Keep what an override makes of the desired value that it covers. Where a desired value may have been
        carried out since it was applied (a root that was put back judges anew), the device is to be asked whether it
        holds it still. False and raises: as `say`."""
        override = self._origin(device, wish)
        if override is None or override.ack is None or not self._was_left(device, wish, override):
            return await self.say_desired(device, wish.name, ack)
        asked = override.ack.handed_over()
        return await self._update(device, wish, lambda known: known.with_ack(asked), ack)

    async def say_desired(self, device: DeviceId, name: str, ack: Ack) -> bool:
        """The same of a desired value, by its version."""
        desired = self._desired(device, name)
        if desired is None or desired.version != ack.version:
            return False
        await self._ledger.write([Draft(RegisterKey(device, Section.ACK, name), ack.to_value())], vital=True)
        return True

    async def announce(
        self, device: DeviceId, wish: Wish, delivered: Ack | None, *, attempt: bool, overruled: Ack | None = None
    ) -> bool:
        """Keep, in one commit, that it was `delivered`, (`attempt`) that it may reach the device from now on, and
        what that makes of the desired value that it covers (`overruled`). False if it was replaced meanwhile. Raises
        StoreError or Unavailable."""
        if wish.is_override:
            return await self._update(
                device,
                wish,
                lambda override: replace(
                    override if delivered is None else override.with_ack(delivered),
                    attempted=override.attempted or attempt,
                ),
                overruled,
            )
        acks = [] if delivered is None else [Draft(RegisterKey(device, Section.ACK, wish.name), delivered.to_value())]
        attempts = [Attempt(device, wish.name, wish.version)] if attempt else []
        await self._ledger.write(acks, attempts=attempts, vital=True)
        return True

    async def forget(self, device: DeviceId, name: str) -> None:
        """Nothing is desired any more: its ack goes. Raises StoreError or Unavailable."""
        await self._ledger.write([Draft(RegisterKey(device, Section.ACK, name), None)], vital=True)

    def policy(self, device: DeviceId, name: str) -> ConflictPolicy:
        found = self._property_of(device, name)
        return ConflictPolicy.CLOUD_WINS if found is None else found.conflict

    def _desired(self, device: DeviceId, name: str) -> Register | None:
        stored = self._table.get(RegisterKey(device, Section.DESIRED, name))
        return None if stored is None else stored.register

    def _origin(self, device: DeviceId, wish: Wish) -> Override | None:
        """The override that a wish is or was; None also where what it stood over is desired again."""
        override = override_of(self._table, device, wish.name)
        is_it = override is not None and override.withdrawn is None and str(override.id) == wish.override
        return override if is_it else None

    def _is_to_come(self, device: DeviceId, wish: Wish, said: Ack) -> bool:
        """Whether a newer value was heard of: this node was told what was said of it before it had this device, or
        this store. Not so when the root has begun an epoch since: such a value may be lost."""
        lifecycle = self._table.get(RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME))
        begun = (0, 0) if lifecycle is None else lifecycle.register.version[:2]
        return said.version > wish.version and said.version[:2] >= begun

    def _is_open(self, device: DeviceId, wish: Wish) -> bool:
        said = self.desired_ack(device, wish.name)
        if said is not None and not wish.is_override and self._is_to_come(device, wish, said):
            return False
        if wish.value is None:
            return said is not None
        ack = self.ack(device, wish)
        is_done = ack is not None and ack.settled and not ack.is_handed_over
        return not is_done or self.overrules(device, wish) is not None

    async def _update(
        self, device: DeviceId, wish: Wish, change: Callable[[Override], Override], overruled: Ack | None = None
    ) -> bool:
        """Under the device's lock: of an override that is being set meanwhile, nothing may be lost."""
        async with self._locks.hold([device]):
            override = override_of(self._table, device, wish.name)
            if override is None or str(override.id) != wish.override:
                return False
            key = RegisterKey(device, Section.OVERRIDE, wish.name)
            drafts = [Draft(key, _fitting(change(override)))]
            if overruled is not None:
                drafts.append(Draft(RegisterKey(device, Section.ACK, wish.name), overruled.to_value()))
            await self._ledger.write(drafts, vital=True)
            return True


def _fitting(override: Override) -> Value:
    """Its register's value; what was observed is left out if there is no room for it."""
    try:
        return normalise(override.to_value())
    except TooLarge:
        return replace(
            override, ack=None if override.ack is None else replace(override.ack, observed=None)
        ).to_value()
