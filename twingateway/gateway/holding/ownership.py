"""The holder's side of ownership: a node claims what it runs, and takes what the root answers.

It acts on desired values only while the root's grant names it, with the store that it has now (`held`). What comes
from the nodes below, or is for them, goes by `Passage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.gateway.holding.claims import (
    HOLDER_SECTIONS,
    ROOT_SECTIONS,
    SHOWN,
    WITH_IT,
    Claim,
    fields,
    greatest_of_root,
    is_grant_to,
    lifecycle_key,
    parse_names,
    progress,
    registers_of,
    send_claims,
    word,
)
from twingateway.gateway.holding.given_back import handed_over, is_before_tenure, outlasting, widened
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.notes import draw_up, was_told
from twingateway.gateway.holding.passage import Passage
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import lifecycle_of, tenure
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import KEPT_NAME
from twingateway.twin.presence import STATE, Presence, PresenceState
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

log = structlog.get_logger("ownership")

#: What a node forgets of a device that it does not run any more. An override that was not judged yet is none of that.
_DROPPED = (Section.REPORTED, Section.ACK, Section.PRESENCE)


class Ownership:
    """`grants` is None at a node that is not the root."""

    def __init__(
        self, grants: Grants | None, peers: Peers, table: TwinTable, ledger: Ledger, statements: Statements
    ) -> None:
        self.passage = Passage(grants, peers, table, ledger)
        self._grants = grants
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._statements = statements
        self._configured: set[DeviceId] = set()
        self._restored: dict[DeviceId, tuple[bytes, str]] = {}
        """What was told before was taken back, into the store of this id; and the root's mark of that."""
        self._denied: dict[DeviceId, Version | None] = {}
        """Devices whose claim was refused, whatever an older register says."""
        self._elsewhere: set[DeviceId] = set()
        """Devices that were run here while another node held them; until they are granted to this one."""
        self._watchers: list[Callable[[DeviceId], None]] = []
        ledger.watch(self._on_register, Section.LIFECYCLE)

    def watch(self, watcher: Callable[[DeviceId], None]) -> None:
        """Tell `watcher` of every device configured here of which the root says something new: it may have been taken
        from this node (see `is_taken`), or given to it; and of one that is this node's without being configured."""
        self._watchers.append(watcher)

    def held(self, device: DeviceId) -> bool:
        """This node runs the device and was granted it, with the store it has now: it may act on desired values."""
        if device not in self._configured or device in self._denied:
            return False
        lifecycle = self._table.get(lifecycle_key(device))
        return lifecycle is not None and self._is_ours(lifecycle.register)

    def is_taken(self, device: DeviceId) -> bool:
        """The root has deleted it or given it to another node: it is not to be run here, configured or not."""
        value = lifecycle_of(self._table, device)
        return value.get("state", "live") != "live" or value.get("holder") not in (None, self._peers.node)

    def runs(self, device: DeviceId) -> bool:
        """It is configured here, whoever holds it."""
        return device in self._configured

    def abandoned(self) -> list[DeviceId]:
        """What this node was granted with its present store, and is not configured here any more."""
        held = [device for device in self._peers.held_by(self._peers.node) if device not in self._configured]
        lifecycles = ((device, self._table.get(lifecycle_key(device))) for device in sorted(held))
        return [device for device, lifecycle in lifecycles if lifecycle and self._is_ours(lifecycle.register)]

    def _is_granted(self, device: DeviceId) -> bool:
        """As far as is known here this node was granted it, be it with another store. Another may hold it by now."""
        value = lifecycle_of(self._table, device)
        is_this_nodes = (value.get("state"), value.get("holder")) == ("live", self._peers.node)
        return is_this_nodes and value.get("store") != ""

    def _is_forsaken(self, device: DeviceId) -> bool:
        """It was granted to this node with a store that is lost or was rolled back, and is not configured here:
        without a grant nobody could say so."""
        if device in self._configured or self._grants is not None or not self._is_granted(device):
            return False
        return lifecycle_of(self._table, device).get("store") != self._peers.store_id.hex()

    # --- claiming ------------------------------------------------------------------------------------------------

    async def configure(self, devices: Iterable[DeviceId]) -> None:
        """These devices are run here. A root grants them to itself, another node claims them upwards."""
        fresh = [device for device in devices if device not in self._configured]
        self._configured.update(fresh)
        if self._grants is not None:
            await self._grants.claim([self._own_claim(device) for device in fresh])
        elif self._peers.parent is not None:
            self.claim_at(self._peers.parent)

    def claim_at(self, parent: Peer) -> None:
        """On every new link: claim what is run here and below, and what is not run here any more, since it may be
        another's by now, and nobody would say so. What was given back last may have gone with the former link."""
        self._restored.clear()
        self._claim(parent, self._own())
        self.passage.claim_at(parent)

    def _claim(self, parent: Peer, devices: Iterable[DeviceId]) -> None:
        devices = list(devices)
        for device in devices:
            if self._denied.get(device) is None:  # what the root itself said stands until it says otherwise
                self._denied.pop(device, None)
        send_claims(parent, [self._own_claim(device) for device in sorted(devices)])

    def _own(self) -> set[DeviceId]:
        return self._configured.union(filter(self._is_granted, self._peers.held_by(self._peers.node)))

    def _own_claim(self, device: DeviceId) -> Claim:
        epochs = [register.version.epoch for register in registers_of(self._table, device, HOLDER_SECTIONS)]
        store_id, mark = self._restored.get(device, (b"", ""))
        is_restored = store_id == self._peers.store_id
        return Claim(
            device,
            self._peers.node,
            self._peers.store_id.hex(),
            max(epochs, default=0),
            greatest_of_root(self._table, device),
            is_restored,
            given=mark if is_restored else "",
        )

    def _is_ours(self, lifecycle: Register) -> bool:
        return is_grant_to(self._peers.node, self._peers.store_id.hex(), lifecycle)

    # --- control messages ----------------------------------------------------------------------------------------

    def on_claim_again(self, peer: Peer, body: Any) -> None:
        """A claim that was refused because this node seemed to be elsewhere may succeed; or the answer is lost."""
        if not self.passage.passed_down("claim-again", body):
            self._claim(peer, self._own())

    def on_claim_refused(self, peer: Peer, body: Any) -> None:
        try:
            device, reason = DeviceId.parse(str(body["device"])), str(body["reason"])[:SHOWN]
            version = wire.parse_version(body["version"]) if "version" in body else None
        except (KeyError, TypeError, ValueError, InvalidValue) as error:
            raise ProtocolViolation(f"claim-refused without {error}") from error
        if self.passage.refused(device, body) or device not in self._configured:
            return  # who has no document of it is told all the same whose it is
        known = self._table.get(lifecycle_key(device))
        if version is not None and known is not None and known.register.version > version:
            return  # it was decided anew since
        self._denied[device] = version
        self._elsewhere.add(device)
        self._ledger.repeat("claim-refused", reason, device)

    def on_restore(self, peer: Peer, body: Any) -> None:
        """The root gives back what this node told it before its store was lost or rolled back; nodes on the way add
        what they have newer."""
        devices = wire.parse_devices(peer.namespace, body)
        if body.get("node") != self._peers.node:
            self.passage.give_back(devices, body)
            return
        own = self._own()
        devices = {device: registers for device, registers in devices.items() if device in own}
        of_root = (r for rs in devices.values() for r in rs if r.key.section in ROOT_SECTIONS)
        written = [r for r in of_root if r.key.section in WITH_IT or r.key == lifecycle_key(r.key.device)]
        self._ledger.apply(written, origin=peer.name, then=lambda: None)
        devices = {device: told for device, told in devices.items() if not self._is_overtaken(device, told)}
        registers = [
            handed_over(outlasting(widened(r, rs, self._table, self._ledger), self._table, self._ledger))
            for rs in devices.values()
            for r in rs
            if r.key.section in HOLDER_SECTIONS and self._is_older(r) and not self._table.is_ended(r)
        ]
        store_id, marks = self._peers.store_id, body["given"] if isinstance(body.get("given"), dict) else {}

        def durable() -> None:
            self._restored.update((device, (store_id, str(marks.get(device.name, "")))) for device in devices)
            self._claim(peer, devices)

        log.info("taking back what was told before", devices=len(devices), registers=len(registers))
        self._ledger.take_back(registers, then=durable)
        for device in filter(self.runs, devices):
            self._tell_watchers(device)

    def _is_overtaken(self, device: DeviceId, told: list[Register]) -> bool:
        """Another holds it since this was sent: it is not to be said under the grant of that one."""
        said = (register for register in told if register.key.section in HOLDER_SECTIONS)
        return self.is_taken(device) and all(is_before_tenure(register, self._table) for register in said)

    def _is_older(self, told: Register) -> bool:
        """Not what the device itself said since this process began, unless it left off while another node held it and
        may have heard more; of acks the one of the newer desired value counts, of overrides the later."""
        ours, device = self._table.get(told.key), told.key.device
        if told.key.section is Section.ACK:
            return ours is None or progress(told) > progress(ours.register)
        if told.key.section is Section.OVERRIDE:
            newest = self._ledger.newest(told.key)
            return newest is None or is_before_tenure(newest, self._table) or word(told) > word(newest)
        if told.key in self._ledger.being_written(device):
            return False
        return ours is None or (self._is_past(ours) and told.version > ours.register.version)

    def _is_past(self, ours: StoredRegister) -> bool:
        device, section, _ = ours.register.key
        if ours.lsn <= self._ledger.start:
            return True
        presence = Presence.from_value(self._statements.value(RegisterKey(device, Section.PRESENCE, STATE)))
        was_elsewhere = device in self._elsewhere or is_before_tenure(ours.register, self._table)
        return section is Section.REPORTED and was_elsewhere and presence.state is not PresenceState.ONLINE

    def on_want_root(self, peer: Peer, body: Any) -> None:
        """The root lost registers of its own that this node has."""
        if self.passage.passed_down("want-root", body):
            return
        own = self._own()
        devices = (device for device in parse_names(peer.namespace, body) if device in own)
        held = ((device, registers_of(self._table, device, ROOT_SECTIONS)) for device in devices)
        for batch in wire.batches(held):
            self.passage.send_up("root-registers", {"node": self._peers.node, "devices": batch})

    # --- what a lifecycle register does --------------------------------------------------------------------------

    def _on_register(self, stored: StoredRegister) -> None:
        device = stored.register.key.device
        if stored.register.key != lifecycle_key(device):
            return
        if device not in self._configured:
            self.passage.renew(device)
            if self._is_ours(stored.register):
                self._enter_scope(device)
                self._tell_watchers(device)
            elif self._is_forsaken(device):
                self._claim_again(device)
            return
        self._denied.pop(device, None)
        self._tell_watchers(device)
        if self._is_ours(stored.register):
            self._enter_scope(device)
        elif self.is_taken(device):
            self._taken(device)
        elif not fields(stored.register).get("store"):
            self._claim_again(device)  # moved here, also if it was here before

    def _tell_watchers(self, device: DeviceId) -> None:
        for watcher in self._watchers:
            watcher(device)

    def tell_taken(self, device: DeviceId) -> None:
        """Say that a device which is configured here is not run."""
        value = lifecycle_of(self._table, device)
        to = "deleted" if value.get("state") == "deleted" else f"given to {value.get('holder')}"
        self._ledger.notice("unassigned", f"{device} was {to}; this node does not run it", device)

    def _taken(self, device: DeviceId) -> None:
        self.tell_taken(device)
        self._restored.pop(device, None)
        self._statements.drop(device, _DROPPED)
        if self._grants is None:  # what it said here is of no use to anybody now; should it return, the root gives it
            self._ledger.drop(self._table.sections(device, _DROPPED))
        # The claim is refused now and remembered: should the device be free again, it is this node's at once.
        self._claim_again(device)

    def _claim_again(self, device: DeviceId) -> None:
        if self._grants is not None:
            self._grants.on_claims([self._own_claim(device)])
        elif self._peers.parent is not None:
            self._claim(self._peers.parent, [device])

    def _enter_scope(self, device: DeviceId) -> None:
        """The device enters the parent's scope whole: what was minted before gets a version under the grant's epoch,
        what has one is offered anew."""
        self._elsewhere.discard(device)
        held = self._table.sections(device, HOLDER_SECTIONS)
        self._ledger.renumber([s for s in held if s.register.version[:2] == self._ledger.mint.basis(s.register.key)])
        incarnation, epoch = self._ledger.mint.basis(RegisterKey(device, Section.PRESENCE, KEPT_NAME))
        is_first = epoch == 1 or was_told(self._table, device, Section.PRESENCE, (incarnation, epoch))
        lifecycle = self._table.get(lifecycle_key(device))
        came = (0, 0) if lifecycle is None or self._grants is not None else tenure(lifecycle.register)
        self._ledger.mint_again(device, HOLDER_SECTIONS, came, handed_over)
        if not is_first:  # what was said before, by another or with another store, and not given back, is void
            granted = Version(incarnation, epoch, 0)
            self._ledger.report(draw_up(self._table, self._ledger, device, Section.PRESENCE, granted))
