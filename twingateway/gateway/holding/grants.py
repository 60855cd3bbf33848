"""The root's side of ownership: of those who claim a device the first is granted it, and an epoch fences the others.

The root judges each claim by one table (`Grants.judge`):

- a device nobody holds is granted; one that another node holds, or that was deleted, is refused;
- a holder that comes with another store than before (lost, or found rolled back) first gets back what it had told
  (`restore`), so that no finished write is done again; then it claims anew and is granted the next epoch;
- a claimant that has greater versions of the root's than the root (whose store was lost or rolled back) is asked for
  them, see `adoption`. Until they are adopted the root takes no writes for that device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from twingateway.errors import ProtocolViolation, StoreError, Unavailable
from twingateway.gateway.holding.adoption import Adoption
from twingateway.gateway.holding.claims import (
    HOLDER_SECTIONS,
    REFUSALS,
    Claim,
    Verdict,
    by_claimant,
    fields,
    given_back,
    lifecycle_key,
    mark_of,
    refuse,
    root_wrote,
)
from twingateway.gateway.holding.hearing import Claimants, Hearing
from twingateway.gateway.holding.histories import Histories, numbers_said
from twingateway.gateway.holding.restored import DECIDED, MOVED_IN, ONLY_MOVED, RESTORED
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import DOUBT, TENURE, granted_epoch, lifecycle_of
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.numbers import Numbers
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, StoredRegister, Version
from twingateway.twin.value import Value

log = structlog.get_logger("ownership")

#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0
#: Devices that may be reached through one child. A grant is kept for ever.
MOST_DEVICES = 100_000
#: Member of the lifecycle register of a device that was moved: its assignment counts for the version of the twin.
MOVED = "moved"


class Grants:
    """Judges claims and mints what follows from them. What it has to say goes to the peer through which the claimant
    is reached by then, since that may have come back by another way."""

    def __init__(
        self,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        numbers: Numbers,
        tasks: Tasks,
        locks: DeviceLocks,
    ) -> None:
        self._peers = peers
        self.histories = Histories(peers, table, ledger, numbers)
        self.adoption = Adoption(peers, table, ledger, self.histories, tasks, locks, self._judge_again)
        self.hearing = Hearing(locks, self._open, self._is_waited_for)
        self._table = table
        self._ledger = ledger
        self._tasks = tasks
        self._locks = locks
        self._undecided: dict[tuple[str, DeviceId], Claim] = {}
        self._deciding: asyncio.Task[None] | None = None
        self._refused: dict[DeviceId, Claim] = {}
        self._stores: dict[str, str] = {}
        """The store that each node claimed with last: what it claimed with another one before is void."""
        self._heard: set[DeviceId] = set()
        """Devices whose holder has been heard by this process, and knew nothing that the root does not."""
        ledger.watch(self._on_register, Section.LIFECYCLE)

    def is_certain(self, device: DeviceId) -> bool:
        """Whether this root is certain to have all of its own writes for the device."""
        return DOUBT not in lifecycle_of(self._table, device)

    def require_writable(self, device: DeviceId) -> None:
        """Raises Unavailable while it is not certain that this root has all of its own writes for the device."""
        if not self.is_certain(device):
            raise Unavailable(
                f"this root's store was restored from a backup, and the holder of {device.short}, "
                f"{self._peers.holder(device)}, has not been heard since; try again when it is connected"
            )

    def has_heard_holder(self, device: DeviceId) -> bool:
        """Whether this root, in this process, lacks nothing of its own writes that the device's holder knows."""
        is_heard = device in self._heard or self._peers.holder(device) in (None, self._peers.node)
        return is_heard and self.is_certain(device)

    async def claim(self, claims: list[Claim]) -> None:
        """The root's own devices; decided when it returns, unless the store refuses for now."""
        await self._decide_soon(claims)
        self._go_on()

    def on_claims(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._stores[claim.holder] = claim.store
            self._undecided[claim.holder, claim.device] = claim
        self._go_on()

    def _judge_again(self, claim: Claim) -> None:
        """A claim of before; what the claimant said since counts."""
        if self._stores.get(claim.holder, claim.store) == claim.store:
            self._undecided.setdefault((claim.holder, claim.device), claim)
            self._go_on()

    def require_few(self, claims: list[Claim], peer: Peer) -> None:
        """Raises ProtocolViolation if a child would hold more with these, or wait for more, than it may."""
        fresh = {claim.device for claim in claims if self._peers.holder(claim.device) is None}
        fresh.update(device for holder, device in self._undecided if holder in peer.below)
        fresh.update(self.adoption.asked_of(peer))
        held = sum(len(self._peers.held_by(node)) for node in peer.below)
        if fresh and held + len(fresh) > MOST_DEVICES:
            raise ProtocolViolation(f"{peer.name} claims more than {MOST_DEVICES} devices", 0x97)

    def on_root_registers(self, peer: Peer, body: Any) -> None:
        """The answer to `want-root`."""
        self.adoption.on_root_registers(peer, body)
        self.hearing.progressed()

    async def doubt(self, since: int) -> None:
        """This root's store was found rolled back; see `Adoption.doubt`. Raises StoreError."""
        self._heard.clear()
        await self.adoption.doubt(since)

    async def move(self, device: DeviceId, node: str, check: Callable[[], None]) -> None:
        """Reassign a device: its present holder is fenced, and `node` holds it as soon as it claims it. `check`
        raises if it is not to be done; nobody else writes in between. Raises StoreError."""
        async with self._locks.hold([device]):
            self.require_writable(device)
            check()
            current = self._table.get(lifecycle_key(device))
            known = {} if current is None else fields(current.register)
            epoch = 0 if current is None else granted_epoch(current.register)
            version = Version(1, 1, 0) if current is None else current.register.version
            value: dict[str, Value] = {**known, "state": "live", "holder": node, "store": "", "epoch": epoch + 1}
            value |= {MOVED: True, MOVED_IN: self._ledger.start}
            value |= {TENURE: epoch + 1} if known.get("holder") != node else {}
            if RESTORED in known:
                value.setdefault(DECIDED, ONLY_MOVED)
            await self._ledger.write([Draft(lifecycle_key(device), value)], version=version)

    def tell_again(self, device: DeviceId) -> None:
        """The device's holder is to have everything that the root wrote."""
        self._ledger.renumber(root_wrote(self._table, device))

    # --- judging -------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Decide what is undecided, one batch after the other and until the store takes the grants: of two claimants
        of one device the first is granted it, however slow or full the store is."""
        if self._undecided and self._deciding is None:
            self._deciding = self._tasks.start(self._decide_all(), "claims")

    def _open(self) -> Claimants:
        return {(device, holder) for holder, device in self._undecided}

    def _is_waited_for(self, claimed: Claimants) -> bool:
        return self._deciding is not None or self.adoption.waits_for(claimed)

    async def _decide_all(self) -> None:
        try:
            while self._undecided:
                batch, self._undecided = self._undecided, {}
                by_way: dict[str, list[Claim]] = {}
                for claim in batch.values():
                    peer = self._peers.via(claim.holder)
                    by_way.setdefault(claim.holder if peer is None else peer.name, []).append(claim)
                settled = [await self._decide_soon(claims) for claims in by_way.values()]
                if not all(settled):
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._deciding = None
            self.hearing.progressed()

    async def _decide_soon(self, claims: list[Claim]) -> bool:
        """False if the store refused the grants; they are undecided still."""
        try:
            async with self._locks.hold(claim.device for claim in claims):
                await self._decide(claims)
        except (StoreError, Unavailable) as error:
            log.warning("claims wait for the store", claims=len(claims), reason=error.message)
            for claim in claims:
                self._undecided.setdefault((claim.holder, claim.device), claim)
            return False
        return True

    async def _decide(self, claims: list[Claim]) -> None:
        by_verdict: dict[Verdict, dict[DeviceId, Claim]] = {verdict: {} for verdict in Verdict}
        for claim in claims:
            same = by_verdict[self._judge(claim)]
            if same.setdefault(claim.device, claim) is not claim:
                # Of another node below the same child: judged after this one.
                self._undecided.setdefault((claim.holder, claim.device), claim)
        granted = list(by_verdict[Verdict.GRANT].values())
        await self._grant(granted)
        fresh = [*granted, *by_verdict[Verdict.TELL].values()]
        late = [claim for claim in fresh if not self._was_all_given(claim)]
        for verdict in (Verdict.GRANT, Verdict.KNOWN, Verdict.TELL):
            self._heard.update(by_verdict[verdict])
        for device in by_verdict[Verdict.TELL]:
            self.tell_again(device)
        self._tell_what_was_said([*by_verdict[Verdict.KNOWN].values(), *by_verdict[Verdict.TELL].values()])
        for verdict in REFUSALS:
            for claim in by_verdict[verdict].values():
                self._refuse(claim, verdict)
        self.adoption.ask(list(by_verdict[Verdict.ADOPT].values()))
        self._give_back([*by_verdict[Verdict.RESTORE].values(), *late])

    def _judge(self, claim: Claim) -> Verdict:
        current = self._table.get(lifecycle_key(claim.device))
        value = {} if current is None else fields(current.register)
        if self.adoption.is_due(claim):
            return Verdict.ADOPT
        if current is None:
            return Verdict.GRANT
        if value.get("state") == "deleted":
            return Verdict.DELETED
        if value.get("holder") not in (None, claim.holder):
            return Verdict.HELD
        if value.get("holder") is None:
            return Verdict.GRANT
        if value.get("store") == claim.store and claim.epoch <= granted_epoch(current.register):
            return Verdict.TELL if claim.epoch < granted_epoch(current.register) else Verdict.KNOWN
        told = any(self._table.section(claim.device, section) for section in HOLDER_SECTIONS)
        has_it = claim.holder == self._peers.node or (claim.restored and self._was_all_given(claim))
        return Verdict.RESTORE if told and not has_it else Verdict.GRANT

    async def _grant(self, claims: list[Claim]) -> None:
        """Mint the lifecycle registers, those of one incarnation and epoch in one commit."""
        by_version: dict[Version, list[Draft]] = {}
        for claim in claims:
            current = self._table.get(lifecycle_key(claim.device))
            known = Version(1, 1, 0) if current is None else current.register.version
            draft = Draft(lifecycle_key(claim.device), self._granted(claim, current))
            by_version.setdefault(Version(known.incarnation, known.epoch, 0), []).append(draft)
        for version, drafts in by_version.items():
            entering = [
                each for draft in drafts for each in root_wrote(self._table, draft.key.device, but=(draft.key,))
            ]
            await self._ledger.write(drafts, version=version, again=entering)

    def _was_all_given(self, claim: Claim) -> bool:
        """Nothing came since that the former store had said: a frame can be late."""
        return claim.given == mark_of(self._table, claim.device)

    def _granted(self, claim: Claim, current: StoredRegister | None) -> dict[str, Value]:
        known = {} if current is None else fields(current.register)
        before = 0 if current is None else granted_epoch(current.register)
        epoch = max(before, claim.epoch) + 1
        return {**known, "state": "live", "holder": claim.holder, "store": claim.store, "epoch": epoch}

    def _refuse(self, claim: Claim, verdict: Verdict) -> None:
        holder, peer = self._peers.holder(claim.device), self._peers.via(claim.holder)
        reason = REFUSALS[verdict].format(device=claim.device, holder=holder, claimant=claim.holder)
        self._ledger.notice("claim-refused", reason, claim.device, node=claim.holder)
        self._refused[claim.device] = claim
        if peer is not None:
            current = self._table.get(lifecycle_key(claim.device))
            refuse(peer, claim, reason, None if current is None else current.register.version)
            if current is not None and claim.is_of_former_holder:
                self._peers.tell(peer, [current])

    def _give_back(self, claims: list[Claim]) -> None:
        for _, line, holder, of_one in by_claimant(self._peers, claims):
            marks = {claim.device.name: mark_of(self._table, claim.device) for claim in of_one}
            for batch in wire.batches((c.device, given_back(self._table, c.device)) for c in of_one):
                given = {name: marks[name] for name in batch}
                line.send_control("restore", {"node": holder, "devices": batch, "given": given})

    def _tell_what_was_said(self, claims: list[Claim]) -> None:
        """To a holder that comes with the store that it was granted its devices with: numbers that it must know to
        have issued, unless that store is an older copy of itself."""
        for _, line, holder, of_one in by_claimant(self._peers, claims):
            numbers = numbers_said(self._table, self._ledger, of_one)
            if numbers:
                line.send_control("said", {"node": holder, "store": of_one[0].store, "numbers": numbers})

    def _on_register(self, stored: StoredRegister) -> None:
        """A device became free, or was moved: a claim that was refused may be granted now."""
        device = stored.register.key.device
        if stored.register.key != lifecycle_key(device) or device not in self._refused:
            return
        value, claim = fields(stored.register), self._refused[device]
        if value.get("state") == "live" and value.get("holder") in (None, claim.holder):
            del self._refused[device]
            self._judge_again(claim)
