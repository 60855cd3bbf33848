"""Writing: what clients may change, at the root only.

Every write is checked whole, then minted and committed whole; `If-Match` is judged under a lock per twin, so that of
two writers with the same version one is told. What it compares is the version of everything that clients may write
of a twin, desired properties and labels alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twingateway.errors import InvalidDocument, InvalidValue, NotRoot, Problem, ReadOnlyPath, VersionMismatch
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook, read_model
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.restored import MADE_IN
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.peering.reach import NODES
from twingateway.gateway.state.events import EventBus
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.queries import Queries
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import NOWHERE, PLAIN, Desired, Origin, Terms, terms_of
from twingateway.twin.document import TwinDocument, parse_twin
from twingateway.twin.equality import same
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.patch import section_patch
from twingateway.twin.register import ZERO, RegisterKey, Section, Version
from twingateway.twin.value import Value
from twingateway.validation.documents import check_twin
from twingateway.validation.model import Direction
from twingateway.validation.normalise import normalise

#: Paths of a DeviceTwin that a patch may touch, and the section each is.
_WRITABLE: dict[tuple[str, str], Section] = {
    ("spec", "desiredProperties"): Section.DESIRED,
    ("metadata", "labels"): Section.TAGS,
}
_PATHS = {section: ".".join(path) for path, section in _WRITABLE.items()}
#: Characters that the name of a property or label may have, as in the schema of a DeviceTwin.
MAX_NAME = 128
#: As `if_match`: any version, of a twin that exists. No twin has this one.
ANY = ZERO
#: What there is for desired values at a node that is not the root.
_OVERRIDE = (
    ". To set a desired value without the root, override it at the node that holds the device: "
    "twingateway override, or PUT /twins/NAME/overrides/PROPERTY"
)


@dataclass(frozen=True, slots=True)
class Written:
    """`desired`: the version of each desired property that the write changed. `warnings`: for people."""

    desired: Mapping[str, Version]
    created: bool = False
    warnings: tuple[str, ...] = ()


class Commands:
    def __init__(
        self,
        root: bool,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        models: ModelBook,
        queries: Queries,
        events: EventBus,
        grants: Grants | None,
        locks: DeviceLocks,
        lifetimes: Lifetimes,
    ) -> None:
        self._root = root
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._models = models
        self._queries = queries
        self._events = events
        self._grants = grants
        self._locks = locks
        self._lifetimes = lifetimes

    async def patch(
        self,
        device: DeviceId,
        patch: Value,
        if_match: Version | None = None,
        terms: Terms = PLAIN,
        origin: Origin = NOWHERE,
    ) -> Written:
        """RFC 7396 on the DeviceTwin document. `terms`: of the desired properties that it names. `origin`: who sets
        them. Raises UnknownTwin,
        ReadOnlyPath, VersionMismatch, InvalidValue, InvalidDocument, NotRoot, StoreError; then nothing changed."""
        self._require_root(_OVERRIDE)
        parts = _split(patch)
        async with self._locks.hold([device]):
            self._require_certain(device)
            self._queries.desired(device)
            self._compare(device, if_match)
            drafts = [
                _draft(device, section, name, value, terms, origin)
                for section, part in parts.items()
                for name, value in self._changes(device, section, part, terms).items()
            ]
            return Written(await self._write(drafts))

    async def put(
        self,
        document: Any,
        namespace: str,
        if_match: Version | None = None,
        terms: Terms = PLAIN,
        origin: Origin = NOWHERE,
    ) -> Written:
        """Create a twin, or make its desired properties and labels exactly those of the document. With `if_match`
        nothing is created. Stated `terms` are those of every desired property in it; without, one that has its value
        already keeps what it has. Raises InvalidDocument, InvalidValue, VersionMismatch, NotRoot, StoreError."""
        self._require_root(_OVERRIDE)
        report = check_twin(document)
        if report.problems:
            raise InvalidDocument("this is not a valid DeviceTwin", report.problems)
        twin = parse_twin(document, namespace)
        warnings = tuple(str(warning) for warning in report.warnings)
        if twin.reported:
            warnings += ("reportedProperties were ignored: only the device itself reports",)
        async with self._locks.hold([twin.id]):
            self._require_certain(twin.id)
            self._compare(twin.id, if_match)
            if not self._queries.exists(twin.id):
                return Written(await self._create(twin, terms, origin), True, warnings)
            known = self._queries.model_ref(twin.id)
            if twin.model is not None and str(twin.model) != known:
                warnings += (f"the model stays {known or 'none'}: only a device that is created anew takes another",)
            drafts = [
                _draft(twin.id, section, name, value, terms, origin)
                for section, values in _stated(twin).items()
                for name, value in self._replacement(twin.id, section, values, terms).items()
            ]
            return Written(await self._write(drafts), False, warnings)

    async def delete(self, device: DeviceId, if_match: Version | None = None) -> None:
        """Delete a twin. Its incarnation ends: nothing that still travels under it will be taken again. Raises
        UnknownTwin, VersionMismatch, NotRoot, StoreError."""
        self._require_root()
        async with self._locks.hold([device]):
            self._require_certain(device)
            self._queries.desired(device)
            self._compare(device, if_match)
            current = self._table.get(lifecycle_key(device))
            value: dict[str, Value] = {"state": "deleted", "holder": self._peers.holder(device)}
            if current is not None:
                value["epoch"] = granted_epoch(current.register)
            value |= self._decided(device)
            gone = [
                Draft(stored.register.key, None)
                for stored in self._table.sections(device, (Section.DESIRED, Section.TAGS))
                if stored.register.value is not None
            ]
            await self._ledger.write([*gone, Draft(lifecycle_key(device), value)])

    async def put_model(self, namespace: str, document: Any, if_match: str | None = None) -> tuple[Model, bool]:
        """Store a model; False when it was here already. `if_match`: the digest that it must have here, or `*` for
        any. Raises InvalidDocument, ModelConflict, VersionMismatch."""
        model = read_model(document)
        known = self._models.find(namespace, str(model.ref))  # a model is never removed, nor changed but by the root
        current = None if known is None else known.model.digest
        if if_match is not None and (current is None or if_match not in ("*", current)):
            message = f"the model {model.ref} is {current or 'not here'}, not {if_match}"
            raise VersionMismatch(message, current=current)
        return model, await self._models.add(namespace, model)

    async def settled(self, device: DeviceId, versions: Mapping[str, Version], timeout: float) -> dict[str, Ack]:
        """Wait until the acks of these desired versions are settled, at most `timeout` seconds; the acks as they
        are then. One whose desired value was replaced is `superseded`."""

        def settled() -> bool:
            return all(ack.settled for ack in self._acks(device, versions).values())

        await self._events.until(device, settled, timeout)
        return self._acks(device, versions)

    def _acks(self, device: DeviceId, versions: Mapping[str, Version]) -> dict[str, Ack]:
        return {name: self._queries.ack_of(device, name, version) for name, version in versions.items()}

    async def move(self, device: DeviceId, node: str, if_match: Version | None = None) -> None:
        """Reassign a device to another node: the present holder is fenced, `node` holds it once it claims it. Raises
        UnknownTwin, VersionMismatch, NotRoot, Unavailable, StoreError."""
        self._require_root()
        self._require_certain(device)

        def check() -> None:
            self._queries.desired(device)
            self._compare(device, if_match)

        if self._grants is not None:
            await self._grants.move(device, node, check)

    def _decided(self, device: DeviceId) -> dict[str, Value]:
        return {} if self._grants is None else self._grants.adoption.decided(device)

    def _require_certain(self, device: DeviceId) -> None:
        if self._grants is not None:
            self._grants.require_writable(device)

    def _require_root(self, instead: str = "") -> None:
        """Raises NotRoot, which ends with what may be done `instead`."""
        if not self._root:
            root = self._peers.root_name
            where = f"the root, {root}" if root else "the root"
            message = (
                f"twins are changed at {where}; this node, {self._peers.node}, is not it. "
                "Ask the root's API (twingateway … --api URL)"
            )
            raise NotRoot(f"{message}{instead}", root=root)

    def _compare(self, device: DeviceId, if_match: Version | None) -> None:
        if if_match is None:
            return
        current = self._queries.version(device)
        if current == ZERO:
            raise VersionMismatch(f"there is no twin {device.short}, so there is no version to match", current=None)
        if if_match not in (ANY, current):
            message = f"the version of {device.short} is {current}, not {if_match}; read it again and decide anew"
            raise VersionMismatch(message, current=str(current))

    def _changes(
        self, device: DeviceId, section: Section, patch: Mapping[str, Value], terms: Terms
    ) -> dict[str, Value]:
        current = self._table.values(device, section)
        changes = section_patch(current, patch)
        if section is Section.DESIRED:  # a value with terms, or of no effect, is wanted anew by whoever names it
            named = [name for name, value in patch.items() if value is not None and name not in changes]
            anew = [
                name
                for name in named
                if terms
                or terms_of(self._table.value(device, section, name))
                or self._is_void(device, name, current[name])
            ]
            changes.update({name: current[name] for name in anew})
        ref = self._queries.model_ref(device)
        return {name: self._checked(device, ref, section, name, value) for name, value in changes.items()}

    def _is_void(self, device: DeviceId, name: str, value: Value) -> bool:
        """Whether a desired value came to an end and is not what the device has, as far as is known here: it failed,
        or the device, which had it, shows another value since (it lost power, or somebody stood before it)."""
        ack = self._queries.ack(device, name)
        if ack is None or ack.state is not AckState.APPLIED:
            return ack is not None and ack.state in (AckState.FAILED, AckState.REJECTED)
        had = value if ack.observed is None else ack.observed
        shown = self._table.value(device, Section.REPORTED, name)
        return shown is not None and not same(shown, had)

    def _replacement(
        self, device: DeviceId, section: Section, wanted: Mapping[str, Value], terms: Terms
    ) -> dict[str, Value]:
        current = self._table.values(device, section)
        changes: dict[str, Value] = {name: None for name in current if name not in wanted}
        anew = section is Section.DESIRED and bool(terms)
        changes.update({n: v for n, v in wanted.items() if anew or not same(current.get(n), v)})
        ref = self._queries.model_ref(device)
        return {name: self._checked(device, ref, section, name, value) for name, value in changes.items()}

    def _checked(self, device: DeviceId, ref: str | None, section: Section, name: str, value: Value) -> Value:
        if value is None:
            return None
        require_name(name, _PATHS[section])
        if section is Section.TAGS:
            if not isinstance(value, str):
                problem = Problem(f"a label is a string, not {value!r}", f"metadata.labels.{name}", "type")
                raise InvalidValue(problem)
            return value
        compiled = None if ref is None else self._models.find(device.namespace, ref)
        if compiled is None:
            return normalise(value, name)
        return compiled.check(name, value, direction=Direction.DOWN)

    async def _create(self, twin: TwinDocument, terms: Terms, origin: Origin) -> dict[str, Version]:
        """A new incarnation, with no holder until a node claims it; all of it in one commit."""
        device, model = twin.id, None if twin.model is None else str(twin.model)
        if device.namespace == NODES:
            problem = Problem(f"the namespace {NODES!r} is reserved", "metadata.namespace", "reserved")
            raise InvalidValue(problem)
        drafts = [
            _draft(device, section, name, self._checked(device, model, section, name, value), terms, origin)
            for section, values in _stated(twin).items()
            for name, value in values.items()
        ]
        current = self._table.get(lifecycle_key(device))
        version = Version(1, 1, 0)
        if current is not None:
            version = Version(current.register.version.incarnation + 1, current.register.version.epoch, 0)
        value: dict[str, Value] = {"state": "live", "epoch": 0, MADE_IN: self._ledger.start, **self._decided(device)}
        if model is not None:
            value["model"] = model
        return await self._write([Draft(lifecycle_key(device), value), *drafts], version)

    async def _write(self, drafts: list[Draft], version: Version | None = None) -> dict[str, Version]:
        since, replaced = self._lifetimes.now(), self._unfinished(drafts)
        minted = await self._ledger.write(drafts, version=version) if drafts else []
        for stored in minted:
            ttl = terms_of(stored.register.value).ttl if stored.register.key.section is Section.DESIRED else None
            if ttl is not None:
                self._lifetimes.begin(stored.register.key, stored.register.version, ttl, since)
        self._tell_superseded(replaced)
        return {
            stored.register.key.name: stored.register.version
            for stored in minted
            if stored.register.key.section is Section.DESIRED and stored.register.value is not None
        }

    def _unfinished(self, drafts: list[Draft]) -> dict[RegisterKey, Ack]:
        """Of the desired values that these replace, those of which the holder has not said what became of them."""
        desired = (draft.key for draft in drafts if draft.key.section is Section.DESIRED)
        acks = ((key, self._queries.ack(key.device, key.name)) for key in desired)
        return {key: ack for key, ack in acks if ack is not None and not ack.settled}

    def _tell_superseded(self, replaced: Mapping[RegisterKey, Ack]) -> None:
        for key, ack in replaced.items():
            message = f"{key.name}, version {ack.version}, was replaced while it was {ack.state.value}"
            detail: dict[str, Value] = {"version": str(ack.version), "state": ack.state.value}
            self._ledger.notice("desired-superseded", message, key.device, property=key.name, **detail)


def require_name(name: str, path: str) -> None:
    """Raises InvalidValue for one that no property or label can have. `path`: of what holds it."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        rule = f"a name has 1 to {MAX_NAME} characters that can be shown"
        raise InvalidValue(Problem(f"{name[:MAX_NAME]!r}: {rule}", path, "propertyNames"))


