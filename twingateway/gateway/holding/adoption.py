"""A root that lost registers of its own takes them back from those who know them.

Its store was lost, or put back to an older copy. A claimant that may know more than the root is asked (`want-root`);
what it has is adopted under a new epoch, above all that was ever written, and its claim is judged anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from twingateway.errors import ProtocolViolation, StoreError, Unavailable
from twingateway.gateway.holding.claims import (
    ROOT_SECTIONS,
    Claim,
    by_claimant,
    fields,
    greatest_of_root,
    lifecycle_key,
    root_wrote,
)
from twingateway.gateway.holding.hearing import Claimants
from twingateway.gateway.holding.histories import Histories
from twingateway.gateway.holding.restored import DECIDED, MADE, ONLY_MOVED, RESTORED, Restored
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import DOUBT, TENURE, lifecycle_of
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import ZERO, Register, RegisterKey, Version
from twingateway.twin.value import Value

log = structlog.get_logger("ownership")

#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0


class Adoption:
    """`judge_again` is told of claims whose claimant has answered."""

    def __init__(
        self,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        histories: Histories,
        tasks: Tasks,
        locks: DeviceLocks,
        judge_again: Callable[[Claim], None],
    ) -> None:
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._histories = histories
        self._tasks = tasks
        self._locks = locks
        self._judge_again = judge_again
        self._asked: dict[tuple[DeviceId, str], tuple[Claim, Peer]] = {}
        """Claims that wait for registers of the root's, which the claimant was asked for."""
        self._answered: dict[tuple[DeviceId, str], Version] = {}
        """How much of the root's each claimant that was asked had, so that nobody is asked for the same twice."""

    def is_due(self, claim: Claim) -> bool:
        """Whether the claimant may know more of the root's registers than the root."""
        value = lifecycle_of(self._table, claim.device)
        is_holder, in_doubt = value.get("holder") in (None, claim.holder), DOUBT in value
        greatest, restored = greatest_of_root(self._table, claim.device), Restored.of(value)
        answered = self._answered.get((claim.device, claim.holder), ZERO)
        knows_more = any(version > greatest for version in claim.of_root)
        news = [] if restored is None else [v for v in claim.of_root if v > answered and restored.is_news(v)]
        is_news = restored is not None and (knows_more or bool(news))
        return (is_holder and (in_doubt or knows_more)) or is_news

    def ask(self, claims: list[Claim]) -> None:
        for peer, line, holder, of_one in by_claimant(self._peers, claims):
            self._asked.update(((claim.device, holder), (claim, peer)) for claim in of_one)
            log.warning("asking a holder for this root's own registers", node=holder, devices=len(of_one))
            line.send_control("want-root", {"node": holder, "devices": [claim.device.name for claim in of_one]})

    def asked_of(self, peer: Peer) -> set[DeviceId]:
        """Devices of which it is still to say what it knows."""
        return {device for (device, _), (_, asked) in self._asked.items() if asked is peer}

    def waits_for(self, claimed: Claimants) -> bool:
        """Whether any of these claimants is still to say what it knows."""
        return not claimed.isdisjoint(self._asked)

    def on_root_registers(self, peer: Peer, body: Any) -> None:
        """The answer to `want-root`."""
        node = str(body.get("node"))
        for device, registers in wire.parse_devices(peer.namespace, body).items():
            if any(register.key.section not in ROOT_SECTIONS for register in registers):
                raise ProtocolViolation("root-registers of sections that the root does not write")
            claim, asked = self._asked.pop((device, node), (None, None))
            if claim is None or asked is None or asked.name != peer.name:
                if (device, node) in self._answered:
                    continue  # who claims twice in quick succession is asked twice
                raise ProtocolViolation(f"root-registers of {device}, which nobody asked for")
            self._answered[device, node] = max((register.version for register in registers), default=ZERO)
            self._tasks.start(self._adopt(claim, registers, peer), f"adopting {device}")

    async def doubt(self, since: int) -> None:
        """This root's store was found rolled back: nothing is certain about held devices until their holders were
        asked. `since`: the last seq from before the restore; what was written after it must not lose. The doubt is
        part of the lifecycle register, so that it outlives a crash. Raises StoreError."""
        self._answered.clear()
        async with self._locks.hold(self._table.devices()):
            await self._doubt_all(since)

    async def _doubt_all(self, since: int) -> None:
        by_version: dict[Version, list[Draft]] = {}
        for device in list(self._table.devices()):
            current = self._table.get(lifecycle_key(device))
            if current is None or self._peers.holder(device) == self._peers.node:
                continue
            if not self._histories.is_doubtful(current.register):
                draft = Draft(lifecycle_key(device), self._histories.doubtful(current, since))
                by_version.setdefault(current.register.version._replace(seq=0), []).append(draft)
        for version, drafts in by_version.items():
            await self._ledger.write(drafts, version=version, vital=True)
        self._histories.is_known = True

    def decided(self, device: DeviceId) -> dict[str, Value]:
        """What the lifecycle register of a device that is created or deleted now has to keep of the one before."""
        restored = lifecycle_of(self._table, device).get(RESTORED)
        return {} if restored is None else {RESTORED: restored, DECIDED: MADE}

    async def _adopt(self, claim: Claim, registers: list[Register], peer: Peer) -> None:
        """Take the root's registers back from a claimant, begin an epoch above all of them, judge the claim anew."""
        device = claim.device
        async with self._locks.hold([device]):
            until = self._histories.known_until(device, registers)
            before = self._histories.known_before(device, until)
            newest = {register.key: register for register in sorted(registers, key=lambda each: each.version)}
            kept = self._histories.written_since(device, until, newest)
            if DOUBT not in before and not self._is_news(claim, before, registers):
                self._judge_again(replace(claim, root=ZERO, known=ZERO))
                return
            self._ledger.apply(newest.values(), origin=peer.name, then=lambda: None)
            while not await self._begin_epoch(claim, before, kept, registers):
                await asyncio.sleep(RETRY_SECONDS)
        log.info("adopted", device=str(device), node=claim.holder, registers=len(registers), kept=len(kept))
        self._judge_again(replace(claim, root=ZERO, known=ZERO))

    def _is_news(self, claim: Claim, before: dict[str, Value], registers: list[Register]) -> bool:
        """Whether anything of this is not known. Who was given a device made since the restore, and has nothing that
        is newer, has nothing of the lost history: the device stays."""
        if any(self._ledger.is_newer(register) for register in registers):
            return True
        is_its = (before.get("holder"), before.get("store")) == (claim.holder, claim.store)
        was_made = is_its and before.get(DECIDED) == MADE
        return not was_made and self._adopted(claim.device, before, registers) != before

    async def _begin_epoch(
        self, claim: Claim, before: dict[str, Value], kept: dict[RegisterKey, Draft], registers: list[Register]
    ) -> bool:
        """`before`: the lifecycle as it was before these registers were adopted. False if the store refused."""
        device, known = claim.device, greatest_of_root(self._table, claim.device)
        adopted, incarnation, drafts = self._adopted(device, before, registers), known.incarnation, kept
        if not adopted:
            return True
        decided = before.get(DECIDED)
        is_of_former = decided == MADE and all(each.version.incarnation < incarnation for each in registers)
        if is_of_former:
            adopted, drafts = before, {}  # nothing of that can be taken for what is there now
        if decided == ONLY_MOVED and adopted["state"] == "deleted":
            decided = None  # who moved it could not know, and did not want it back
        value = adopted if decided is None else before
        if decided == MADE and not is_of_former:
            incarnation += before["state"] == "live"
            drafts = {key: Draft(key, None) for key in self._histories.present(device)} | kept
        elif value["state"] == "deleted":
            drafts = {}
        version = Version(incarnation, known.epoch + 1, 0)
        restored = Restored.of(before) or Restored(0, version[:2], ZERO)
        value = {name: each for name, each in value.items() if name not in (DOUBT, DECIDED)}
        lost = [register for register in registers if not self._histories.is_own(restored, register)]
        value[RESTORED] = restored.told(lost, version[:2]).to_value()
        value["epoch"] = self._histories.epoch_above(device, incarnation, value, before, adopted)
        if value.get("holder") != adopted.get("holder"):
            value[TENURE] = value["epoch"]
        if decided is not None:
            value[DECIDED] = decided
        holders = adopted.get("holder"), value.get("holder")  # by the lost history, and by what was decided since
        if DOUBT in before and value["state"] == "live" and None not in holders and claim.holder not in holders:
            value[DOUBT] = True  # a former holder can know more than the root, the last one alone everything
        try:
            mended = [Draft(lifecycle_key(device), value), *drafts.values()]
            entering = root_wrote(self._table, device, but={draft.key for draft in mended})
            await self._ledger.write(mended, version=version, vital=True, again=entering)
        except (StoreError, Unavailable) as error:
            log.warning("an adoption waits for the store", device=str(device), reason=error.message)
            return False
        return True

    def _adopted(self, device: DeviceId, before: dict[str, Value], registers: list[Register]) -> dict[str, Value]:
        """The lifecycle: that of the lost history if more of it is known now than was, by the claimant or by a node
        on its way."""
        restored = Restored.of(before)
        if restored is None:
            return lifecycle_of(self._table, device)
        told = [register for register in registers if register.key == lifecycle_key(device)]
        lost = [register for register in told if not self._histories.is_own(restored, register)]
        newest = max(lost, key=lambda register: register.version, default=None)
        return before if newest is None or newest.version <= restored.lifecycle else fields(newest)
