"""The holder's side of local overrides: an operator sets a desired value here, whether or not the root is reached.

An override is committed, together with its journal entry, before it takes effect and before its operator is answered.
From then on the device follows it (`wishes`) until the root has judged it (`verdicts`). One that is set while another
is unsettled continues its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twingateway.errors import (
    InvalidValue,
    NotFound,
    NotHolder,
    Problem,
    Unavailable,
    UnknownTwin,
    VersionMismatch,
)
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.holding.ownership import Ownership
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.events import EventBus
from twingateway.gateway.state.journal import Journal
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import granted_epoch, tenure
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.overridden import open_overrides, override_of, verdict_of
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.commands import ANY, require_name
from twingateway.gateway.twins.queries import Queries
from twingateway.gateway.twins.standing import Standing
from twingateway.ports.journal import Filing
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.conflict import is_open, is_settled
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value
from twingateway.validation.explain import shown as in_words
from twingateway.validation.model import Direction
from twingateway.validation.normalise import normalise

#: Bytes of a store's boot id that make a line nobody else's.
_UNIQUE = 6


class Overrides:
    """Of all devices that this node holds."""

    def __init__(
        self,
        ownership: Ownership,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        models: ModelBook,
        queries: Queries,
        events: EventBus,
        locks: DeviceLocks,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._ownership = ownership
        self._lines = 0
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._models = models
        self._queries = queries
        self._events = events
        self._locks = locks
        self._journal = journal
        self._clock = clock
        ownership.watch(self._end_strays_of)  # before it is told what is left of the device
        # Of an override, too: one that was being written when its device was taken away is shown after that.
        ledger.watch(self._on_register, Section.LIFECYCLE, Section.OVERRIDE)

    def begin(self) -> None:
        """End what was left by devices that are not this node's any more."""
        for device in self._table.devices():
            self._end_strays_of(device)

    def find(self, device: DeviceId, name: str) -> Override:
        """The open override of a property, at any node that knows of it. Raises UnknownTwin, NotFound."""
        if not self._queries.exists(device):
            raise UnknownTwin(f"there is no twin {device.short}")
        found = open_overrides(self._table, device).get(name)
        if found is None:
            raise NotFound(f"{name} of {device.short} is not overridden")
        return found

    async def set(
        self, device: DeviceId, name: str, value: Value, actor: str, if_match: Version | OverrideId | None = None
    ) -> Override:
        """Let the device follow `value` from now on. `if_match`: the override that it replaces, or the twin's version
        of which there is no override yet. Raises UnknownTwin, NotHolder, InvalidValue, TooLarge, VersionMismatch,
        Unavailable, StoreError; then nothing happened."""
        self._require_holder(device)
        async with self._locks.hold([device]):
            self._require_holder(device)
            self._compare(device, name, if_match)
            desired = self._table.get(RegisterKey(device, Section.DESIRED, name))
            wanted = desired is not None and desired.register.value is not None
            now, replaced = self._now(device, name), override_of(self._table, device, name)
            override = Override(
                self._next_id(device, name, now),
                self._checked(device, name, value),
                actor,
                self._peers.node,
                desired.register.version if desired is not None and wanted else ZERO,
                self._clock.wall_ms(),
                said=now,
                after=() if replaced is None else replaced.so_far,
            )
            _require_room(name, override)
            detail: dict[str, Value] = {"value": override.value, "base": str(override.base)}
            former = open_overrides(self._table, device).get(name)
            if former is not None:
                detail["replaces"] = str(former.id)
            message = f"{name} was set to the local value {in_words(override.value)}"
            await self._keep(device, name, override, "override", message, detail, actor)
            return override

    async def withdraw(
        self, device: DeviceId, name: str, actor: str, if_match: Version | OverrideId | None = None
    ) -> None:
        """Let the device follow the desired value again. Raises UnknownTwin, NotHolder, NotFound, VersionMismatch,
        Unavailable, StoreError; then nothing happened."""
        self._require_holder(device)
        async with self._locks.hold([device]):
            self._require_holder(device)
            override = self.find(device, name)
            self._compare(device, name, if_match)
            taken_back = replace(override, withdrawn=actor, said=self._now(device, name), after=override.so_far)
            detail: dict[str, Value] = {"value": override.value}
            message = f"the local value of {name} was withdrawn"
            await self._keep(device, name, taken_back, "override-withdrawn", message, detail, actor)

    async def settled(self, device: DeviceId, name: str, override: Override, timeout: float) -> Standing:
        """Wait until it is known what became of it, at the device or at the root, at most `timeout` seconds; what is
        known then."""

        def standing() -> Standing:
            return self._queries.standing(device, name, override)

        await self._events.until(device, lambda: standing().is_settled, timeout)
        return standing()

    async def _keep(
        self,
        device: DeviceId,
        name: str,
        override: Override,
        code: str,
        message: str,
        detail: Mapping[str, Value],
        actor: str,
    ) -> None:
        detail = {"property": name, "id": str(override.id), "actor": actor, **detail}
        message = f"{message} by {actor}" if actor else message
        filing = self._journal.event(code, message, device, detail)
        draft = Draft(RegisterKey(device, Section.OVERRIDE, name), override.to_value())
        await self._ledger.write([draft], journal=[filing])
        self._told(filing, message, detail)

    def _told(self, filing: Filing, message: str, detail: Mapping[str, Value]) -> None:
        entry = filing.entry
        self._journal.committed(filing)
        self._ledger.tell(entry.name, message, entry.device_id, entry.time, detail)

    def _require_holder(self, device: DeviceId) -> None:
        if not self._queries.exists(device):
            raise UnknownTwin(f"there is no twin {device.short}")
        holder = self._peers.holder(device)
        if self._peers.root_name == self._peers.node:
            message = f"this node is the root: set the desired value of {device.short} itself, nothing overrides it"
            raise NotHolder(message, holder=holder)
        if not self._ownership.held(device):
            where = (
                f"the node that holds it, {holder}" if holder else "the node that holds it, once the root knows it"
            )
            raise NotHolder(f"{device.short} is overridden at {where}; this is {self._peers.node}", holder=holder)

    def _compare(self, device: DeviceId, name: str, if_match: Version | OverrideId | None) -> None:
        if if_match is None:
            return
        current = open_overrides(self._table, device).get(name)
        if current is not None:
            if if_match in (ANY, current.id):
                return
            message = f"{name} is overridden by {current.id}; read it again and decide anew"
            raise VersionMismatch(message, current=str(current.id))
        version = self._queries.version(device)
        if if_match != version:
            message = f"{name} is not overridden and the version of {device.short} is {version}, not {if_match}"
            raise VersionMismatch(message, current=str(version))

    def _checked(self, device: DeviceId, name: str, value: Value) -> Value:
        require_name(name, "")
        if value is None:
            raise InvalidValue(Problem("an override has a value; withdraw it to end it", name, "type"))
        ref = self._queries.model_ref(device)
        if ref is None:
            return normalise(value, name)
        compiled = self._models.find(device.namespace, ref)
        if compiled is None:
            raise Unavailable(f"the model {ref} of {device.short} is not here yet; nothing can be checked against it")
        return compiled.check(name, value, direction=Direction.DOWN)

    def _now(self, device: DeviceId, name: str) -> Version:
        """Above all that is known of the property: what was given back may have greater numbers of a lost history."""
        now = self._ledger.mint.next_version(RegisterKey(device, Section.OVERRIDE, name))
        override, (verdict, _) = override_of(self._table, device, name), verdict_of(self._table, device, name)
        known = max(ZERO if override is None else override.said, ZERO if verdict is None else verdict.said)
        return now if now > known else Version(known.incarnation, known.epoch + 1, now.seq)

    def _next_id(self, device: DeviceId, name: str, now: Version) -> OverrideId:
        """Never that of another one: a store that was put back may continue a line for the second time, but issues no
        number again."""
        former = override_of(self._table, device, name)
        if former is not None:
            desired = self._table.get(RegisterKey(device, Section.DESIRED, name))
            verdict, judged = verdict_of(self._table, device, name)
            if not is_settled(former, None if desired is None else desired.register, verdict, judged):
                return OverrideId(former.id.line, now.seq)
        self._lines += 1
        return OverrideId(f"{self._peers.boot_id[:_UNIQUE].hex()}-{self._lines}", 1)

    # --- a device that is not this node's any more ------------------------------------------------------------------

    def _on_register(self, stored: StoredRegister) -> None:
        self._end_strays_of(stored.register.key.device)

    def _end_strays_of(self, device: DeviceId) -> None:
        """Should the device ever come back, what was set for it here before must not. The event and the removal are
        one transaction, as both wait for the next."""
        strays = self._strays(device)
        for stored in strays:
            name, override = stored.register.key.name, Override.read(stored.register.value)
            is_known = not (
                self._is_own(stored) or self._table.is_ended(stored.register)
            )  # at the root, which gives it on
            if override is not None and not is_known and is_open(override, verdict_of(self._table, device, name)[0]):
                message = f"the local value of {name} ends: {device.short} is not what it was, or not this node's"
                about: dict[str, Value] = {"id": str(override.id), "actor": override.actor, "value": override.value}
                self._ledger.notice("override-void", message, device, property=name, **about)
        if strays:
            self._ledger.drop(strays)

    def _strays(self, device: DeviceId) -> list[StoredRegister]:
        """Overrides of a device that was deleted, or that this node had before it was given to another one, also if
        that is over. The root keeps them for that one, and a region those that are on their way up."""
        lifecycle = self._table.get(lifecycle_key(device))
        if lifecycle is None:
            return []
        present = (lifecycle.register.version.incarnation, granted_epoch(lifecycle.register))
        is_ours = fields(lifecycle.register).get("holder") == self._peers.node
        is_root = self._peers.root_name == self._peers.node
        was_ours = self._ownership.runs(device) and not is_root
        return [
            stored
            for stored in self._table.section(device, Section.OVERRIDE).values()
            if self._table.is_ended(stored.register)
            or (is_ours and not is_root and stored.register.version[:2] < tenure(lifecycle.register))
            or (not is_ours and stored.register.version[:2] < present and (was_ours or self._is_own(stored)))
        ]

    def _is_own(self, stored: StoredRegister) -> bool:
        override = Override.read(stored.register.value)
        return override is not None and override.node == self._peers.node


def _require_room(name: str, override: Override) -> None:
    """Raises TooLarge if it would not fit its register once the device has reported it back."""
    applied = Ack(override.base, AckState.APPLIED, observed=override.value)
    normalise(replace(override.with_ack(applied.handed_over()), attempted=True).to_value(), name)