def _draft(device: DeviceId, section: Section, name: str, value: Value, terms: Terms, origin: Origin) -> Draft:
    """Raises InvalidValue or TooLarge for a value that has no room for its terms."""
    held = value
    if section is Section.DESIRED and value is not None:
        held = Desired(value, terms, origin).to_value()
    return Draft(RegisterKey(device, section, name), value if held is value else normalise(held, name))


def _stated(twin: TwinDocument) -> dict[Section, dict[str, Value]]:
    """What a document states of what clients may state."""
    return {Section.DESIRED: twin.desired, Section.TAGS: dict[str, Value](twin.labels)}


def _split(patch: Value) -> dict[Section, dict[str, Value]]:
    """The patch by section. Raises ReadOnlyPath for anything else it touches."""
    if not isinstance(patch, dict):
        raise InvalidDocument("a merge patch of a twin is an object", [Problem("expected an object", "", "type")])
    parts: dict[Section, dict[str, Value]] = {}
    for outer, members in patch.items():
        if outer in ("apiVersion", "kind"):
            continue
        if not isinstance(members, dict):
            raise _read_only(outer)
        for inner, properties in members.items():
            section = _WRITABLE.get((outer, inner))
            if section is None or not isinstance(properties, dict):
                raise _read_only(f"{outer}.{inner}")
            parts[section] = properties
    return parts


def _read_only(path: str) -> ReadOnlyPath:
    allowed = " and ".join(".".join(path) for path in _WRITABLE)
    return ReadOnlyPath(f"{path} cannot be patched; {allowed} can", path=path)
