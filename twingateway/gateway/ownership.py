"""Who holds a device: the holder claims, the root grants, an epoch fences; and how a lost store is made whole again.

Everything follows from one register per device, `lifecycle/state`, minted by the root and replicated like any other:

    version  (incarnation, root's epoch, seq)
    value    {state: live | deleted, holder, store: the holder's store id, epoch: the holder's epoch}

A claim tells what the claimant knows: its store, its epoch, the greatest version of the root's that it has. From
that the root judges by one table (`_judge`):

- a device nobody holds is granted; one that another node holds is refused;
- a holder that comes with another store than before (lost, or found rolled back) first gets back what it had told
  (`restore`), so that no finished write is done again; then it claims anew and is granted the next epoch;
- a claimant that has greater versions of the root's than the root (whose store was lost or rolled back) is asked for
  them (`want-root`); the root adopts them and begins a new epoch. Until then it takes no writes for that device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from twingateway.errors import InvalidValue, ProtocolViolation, StoreError, Unavailable
from twingateway.gateway import wire
from twingateway.gateway.ledger import LIFECYCLE_NAME, Draft, Ledger, granted_epoch
from twingateway.gateway.locks import DeviceLocks
from twingateway.gateway.peers import Peer, Peers
from twingateway.gateway.table import TwinTable
from twingateway.gateway.tasks import Tasks
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import WRITER, ZERO, Register, RegisterKey, Section, StoredRegister, Version, Writer
from twingateway.twin.value import Value

log = structlog.get_logger("ownership")

HOLDER_SECTIONS = (Section.REPORTED, Section.ACK, Section.PRESENCE)
ROOT_SECTIONS = (Section.DESIRED, Section.TAGS, Section.LIFECYCLE)
#: Claims in one message, and claims that are relayed for one child at most.
CLAIMS_AT_ONCE, MAX_RELAYED = 1000, 100_000
#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0
#: Characters of a text from a peer that are shown.
SHOWN = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """One device claimed by one node. `root`: the greatest version of the root's that the claimant has; `restored`:
    it has taken back what it had told before."""

    device: DeviceId
    holder: str
    store: str
    epoch: int
    root: Version
    restored: bool = False


class Verdict(Enum):
    GRANT = "grant"
    KNOWN = "known"  # granted before, nothing to do
    TELL = "tell"  # granted before, but the claimant does not know it
    ADOPT = "adopt"  # the claimant knows more of the root's registers than the root
    RESTORE = "restore"  # the claimant's store is not the one that told what we have
    HELD = "held"
    DELETED = "deleted"


_REFUSALS: dict[Verdict, str] = {
    Verdict.HELD: "{device} is held by {holder}; move it before another node can hold it",
    Verdict.DELETED: "{device} was deleted; create it again before a node can hold it",
}


def lifecycle_key(device: DeviceId) -> RegisterKey:
    return RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME)


class Ownership:
    """Claims for this node's devices, grants for others' where this node is the root."""

    def __init__(
        self, root: bool, peers: Peers, table: TwinTable, ledger: Ledger, tasks: Tasks, locks: DeviceLocks
    ) -> None:
        self._root = root
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._tasks = tasks
        self._locks = locks
        self._configured: set[DeviceId] = set()
        self._restored: set[DeviceId] = set()
        self._relayed: dict[str, dict[tuple[str, DeviceId], Claim]] = {}
        """By child: what it claims for itself and the nodes below it."""
        self._undecided: dict[tuple[str, DeviceId], tuple[Claim, Peer | None]] = {}
        self._deciding: asyncio.Task[None] | None = None
        self._refused: dict[DeviceId, tuple[Claim, Peer | None]] = {}
        self._asked: dict[DeviceId, str] = {}
        """Devices whose registers of the root's a child was asked for."""
        self._unsure: dict[DeviceId, list[Draft]] = {}
        """At a root found rolled back: devices whose holder has not been heard, with what was written since."""
        self._watchers: list[Callable[[DeviceId], None]] = []
        ledger.watch(self._on_register)

    def watch(self, watcher: Callable[[DeviceId], None]) -> None:
        """Tell `watcher` of every device run here that was taken from this node."""
        self._watchers.append(watcher)

    def held(self, device: DeviceId) -> bool:
        """This node runs the device and was granted it, with the store it has now: it may act on desired values."""
        lifecycle = self._table.get(lifecycle_key(device))
        return device in self._configured and lifecycle is not None and self._is_ours(lifecycle.register)

    def require_writable(self, device: DeviceId) -> None:
        """Raises Unavailable while it is not certain that this root has all of its own writes for the device."""
        if device in self._unsure:
            raise Unavailable(
                f"this root's store was restored from a backup, and the holder of {device.short}, "
                f"{self._peers.holder(device)}, has not been heard since; try again when it is connected"
            )

    # --- claiming ------------------------------------------------------------------------------------------------

    async def configure(self, devices: Iterable[DeviceId]) -> None:
        """These devices are run here. A root grants them to itself, another node claims them upwards."""
        fresh = [device for device in devices if device not in self._configured]
        self._configured.update(fresh)
        if self._root:
            await self._decide_soon([self._own_claim(device) for device in fresh], None)
            self._go_on()
        elif self._peers.parent is not None:
            self.claim_at(self._peers.parent)

    def claim_at(self, parent: Peer) -> None:
        """Claim at the parent what is run here and below (on every new link)."""
        self._claim(parent, self._configured)
        for relayed in self._relayed.values():
            self._send_claims(parent, relayed.values())

    def unlinked(self, child: Peer) -> None:
        """A child is gone; it claims again when it is back."""
        self._relayed.pop(child.name, None)

    def _claim(self, parent: Peer, devices: Iterable[DeviceId]) -> None:
        self._send_claims(parent, [self._own_claim(device) for device in sorted(devices)])

    def _send_claims(self, parent: Peer, claims: Iterable[Claim]) -> None:
        by_holder: dict[tuple[str, str], list[Claim]] = {}
        for claim in claims:
            by_holder.setdefault((claim.holder, claim.store), []).append(claim)
        for of_one in by_holder.values():
            for first in range(0, len(of_one), CLAIMS_AT_ONCE):
                if parent.line is not None:
                    parent.line.send_control("claim", _claim_body(of_one[first : first + CLAIMS_AT_ONCE]))

    def _own_claim(self, device: DeviceId) -> Claim:
        seen = [stored.register for stored in self._table.device(device)]
        by_root = [r.version for r in seen if WRITER[r.key.section] is Writer.ROOT]
        epochs = [r.version.epoch for r in seen if WRITER[r.key.section] is Writer.HOLDER]
        return Claim(
            device,
            self._peers.node,
            self._peers.store_id.hex(),
            max(epochs, default=0),
            max(by_root, default=ZERO),
            device in self._restored,
        )

    def _is_ours(self, lifecycle: Register) -> bool:
        value = lifecycle.value
        return (
            isinstance(value, dict)
            and value.get("state") == "live"
            and value.get("holder") == self._peers.node
            and value.get("store") == self._peers.store_id.hex()
        )

    # --- control messages ----------------------------------------------------------------------------------------

    def on_claim(self, peer: Peer, body: Any) -> None:
        """A child claims devices, for itself or for a node below it."""
        claims = _parse_claims(peer.namespace, body)
        if not claims:
            return
        holder = claims[0].holder
        objection = self._peers.route_objection(holder, peer)
        if objection is not None:
            self._object(peer, claims, objection)
            return
        if self._peers.route(holder, peer):
            for device in list(self._peers.held_by(holder)):
                self._tell_again(device)
        if self._root:
            for claim in claims:
                self._undecided[claim.holder, claim.device] = (claim, peer)
            self._go_on()
            return
        relayed = self._relayed.setdefault(peer.name, {})
        relayed.update(((claim.holder, claim.device), claim) for claim in claims)
        if len(relayed) > MAX_RELAYED:
            raise ProtocolViolation(f"more than {MAX_RELAYED} claims", 0x97)
        self._send_up("claim", body)

    def _object(self, peer: Peer, claims: list[Claim], objection: str) -> None:
        """Refuse claims made in the name of a node that this child may not speak for."""
        for claim in claims:
            self._send_refusal(peer, claim, objection)
        self._ledger.notice("claim-refused", objection, node=claims[0].holder, devices=len(claims))
        log.warning("claims refused", peer=peer.name, node=claims[0].holder, reason=objection)

    def on_claim_refused(self, peer: Peer, body: Any) -> None:
        if self._passed_down("claim-refused", body):
            return
        try:
            device, reason = DeviceId.parse(str(body["device"])), str(body["reason"])[:SHOWN]
        except (KeyError, InvalidValue) as error:
            raise ProtocolViolation(f"claim-refused without {error}") from error
        self._ledger.notice("claim-refused", reason, device)
        log.warning("claim refused", device=str(device), reason=reason)

    def on_restore(self, peer: Peer, body: Any) -> None:
        """The root gives back what this node told it before its store was lost or rolled back."""
        if self._passed_down("restore", body):
            return
        devices = wire.parse_devices(peer.namespace, body)
        devices = {device: registers for device, registers in devices.items() if device in self._configured}
        registers = [
            r for rs in devices.values() for r in rs if r.key.section in HOLDER_SECTIONS and self._is_older(r)
        ]

        def durable() -> None:
            self._restored.update(devices)
            self._claim(peer, devices)

        log.info("taking back what was told before", devices=len(devices), registers=len(registers))
        self._ledger.apply(registers, origin=peer.name, then=durable)

    def _is_older(self, told: Register) -> bool:
        """Not what the device itself said since this process began."""
        ours = self._table.get(told.key)
        return told.key.section is Section.ACK or ours is None or ours.lsn <= self._ledger.start

    def on_want_root(self, peer: Peer, body: Any) -> None:
        """The root lost registers of its own that this node has."""
        if self._passed_down("want-root", body):
            return
        devices = _parse_names(peer.namespace, body)
        held = ((d, self._registers(d, ROOT_SECTIONS)) for d in devices if d in self._configured)
        for batch in wire.batches(held):
            self._send_up("root-registers", {"node": self._peers.node, "devices": batch})

    def on_root_registers(self, peer: Peer, body: Any) -> None:
        if not self._root:
            self._send_up("root-registers", body)
            return
        for device, registers in wire.parse_devices(peer.namespace, body).items():
            if any(register.key.section not in ROOT_SECTIONS for register in registers):
                raise ProtocolViolation("root-registers of sections that the root does not write")
            if self._asked.pop(device, None) != peer.name:
                raise ProtocolViolation(f"root-registers of {device}, which nobody asked for")
            self._tasks.start(self._adopt(device, registers, peer), f"adopting {device}")

    def _passed_down(self, kind: str, body: Any) -> bool:
        """Pass a message for a node below on its way; False when it is for this one."""
        node = body.get("node")
        if node == self._peers.node:
            return False
        child = self._peers.via(str(node))
        if child is not None and child.line is not None:
            child.line.send_control(kind, body)
        return True

    def _send_up(self, kind: str, body: Any) -> None:
        parent = self._peers.parent
        if parent is not None and parent.line is not None:
            parent.line.send_control(kind, body)

    # --- judging, at the root ------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Decide what is undecided, one batch after the other and until the store takes the grants: of two claimants
        of one device the first is granted it, however slow or full the store is."""
        if self._undecided and self._deciding is None:
            self._deciding = self._tasks.start(self._decide_all(), "claims")

    async def _decide_all(self) -> None:
        try:
            while self._undecided:
                batch, self._undecided = self._undecided, {}
                by_peer: dict[str, tuple[Peer | None, list[Claim]]] = {}
                for claim, peer in batch.values():
                    by_peer.setdefault("" if peer is None else peer.name, (peer, []))[1].append(claim)
                settled = [await self._decide_soon(claims, peer) for peer, claims in by_peer.values()]
                if not all(settled):
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._deciding = None

    async def _decide_soon(self, claims: list[Claim], peer: Peer | None) -> bool:
        """False if the store refused the grants; they are undecided still."""
        try:
            async with self._locks.hold(claim.device for claim in claims):
                await self._decide(claims, peer)
        except (StoreError, Unavailable) as error:
            log.warning("claims wait for the store", claims=len(claims), reason=error.message)
            for claim in claims:
                self._undecided.setdefault((claim.holder, claim.device), (claim, peer))
            return False
        return True

    async def _decide(self, claims: list[Claim], peer: Peer | None) -> None:
        by_verdict: dict[Verdict, dict[DeviceId, Claim]] = {verdict: {} for verdict in Verdict}
        for claim in claims:
            same = by_verdict[self._judge(claim)]
            if (
                same.setdefault(claim.device, claim) is not claim
            ):  # of another node below the same child: judged later
                self._undecided[claim.holder, claim.device] = (claim, peer)
        await self._grant(list(by_verdict[Verdict.GRANT].values()))
        for device in by_verdict[Verdict.TELL]:
            self._tell_again(device)
        for verdict in _REFUSALS:
            for claim in by_verdict[verdict].values():
                self._refuse(claim, verdict, peer)
        if peer is not None and peer.line is not None:
            self._ask(peer, list(by_verdict[Verdict.ADOPT].values()))
            self._give_back(peer, list(by_verdict[Verdict.RESTORE].values()))

    def _judge(self, claim: Claim) -> Verdict:
        if claim.device in self._unsure:
            return Verdict.ADOPT
        current = self._table.get(lifecycle_key(claim.device))
        value = {} if current is None else _fields(current.register)
        if value.get("holder") in (None, claim.holder) and claim.root > self._greatest_of_root(claim.device):
            return Verdict.ADOPT
        if current is None:
            return Verdict.GRANT
        if value.get("state") == "deleted":
            return Verdict.DELETED
        if value.get("holder") not in (None, claim.holder):
            return Verdict.HELD
        if value.get("holder") is None:
            return Verdict.GRANT
        if value.get("store") == claim.store:
            return Verdict.TELL if claim.epoch < granted_epoch(current.register) else Verdict.KNOWN
        told = any(self._table.section(claim.device, section) for section in HOLDER_SECTIONS)
        return Verdict.RESTORE if told and not claim.restored else Verdict.GRANT

    async def _grant(self, claims: list[Claim]) -> None:
        """Mint the lifecycle registers, those of one incarnation and epoch in one commit."""
        by_version: dict[Version, list[Draft]] = {}
        for claim in claims:
            current = self._table.get(lifecycle_key(claim.device))
            known = Version(1, 1, 0) if current is None else current.register.version
            draft = Draft(lifecycle_key(claim.device), self._granted(claim, current))
            by_version.setdefault(Version(known.incarnation, known.epoch, 0), []).append(draft)
        for version, drafts in by_version.items():
            await self._ledger.write(drafts, version=version)
        for claim in claims:
            self._tell_again(claim.device)

    def _granted(self, claim: Claim, current: StoredRegister | None) -> dict[str, Value]:
        known = {} if current is None else _fields(current.register)
        before = 0 if current is None else granted_epoch(current.register)
        epoch = max(before, claim.epoch) + 1
        return {**known, "state": "live", "holder": claim.holder, "store": claim.store, "epoch": epoch}

    def _refuse(self, claim: Claim, verdict: Verdict, peer: Peer | None) -> None:
        holder = self._peers.holder(claim.device)
        reason = _REFUSALS[verdict].format(device=claim.device, holder=holder)
        self._ledger.notice("claim-refused", reason, claim.device, node=claim.holder)
        self._refused[claim.device] = (claim, peer)
        if peer is not None:
            self._send_refusal(peer, claim, reason)

    def _send_refusal(self, peer: Peer, claim: Claim, reason: str) -> None:
        if peer.line is not None:
            body = {"device": str(claim.device), "node": claim.holder, "reason": reason}
            peer.line.send_control("claim-refused", body)

    def _tell_again(self, device: DeviceId) -> None:
        """The device's holder is to have everything that the root wrote."""
        self._ledger.renumber(
            stored for section in ROOT_SECTIONS for stored in list(self._table.section(device, section).values())
        )

    def _ask(self, peer: Peer, claims: list[Claim]) -> None:
        for holder in {claim.holder for claim in claims}:
            devices = [claim.device for claim in claims if claim.holder == holder]
            names = [device.name for device in devices]
            self._asked.update((device, peer.name) for device in devices)
            if peer.line is not None:
                log.warning("asking a holder for this root's own registers", node=holder, devices=len(names))
                peer.line.send_control("want-root", {"node": holder, "devices": names})

    def _give_back(self, peer: Peer, claims: list[Claim]) -> None:
        for holder in {claim.holder for claim in claims}:
            told = (
                (claim.device, self._registers(claim.device, HOLDER_SECTIONS))
                for claim in claims
                if claim.holder == holder
            )
            for batch in wire.batches(told):
                if peer.line is not None:
                    peer.line.send_control("restore", {"node": holder, "devices": batch})

    # --- a root that lost its store ------------------------------------------------------------------------------

    def doubt(self, since: int) -> None:
        """This root's store was found rolled back: nothing is certain about held devices until their holders were
        asked. `since`: the last lsn from before this process; what was written after it must not lose."""
        for device in self._table.devices():
            if self._peers.holder(device) not in (None, self._peers.node):
                self._unsure[device] = [
                    Draft(stored.register.key, stored.register.value, stored.register.time)
                    for section in (Section.DESIRED, Section.TAGS)
                    for stored in self._table.section(device, section).values()
                    if stored.lsn > since
                ]

    async def _adopt(self, device: DeviceId, registers: list[Register], peer: Peer) -> None:
        """Take the root's registers back from a holder, then begin a new epoch above all of them."""
        greatest = max((r.version for r in registers), default=ZERO)
        if device not in self._unsure and greatest <= self._greatest_of_root(device):
            return
        self._ledger.apply(registers, origin=peer.name, then=lambda: None)
        async with self._locks.hold([device]):
            while not await self._begin_epoch(device):
                await asyncio.sleep(RETRY_SECONDS)
        log.info("adopted from its holder", device=str(device), registers=len(registers))
        self._tell_again(device)

    async def _begin_epoch(self, device: DeviceId) -> bool:
        """False if the store refused."""
        known, current = self._greatest_of_root(device), self._table.get(lifecycle_key(device))
        if current is not None:
            version = Version(known.incarnation, known.epoch + 1, 0)
            drafts = [Draft(lifecycle_key(device), current.register.value), *self._unsure.get(device, [])]
            try:
                await self._ledger.write(drafts, version=version)
            except (StoreError, Unavailable) as error:
                log.warning("an adoption waits for the store", device=str(device), reason=error.message)
                return False
        self._unsure.pop(device, None)
        return True

    # --- what a lifecycle register does --------------------------------------------------------------------------

    def _on_register(self, stored: StoredRegister) -> None:
        if stored.register.key.section is not Section.LIFECYCLE:
            return
        device = stored.register.key.device
        if device in self._configured:
            self._on_own_lifecycle(device, stored)
        value = _fields(stored.register)
        if self._root and value.get("state") == "live" and value.get("holder") is None and device in self._refused:
            claim, peer = self._refused.pop(device)
            self._undecided[claim.holder, claim.device] = (claim, peer)
            self._go_on()

    def _on_own_lifecycle(self, device: DeviceId, stored: StoredRegister) -> None:
        value = _fields(stored.register)
        if value.get("holder") != self._peers.node or value.get("state") != "live":
            to = "deleted" if value.get("state") == "deleted" else f"given to {value.get('holder')}"
            self._ledger.notice("unassigned", f"{device} was {to}; this node stops running it", device)
            for watcher in self._watchers:
                watcher(device)
            if value.get("state") == "deleted":
                self._claim_recreated(device)
        elif self._is_ours(stored.register):
            self._enter_scope(device)

    def _claim_recreated(self, device: DeviceId) -> None:
        """The claim is refused now and remembered: should the device be created again, it is this node's at once."""
        if self._root:
            claim = self._own_claim(device)
            self._undecided[claim.holder, device] = (claim, None)
            self._go_on()
        elif self._peers.parent is not None:
            self._claim(self._peers.parent, [device])

    def _enter_scope(self, device: DeviceId) -> None:
        """The device enters the parent's scope whole: what was minted before gets a version under the grant's epoch,
        what has one is offered anew."""
        held = [s for section in HOLDER_SECTIONS for s in self._table.section(device, section).values()]
        self._ledger.renumber([s for s in held if s.register.version[:2] == self._ledger.basis(s.register.key)])
        self._ledger.mint_again(device, HOLDER_SECTIONS)

    def _registers(self, device: DeviceId, sections: Iterable[Section]) -> list[Register]:
        return [s.register for section in sections for s in self._table.section(device, section).values()]

    def _greatest_of_root(self, device: DeviceId) -> Version:
        return max((r.version for r in self._registers(device, ROOT_SECTIONS)), default=ZERO)


