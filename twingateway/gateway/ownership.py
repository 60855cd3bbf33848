"""Who holds a device: the holder claims, the root grants, an epoch fences.

Everything follows from one register per device, `lifecycle/state`, minted by the root and replicated like any other:

    version  (incarnation, root's epoch, seq)
    value    {state: live | deleted, holder, store: the holder's store id, epoch: the holder's epoch}

A claim tells what the claimant knows: its store and the highest incarnation and epochs it has seen. A claimant whose
store is new (lost, or found rolled back) gets the next epoch, and so does every register it mints from then on;
a root that lost its own store learns from the claim which epochs it must go beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from twingateway.errors import ProtocolViolation
from twingateway.gateway.ledger import LIFECYCLE_NAME, Draft, Ledger, granted_epoch
from twingateway.gateway.peers import Peer, Peers
from twingateway.gateway.table import TwinTable
from twingateway.gateway.tasks import Tasks
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import WRITER, RegisterKey, Section, StoredRegister, Version, Writer
from twingateway.twin.value import Value

log = structlog.get_logger("ownership")

HOLDER_SECTIONS = tuple(section for section in (Section.REPORTED, Section.ACK, Section.PRESENCE))


@dataclass(frozen=True, slots=True)
class Claim:
    """One device claimed by one node."""

    device: DeviceId
    holder: str
    store: str
    incarnation: int
    epoch: int
    root_epoch: int


def lifecycle_key(device: DeviceId) -> RegisterKey:
    return RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME)


class Ownership:
    """Claims for this node's devices, grants for others' where this node is the root."""

    def __init__(self, root: bool, peers: Peers, table: TwinTable, ledger: Ledger, tasks: Tasks) -> None:
        self._root = root
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._tasks = tasks
        self._configured: set[DeviceId] = set()
        self._relayed: dict[str, dict[str, Any]] = {}
        self._waiting: dict[DeviceId, tuple[Claim, Peer]] = {}
        ledger.watch(self._on_register)

    def held(self, device: DeviceId) -> bool:
        """This node runs the device, and nobody else was granted it."""
        if device not in self._configured:
            return False
        lifecycle = self._table.get(lifecycle_key(device))
        if lifecycle is None:
            return True
        value = lifecycle.register.value
        return isinstance(value, dict) and value.get("holder") == self._peers.node and value["state"] == "live"

    async def configure(self, devices: Iterable[DeviceId]) -> None:
        """These devices are run here. A root grants them to itself, another node claims them upwards."""
        fresh = [device for device in devices if device not in self._configured]
        self._configured.update(fresh)
        if self._root:
            await self._decide([self._own_claim(device) for device in fresh], None)
        elif self._peers.parent is not None:
            self.claim_at(self._peers.parent)

    def claim_at(self, parent: Peer) -> None:
        """Claim at the parent what is run here and below (on every new link)."""
        if parent.line is None:
            return
        own = [self._own_claim(device) for device in sorted(self._configured)]
        if own:
            parent.line.send_control("claim", _claim_body(own))
        for body in self._relayed.values():
            parent.line.send_control("claim", body)

    def on_claim(self, peer: Peer, body: Any) -> None:
        """A child claims devices, for itself or for a node below it."""
        claims = _parse_claims(peer.namespace, body)
        for holder in {claim.holder for claim in claims}:
            self._peers.route(holder, peer)
        if self._root:
            self._tasks.start(self._decide(claims, peer), f"claims of {peer.name}")
            return
        for claim in claims:
            self._relayed[claim.holder] = body
        parent = self._peers.parent
        if parent is not None and parent.line is not None:
            parent.line.send_control("claim", body)

    def on_claim_refused(self, peer: Peer, body: Any) -> None:
        try:
            device, holder = DeviceId.parse(body["device"]), str(body["node"])
            reason = str(body["reason"])
        except (KeyError, TypeError) as error:
            raise ProtocolViolation(f"claim-refused without {error}") from error
        if holder == self._peers.node:
            self._ledger.notice("claim-refused", reason, device)
            log.warning("claim refused", device=str(device), reason=reason)
            return
        for child in self._peers:
            if holder in child.below and child.line is not None:
                child.line.send_control("claim-refused", body)

    async def _decide(self, claims: list[Claim], peer: Peer | None) -> None:
        drafts: list[tuple[Draft, Version]] = []
        for claim in claims:
            outcome = self._judge(claim)
            if isinstance(outcome, str):
                self._refuse(claim, outcome, peer)
            elif outcome is not None:
                drafts.append((Draft(lifecycle_key(claim.device), outcome[1]), outcome[0]))
        for version in {version[:2] for _, version in drafts}:
            batch = [draft for draft, its in drafts if its[:2] == version]
            await self._ledger.write(batch, version=Version(*version, 0))
        for draft, _ in drafts:
            self._into_scope(draft.key.device)

    def _judge(self, claim: Claim) -> tuple[Version, Value] | str | None:
        """A grant to mint, a reason to refuse, or None when the claimant has been granted it already."""
        current = self._table.get(lifecycle_key(claim.device))
        if current is None:
            version = Version(max(1, claim.incarnation), claim.root_epoch + 1, 0)
            return version, _live(claim, claim.epoch + 1)
        value, version = current.register.value, current.register.version
        if not isinstance(value, dict) or value.get("state") == "deleted":
            return f"{claim.device} was deleted; create it again before a node can hold it"
        epoch = max(granted_epoch(current.register), claim.epoch)
        model = value.get("model")
        holder = value.get("holder")
        if holder not in (None, claim.holder):
            return f"{claim.device} is held by {holder}; move it before another node can hold it"
        if claim.root_epoch > version.epoch:
            return Version(version.incarnation, claim.root_epoch + 1, 0), _live(claim, epoch + 1, model)
        if holder == claim.holder and value.get("store") == claim.store:
            if claim.epoch < granted_epoch(current.register):
                self._ledger.renumber([current])  # the claimant has not heard of it
            return None
        return Version(version.incarnation, version.epoch, 0), _live(claim, epoch + 1, model)

    def _refuse(self, claim: Claim, reason: str, peer: Peer | None) -> None:
        self._ledger.notice("claim-refused", reason, claim.device, node=claim.holder)
        if peer is None:
            return
        self._waiting[claim.device] = (claim, peer)
        if peer.line is not None:
            body = {"device": str(claim.device), "node": claim.holder, "reason": reason}
            peer.line.send_control("claim-refused", body)

    def _into_scope(self, device: DeviceId) -> None:
        """The device's holder is to have what the root wrote before it was granted."""
        lifecycle = lifecycle_key(device)
        self._ledger.renumber(
            stored
            for stored in self._table.device(device)
            if WRITER[stored.register.key.section] is Writer.ROOT and stored.register.key != lifecycle
        )

    def _on_register(self, stored: StoredRegister) -> None:
        if stored.register.key.section is not Section.LIFECYCLE:
            return
        device = stored.register.key.device
        if device in self._configured:
            self._on_own_lifecycle(device, stored)
        value = stored.register.value
        free = isinstance(value, dict) and value.get("state") == "live" and value.get("holder") is None
        if self._root and free and device in self._waiting:
            claim, peer = self._waiting.pop(device)
            self._tasks.start(self._decide([claim], peer), f"claim of {device}")

    def _on_own_lifecycle(self, device: DeviceId, stored: StoredRegister) -> None:
        value = stored.register.value
        if not isinstance(value, dict) or value.get("holder") != self._peers.node:
            reason = f"{device} is no longer this node's: {value}"
            self._ledger.notice("unassigned", reason, device)
            return
        if value.get("store") == self._peers.store_id.hex():
            self._mint_again(device, stored)

    def _mint_again(self, device: DeviceId, lifecycle: StoredRegister) -> None:
        """Registers minted before the grant get versions under its epoch, and so enter the parent's scope."""
        basis = (lifecycle.register.version.incarnation, granted_epoch(lifecycle.register))
        self._ledger.report(
            Draft(stored.register.key, stored.register.value, stored.register.time)
            for section in HOLDER_SECTIONS
            for stored in list(self._table.section(device, section).values())
            if stored.register.version[:2] != basis
        )

    def _own_claim(self, device: DeviceId) -> Claim:
        lifecycle = self._table.get(lifecycle_key(device))
        known = Version(0, 0, 0) if lifecycle is None else lifecycle.register.version
        seen = [stored.register for stored in self._table.device(device)]
        root_epochs = [r.version.epoch for r in seen if WRITER[r.key.section] is Writer.ROOT]
        epochs = [r.version.epoch for r in seen if WRITER[r.key.section] is Writer.HOLDER]
        return Claim(
            device,
            self._peers.node,
            self._peers.store_id.hex(),
            known.incarnation,
            max(epochs, default=0),
            max(root_epochs, default=0),
        )


def _live(claim: Claim, epoch: int, model: Value = None) -> dict[str, Value]:
    value: dict[str, Value] = {"state": "live", "holder": claim.holder, "store": claim.store, "epoch": epoch}
    if model is not None:
        value["model"] = model
    return value


def _claim_body(claims: list[Claim]) -> dict[str, Any]:
    """All claims are of one node: `{node, store, devices: [[name, incarnation, epoch, root_epoch], …]}`."""
    devices = [[c.device.name, c.incarnation, c.epoch, c.root_epoch] for c in claims]
    return {"node": claims[0].holder, "store": claims[0].store, "devices": devices}


def _parse_claims(namespace: str, body: Mapping[str, Any]) -> list[Claim]:
    try:
        holder, store = DeviceId.parse(str(body["node"])).name, str(body["store"])
        return [
            Claim(DeviceId.parse(str(name), namespace), holder, store, int(incarnation), int(epoch), int(root_epoch))
            for name, incarnation, epoch, root_epoch in body["devices"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"a claim that makes no sense: {error}") from error
