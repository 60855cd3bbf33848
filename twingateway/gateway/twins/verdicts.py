"""The root's side of local overrides: each is judged once, and what became of it is kept as state.

What is judged is the override's *register*, not its journal entry. The entry is the record of what happened; but an
entry may be given up when its queue is full, and is not sent again to a root whose store was put back to an older
copy. A register is: so no override can stay unjudged, and the id in the verdict makes that each is judged once. The
verdict, what it makes of the desired value, and the event that names the loser are one transaction.

An override is judged only while its holder is there and was met since: a root that was restored from a backup finds
that out when it meets its children, and must not judge by what it no longer knows.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import structlog

from twingateway.errors import (
    InvalidValue,
    NotFound,
    NotRoot,
    StoreError,
    TooLarge,
    Unavailable,
    UnknownTwin,
    VersionMismatch,
)
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.holding.claims import greatest_of_root
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.repair import Repair
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.journal import Journal
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.overridden import override_of, verdict_of
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.commands import ANY, require_name
from twingateway.gateway.twins.queries import Queries
from twingateway.twin.conflict import Judgement, Outcome, Verdict, decide, judge
from twingateway.twin.desired import PLAIN, Desired, Origin, origin_of, plain, terms_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value
from twingateway.validation.explain import shown as in_words
from twingateway.validation.model import Direction
from twingateway.validation.normalise import normalise

log = structlog.get_logger("override")

#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0
#: Characters that an event shows of a value for which it has no room.
SHOWN = 4000

#: Codes of events.
CONFLICT, CONFLICT_OPEN, REFUSED = "conflict", "conflict-open", "override-refused"


class Verdicts:
    """`grants` is None at a node that is not the root: it judges nothing."""

    def __init__(
        self,
        grants: Grants | None,
        repair: Repair,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        models: ModelBook,
        queries: Queries,
        wishes: Wishes,
        locks: DeviceLocks,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.conflicts = 0
        """Overrides that were found at odds with the cloud's value since the start."""
        self._grants = grants
        self._repair = repair
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._models = models
        self._queries = queries
        self._wishes = wishes
        self._locks = locks
        self._journal = journal
        self._clock = clock
        self._unjudged: set[tuple[DeviceId, str]] = set()
        self._more = asyncio.Event()
        if grants is not None:
            ledger.watch(self._on_register, Section.OVERRIDE, Section.LIFECYCLE)
            models.watch(self._on_model)

    async def run(self) -> None:
        """Judge what comes."""
        while True:
            await self._more.wait()
            self._more.clear()
            unjudged, self._unjudged = self._unjudged, set()
            refused = {each for each in sorted(unjudged) if not await self._try_to_judge(*each)}
            if refused:
                await asyncio.sleep(RETRY_SECONDS)
                self._unjudged |= refused
                self._more.set()

    def met(self, child: Peer) -> None:
        """A child has introduced itself: what it, or a node below it, overrode can be judged."""
        for node in list(child.below):
            for device in list(self._peers.held_by(node)):
                self._consider(device)

    async def resolve(
        self, device: DeviceId, name: str, *, edge: bool, actor: str, if_match: Version | OverrideId | None = None
    ) -> Verdict:
        """A person decides an open conflict, for the override (`edge`) or for the cloud's value. `if_match`: the
        override, or the twin's version, that was decided on. Raises UnknownTwin, NotFound, VersionMismatch, NotRoot,
        Unavailable, StoreError; then nothing changed."""
        if self._grants is None:
            root = self._peers.root_name
            where = f"the root, {root}" if root else "the root"
            raise NotRoot(f"conflicts are decided at {where}; this node is {self._peers.node}", root=root)
        if not self._queries.exists(device):
            raise UnknownTwin(f"there is no twin {device.short}")
        self._grants.require_writable(device)
        async with self._locks.hold([device]):
            override, desired = override_of(self._table, device, name), self._desired(device, name)
            verdict, _ = verdict_of(self._table, device, name)
            judgement = None if override is None else decide(override, desired, verdict, edge=edge)
            if override is None or judgement is None:
                raise NotFound(f"{name} of {device.short} has no conflict that waits for a decision")
            if if_match not in (None, ANY, override.id, self._queries.version(device)):
                message = f"{name} of {device.short} is overridden by {override.id} now; {if_match} is neither that"
                message += " nor the version of the twin"
                raise VersionMismatch(f"{message}; read it again and decide anew", current=str(override.id))
            return await self._pronounce(device, name, override, desired, judgement, actor)

    async def _try_to_judge(self, device: DeviceId, name: str) -> bool:
        """False if it is to be tried again soon: the store refused, or is being repaired."""
        try:
            async with self._locks.hold([device]):
                if self._repair.running:
                    return False
                override, desired = override_of(self._table, device, name), self._desired(device, name)
                if override is not None and self._can_judge(device):
                    if self._may_lack(device, override):
                        return False
                    verdict, judged = verdict_of(self._table, device, name)
                    judgement = judge(override, desired, verdict, judged, self._wishes.policy(device, name))
                    fault = self._fault(device, name, override)
                    if judgement is not None and fault is not None:
                        await self._refuse(device, name, override, desired, fault)
                    elif judgement is not None:
                        await self._pronounce(device, name, override, desired, judgement, "")
        except (StoreError, Unavailable) as error:
            log.warning("a verdict waits for the store", device=str(device), property=name, reason=error.message)
            return False
        except Exception:
            log.exception("an override could not be judged", device=str(device), property=name)
        return True

    def _may_lack(self, device: DeviceId, override: Override) -> bool:
        """Whether what it was based on may come yet: who is linked is heard soon, and then that is lost."""
        is_known = override.base <= greatest_of_root(self._table, device)
        return not is_known and self._grants is not None and not self._grants.has_heard_holder(device)

    def _can_judge(self, device: DeviceId) -> bool:
        """Whether everything is known that counts; whatever is missing brings the override here again when it comes:
        the model, the registers that a restored root is given back, the holder."""
        if not self._queries.exists(device) or self._grants is None or not self._grants.is_certain(device):
            return False
        ref = self._queries.model_ref(device)
        if ref is not None and self._models.find(device.namespace, ref) is None:
            return False
        holder = self._peers.holder(device)
        peer = self._peers.via(str(holder))
        met = peer is not None and any(peer.session.met(line.number) for line in peer.lines)
        return met or holder == self._peers.node

    async def _pronounce(
        self,
        device: DeviceId,
        name: str,
        override: Override,
        desired: Register | None,
        judgement: Judgement,
        by: str,
    ) -> Verdict:
        verdict = judgement.verdict(override, self._clock.wall_ms(), by)
        # The verdict first: what it makes of the desired value has the greater version.
        drafts = [Draft(RegisterKey(device, Section.VERDICT, name), _fitting(verdict))]
        if judgement.changes:
            drafts.append(Draft(RegisterKey(device, Section.DESIRED, name), _desired_value(override, judgement)))
        if judgement.conflict:
            code = CONFLICT_OPEN if judgement.outcome is Outcome.OPEN else CONFLICT
            message, detail = self._told(device, name, override, desired, judgement.outcome, by)
            await self._write(drafts, device, code, message, detail)
            self.conflicts += 0 if by else 1
        else:
            await self._ledger.write(drafts)
        return verdict

    async def _write(
        self, drafts: list[Draft], device: DeviceId, code: str, message: str, detail: dict[str, Value]
    ) -> None:
        """Registers and an event, in one transaction."""
        filing = self._journal.event(code, message, device, detail)
        await self._ledger.write(drafts, journal=[filing])
        self._journal.committed(filing)
        self._ledger.tell(code, message, device, filing.entry.time, detail)

    def _fault(self, device: DeviceId, name: str, override: Override) -> str | None:
        """What is wrong with a value that its node should not have taken; None if nothing is."""
        ref = self._queries.model_ref(device)
        compiled = None if ref is None or override.withdrawn is not None else self._models.find(device.namespace, ref)
        try:
            require_name(name, "")
            if compiled is not None:
                compiled.check(name, override.value, direction=Direction.DOWN)
        except (InvalidValue, TooLarge) as error:
            return error.message
        return None

    async def _refuse(
        self, device: DeviceId, name: str, override: Override, desired: Register | None, fault: str
    ) -> None:
        stands = ZERO if desired is None else desired.version
        verdict = Verdict(override.id, Outcome.LOST, self._clock.wall_ms(), stands=stands, said=override.said)
        detail: dict[str, Value] = {
            "property": name,
            "id": str(override.id),
            "actor": override.actor,
            "value": _shown(override.value),
        }
        draft = Draft(RegisterKey(device, Section.VERDICT, name), verdict.to_value())
        await self._write([draft], device, REFUSED, f"the local value of {name} was refused: {fault}", detail)

    def _told(
        self, device: DeviceId, name: str, override: Override, desired: Register | None, outcome: Outcome, by: str
    ) -> tuple[str, dict[str, Value]]:
        """What an event says of a conflict: both values, and both actors."""
        held = None if desired is None else desired.value
        cloud_actor, edge_actor = origin_of(held).actor, override.actor
        cloud: dict[str, Value] = {
            "value": _shown(plain(held)),
            "version": str(desired.version) if desired is not None else "",
            "actor": cloud_actor,
            "time": 0 if desired is None else desired.time,
        }
        edge: dict[str, Value] = {
            "value": _shown(override.value),
            "id": str(override.id),
            "actor": edge_actor,
            "node": override.node,
            "time": override.time,
        }
        winner = {Outcome.ACCEPTED: "edge", Outcome.LOST: "cloud"}.get(outcome)
        detail: dict[str, Value] = {
            "property": name,
            "policy": self._wishes.policy(device, name).value,
            "winner": winner,
            "cloud": cloud,
            "edge": edge,
        }
        if by:
            detail["by"] = by
        ending = f"{winner} wins{f', decided{_by(by)}' if by else ''}" if winner else "a person is to decide"
        at_cloud = f"{in_words(plain(held))} at the cloud{_by(cloud_actor)}"
        at_edge = f"{in_words(override.value)} at {override.node}{_by(edge_actor)}"
        message = f"{name} was set to {at_cloud} and to {at_edge}: {ending}"
        return message, detail

    def _desired(self, device: DeviceId, name: str) -> Register | None:
        stored = self._table.get(RegisterKey(device, Section.DESIRED, name))
        return None if stored is None else stored.register

    def _on_register(self, stored: StoredRegister) -> None:
        key = stored.register.key
        if key.section is Section.OVERRIDE:
            self._unjudged.add((key.device, key.name))
            self._more.set()
        elif key.section is Section.LIFECYCLE:
            self._consider(key.device)

    def _on_model(self, namespace: str, ref: str) -> None:
        for device in self._table.devices():
            if device.namespace == namespace and self._queries.model_ref(device) == ref:
                self._consider(device)

    def _consider(self, device: DeviceId) -> None:
        names = self._table.section(device, Section.OVERRIDE)
        if names:
            self._unjudged.update((device, name) for name in names)
            self._more.set()


def _desired_value(override: Override, judgement: Judgement) -> Value:
    """What the desired register is to hold; what stood before a line comes back marked as of it."""
    origin = Origin(override.actor, str(override.id))
    if judgement.outcome is Outcome.ACCEPTED:
        return Desired(override.value, PLAIN, origin).to_value()
    before = judgement.before
    if before is None:
        return None
    former = replace(origin_of(before), override=origin.override)
    return Desired(plain(before), terms_of(before), former).to_value()


def _fitting(verdict: Verdict) -> Value:
    """Its register's value; what stood before is left out if there is no room for it."""
    try:
        return normalise(verdict.to_value())
    except TooLarge:
        return replace(verdict, before=None).to_value()


def _shown(value: Value) -> Value:
    """A value for an event, or as much of its text as there is room for."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _by(actor: str) -> str:
    return f" by {actor}" if actor else ""