def _fields(register: Register) -> dict[str, Value]:
    return register.value if isinstance(register.value, dict) else {}


def _claim_body(claims: list[Claim]) -> dict[str, Any]:
    """All claims are of one node: `{node, store, devices: [[name, epoch, root version, restored], …]}`."""
    devices = [[c.device.name, c.epoch, list(c.root), c.restored] for c in claims]
    return {"node": claims[0].holder, "store": claims[0].store, "devices": devices}


def _parse_claims(namespace: str, body: Mapping[str, Any]) -> list[Claim]:
    try:
        holder, store = wire.parse_device(namespace, body["node"]).name, str(body["store"])[:SHOWN]
        return [
            Claim(
                wire.parse_device(namespace, name),
                holder,
                store,
                wire.parse_version((0, epoch, 0)).epoch,
                wire.parse_version(root),
                restored is True,
            )
            for name, epoch, root, restored in body["devices"]
        ]
    except (KeyError, TypeError, ValueError, InvalidValue) as error:
        raise ProtocolViolation(f"a claim that makes no sense: {error}") from error


def _parse_names(namespace: str, body: Mapping[str, Any]) -> list[DeviceId]:
    try:
        return [wire.parse_device(namespace, name) for name in body["devices"]]
    except (KeyError, TypeError, InvalidValue) as error:
        raise ProtocolViolation(f"a list of devices that is none: {error}") from error
