"""Reading: twins as documents with their status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twingateway.errors import UnknownTwin
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.reporter import ADAPTER, MODEL, QUALITY, REFUSED, SOURCE, UNVALIDATED
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.holding.grants import MOVED
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.peering.reach import NODES, behind, hops, reach_key, told_of
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.overridden import open_overrides
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.standing import Standing, standing
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import origin_of, terms_of
from twingateway.twin.document import render_twin
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ModelRef
from twingateway.twin.override import Override
from twingateway.twin.presence import STATE, Presence, PresenceState, effective
from twingateway.twin.quality import Quality, described, quality_of
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

_TIMED_OUT: Mapping[str, Any] = {
    "state": AckState.EXPIRED,
    "code": "expired-unconfirmed",
    "message": "its time to live has passed; whether it was written before, its holder has not said yet",
}
#: Code of the presence of a device that was given to a node which is not below this one: what was known of it here is
#: not so any more.
ELSEWHERE = "elsewhere"
#: Sections whose registers make a twin's document and status.
_SHOWN = (Section.REPORTED, Section.DESIRED)
#: Registers of section `presence` from which the quality of a twin's values follows.
_OF_QUALITY = frozenset({STATE, QUALITY, REFUSED})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which twins to list. `labels`: all must match; `after`: names above this one; `limit`: at most so many."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    presence: str | None = None
    after: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Page:
    """`next_after` is the name to go on from, None on the last page."""

    items: list[dict[str, Value]]
    next_after: str | None


class Queries:
    def __init__(
        self,
        peers: Peers,
        table: TwinTable,
        models: ModelBook,
        lifetimes: Lifetimes,
        statements: Statements,
        clock: Clock,
        root: bool,
    ) -> None:
        self._lifetimes = lifetimes
        self._models = models
        self._peers = peers
        self._table = table
        self._statements = statements
        self._clock = clock
        self._root = root

    def exists(self, device: DeviceId) -> bool:
        """Live: configured or created, and not deleted."""
        if device.namespace == NODES or device not in self._table:
            return False
        lifecycle = self._table.get(lifecycle_key(device))
        if lifecycle is None:
            return any(self._table.section(device, section) for section in Section)
        value = lifecycle.register.value
        return isinstance(value, dict) and value.get("state") == "live"

    def twin(self, device: DeviceId) -> dict[str, Value]:
        """The DeviceTwin document with `status`. Raises UnknownTwin."""
        if not self.exists(device):
            raise UnknownTwin(f"there is no twin {device.short}")
        labels = {name: str(value) for name, value in self._table.values(device, Section.TAGS).items()}
        model, presence = self.model_ref(device), self.presence(device)
        is_elsewhere = presence.code == ELSEWHERE
        document = render_twin(
            device,
            labels=labels,
            model=None if model is None else ModelRef.parse(model),
            desired={} if is_elsewhere else self._table.values(device, Section.DESIRED),
            reported={} if is_elsewhere else self._table.values(device, Section.REPORTED),
        )
        document["status"] = self._status(device, presence)
        return document

    def page(self, wanted: Filter) -> Page:
        """Twins in the order of their names."""
        items: list[dict[str, Value]] = []
        for device in sorted(self._live(wanted.namespace)):
            if device.name <= wanted.after or not self._matches(device, wanted):
                continue
            if len(items) == wanted.limit:
                return Page(items, str(_name_of(items[-1])))
            items.append(self.twin(device))
        return Page(items, None)

    def desired(self, device: DeviceId) -> tuple[dict[str, Value], Version]:
        """The desired properties and the twin's version. Raises UnknownTwin."""
        if not self.exists(device):
            raise UnknownTwin(f"there is no twin {device.short}")
        return self._table.values(device, Section.DESIRED), self.version(device)

    def version(self, device: DeviceId) -> Version:
        """The version of what clients may write of a twin: the greatest of any desired property or label, of what was
        removed, and of its assignment to a node once it was moved; above all of an ended incarnation. ZERO if there
        is no such twin."""
        if not self.exists(device):
            return ZERO
        lifecycle = self._table.get(lifecycle_key(device))
        born = Version(1 if lifecycle is None else lifecycle.register.version.incarnation, 0, 0)
        written = (
            stored.register.version for stored in self._table.sections(device, (Section.DESIRED, Section.TAGS))
        )
        floors = (kept.floor for kept in self._table.kept(device, Section.LIFECYCLE))
        moved = lifecycle is not None and MOVED in fields(lifecycle.register)
        assigned = lifecycle.register.version if lifecycle is not None and moved else ZERO
        return max((born, assigned, *floors, *written))

    def desired_version(self, device: DeviceId, name: str) -> Version | None:
        """The version of a desired property, also of one that was removed; None if there never was one."""
        stored = self._table.section(device, Section.DESIRED).get(name)
        return None if stored is None else stored.register.version

    def ack(self, device: DeviceId, name: str) -> Ack | None:
        """How far the newest desired value of a property has come, None without one. When its time to live has passed
        and its holder has not said what became of it, it is expired as far as is known here."""
        stored = self._table.section(device, Section.DESIRED).get(name)
        if stored is None or stored.register.value is None:
            return None
        version = stored.register.version
        value = self._table.value(device, Section.ACK, name)
        ack = None if value is None else _read_ack(value)
        if ack is None or ack.version != version:
            ack = Ack(version, AckState.PENDING, time=stored.register.time)
        return replace(ack, **_TIMED_OUT) if not ack.settled and self._is_over(stored.register) else ack

    def ack_of(self, device: DeviceId, name: str, version: Version) -> Ack:
        """How far this desired version has come, which may be on its way here still, or replaced."""
        ack = self.ack(device, name)
        if ack is None or ack.version > version:
            return Ack(version, AckState.SUPERSEDED, "superseded", "a newer desired value took its place")
        return ack if ack.version == version else Ack(version, AckState.PENDING)

    def _is_over(self, desired: Register) -> bool:
        """At the root: nobody begins to write this value any more. Of one that was written before this process began,
        the wall clock says so: that is shown to people and decides nothing."""
        ttl = terms_of(desired.value).ttl
        if ttl is None or not self._root:
            return False
        if self._lifetimes.is_counted(desired.key, desired.version):
            return (self._lifetimes.left(desired.key, desired.version) or 0.0) <= 0
        return self._clock.wall_ms() >= desired.time + ttl * 1000

    def is_unvalidated(self, device: DeviceId, section: Section, name: str) -> bool:
        """Nobody has judged this value: the device names a model that its holder (of a reported value) or this node
        (of a desired one) does not have."""
        ref = self.model_ref(device)
        is_missing = ref is not None and self._models.find(device.namespace, ref) is None
        if section is Section.REPORTED:
            marked = self._table.value(device, Section.PRESENCE, UNVALIDATED)
            is_marked = isinstance(marked, list) and name in marked
            return is_marked or (is_missing and self._peers.holder(device) in (None, self._peers.node))
        return section is Section.DESIRED and is_missing

    def overrides(self, device: DeviceId) -> dict[str, Value]:
        """The open local overrides, by property."""
        return {
            name: self.standing(device, name, override).to_value()
            for name, override in sorted(open_overrides(self._table, device).items())
        }

    def standing(self, device: DeviceId, name: str, override: Override) -> Standing:
        """What became of a local override, open or not."""
        return standing(self._table, self.ack_of, device, name, override)

    def model_ref(self, device: DeviceId) -> str | None:
        """The model a device names, by its holder's word or else by the document it was created with."""
        ref = self._table.value(device, Section.PRESENCE, MODEL)
        if ref is None:
            lifecycle = self._table.get(lifecycle_key(device))
            value = None if lifecycle is None else lifecycle.register.value
            ref = value.get("model") if isinstance(value, dict) else None
        return ref if isinstance(ref, str) and _is_model_ref(ref) else None

    def presence(self, device: DeviceId) -> Presence:
        """Effective presence: what the holder said last, unless a hop to it is down, or the device was moved to a
        node that has not claimed it yet: then nobody speaks for it."""
        return self._presence(device, {})

    def presences(self) -> Counter[PresenceState]:
        """How many twins, of all namespaces, are in which state."""
        known: dict[str, list[Value]] = {}
        return Counter(self._presence(device, known).state for device in self._table.devices() if self.exists(device))

    def _presence(self, device: DeviceId, known: dict[str, list[Value]]) -> Presence:
        """`known`: by holder, the hops to it, so that they are looked up once for all of its devices."""
        holder = self._peers.holder(device)
        lifecycle = self._table.get(lifecycle_key(device))
        if holder is not None and holder not in known:
            known[holder] = self._hops(holder)
        if holder is not None and lifecycle is not None:
            if not self._root and holder != self._peers.node and not known[holder]:  # this node hears of it no more
                message = f"it was given to {holder}: ask that node, or the root"
                return Presence(PresenceState.UNKNOWN, lifecycle.register.time, ELSEWHERE, message)
            if not fields(lifecycle.register).get("store"):
                message = f"it was given to {holder}, which has not claimed it yet: does that node have its document?"
                return Presence(PresenceState.UNKNOWN, lifecycle.register.time, "unclaimed", message)
        return effective(self._table.value(device, Section.PRESENCE, STATE), known.get(holder or "", []))

    def _hops(self, holder: str) -> list[Value]:
        return hops(self._told_of, self._peers.node, holder)

    def _told_of(self, node: str) -> Mapping[str, Value]:
        """Of its own children this node knows before that is durable, as their values are shown before they are."""
        here, told = self._peers.node, told_of(self._table, node)
        own = self._statements.value(reach_key(node, here))
        return told if own is None else {**told, here: own}

    def quality(self, device: DeviceId) -> Quality:
        """Which of the reported values are to be relied on at present."""
        return self._quality(device, self.presence(device))

    def _quality(self, device: DeviceId, presence: Presence) -> Quality:
        said = self._table.values(device, Section.PRESENCE)
        return quality_of(presence, said.get(QUALITY), said.get(REFUSED))

    def judged_by(self, key: RegisterKey) -> Iterator[DeviceId]:
        """The twins whose values may be good or bad since this register changed."""
        if key.section is Section.REACH:
            for node in behind(self._table, key.device.name):
                yield from filter(self.exists, self._peers.held_by(node))
            return
        judges = key.section is Section.LIFECYCLE or (key.section is Section.PRESENCE and key.name in _OF_QUALITY)
        if judges and self.exists(key.device):
            yield key.device

    def _live(self, namespace: str) -> Iterator[DeviceId]:
        return (d for d in self._table.devices() if d.namespace == namespace and self.exists(d))

    def _matches(self, device: DeviceId, wanted: Filter) -> bool:
        tags = self._table.values(device, Section.TAGS)
        if any(tags.get(name) != value for name, value in wanted.labels.items()):
            return False
        if wanted.model is not None and self.model_ref(device) != wanted.model:
            return False
        return wanted.presence is None or self.presence(device).state == wanted.presence

    def _status(self, device: DeviceId, presence: Presence) -> dict[str, Value]:
        quality = self._quality(device, presence)
        status: dict[str, Value] = {
            "presence": presence.to_value(),
            "properties": {
                section.value: {
                    name: self._property(device, section, stored, quality)
                    for name, stored in sorted(self._table.section(device, section).items())
                    if stored.register.value is not None and presence.code != ELSEWHERE
                }
                for section in _SHOWN
            },
        }
        optional: dict[str, Value] = {
            "overrides": self.overrides(device) or None,
            "holder": self._peers.holder(device),
            "adapter": self._table.value(device, Section.PRESENCE, ADAPTER),
            "source": self._table.value(device, Section.PRESENCE, SOURCE),
            "refused": self._table.value(device, Section.PRESENCE, REFUSED),
            "quality": self._table.value(device, Section.PRESENCE, QUALITY),
        }
        status.update({name: value for name, value in optional.items() if value is not None})
        return status

    def _property(self, device: DeviceId, section: Section, stored: StoredRegister, quality: Quality) -> Value:
        register = stored.register
        view: dict[str, Value] = {"version": str(register.version), "time": register.time}
        if self.is_unvalidated(device, section, register.key.name):
            view["unvalidated"] = True
        if section is Section.REPORTED:
            view.update(described(quality.of(register.key.name)))
        if section is Section.DESIRED:
            view.update(terms_of(register.value).to_value())
            view.update(origin_of(register.value).to_value())
            ack = self.ack(device, register.key.name)
            if ack is not None:
                view["ack"] = ack.to_value()
        return view


def _name_of(document: dict[str, Value]) -> Value:
    metadata = document["metadata"]
    return metadata["name"] if isinstance(metadata, dict) else None


def _read_ack(value: Value) -> Ack | None:
    """None for one that makes no sense."""
    try:
        return Ack.from_value(value)
    except (ValueError, KeyError):
        return None


def _is_model_ref(text: str) -> bool:
    try:
        ModelRef.parse(text)
    except ValueError:
        return False
    return True
