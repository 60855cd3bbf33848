"""The way of ownership between nodes: what is claimed below goes up to the root, what the root answers goes down to
whom it is for, and each node on the way adds what it knows better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from twingateway.errors import ProtocolViolation
from twingateway.gateway.holding.claims import (
    HOLDER_SECTIONS,
    ROOT_SECTIONS,
    SAID_ONCE,
    Claim,
    fields,
    greatest_of_root,
    is_grant_to,
    lifecycle_key,
    merged,
    parse_claims,
    refuse,
    registers_of,
    send_claims,
)
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.histories import numbers_said
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Line, Peer, Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import granted_epoch, tenure
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, Section, StoredRegister

#: Claims that are relayed for one child at most.
MAX_RELAYED = 100_000


class Passage:
    """Through one node. `grants`: None at a node that is not the root."""

    def __init__(self, grants: Grants | None, peers: Peers, table: TwinTable, ledger: Ledger) -> None:
        self._grants = grants
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._objected: dict[str, Peer] = {}
        """Nodes whose claims came by another child than the one that they are reached through."""
        self._relayed: dict[str, dict[tuple[str, DeviceId], Claim]] = {}
        """By child: what it claims for itself and the nodes below it."""
        ledger.watch(self._on_reach, Section.REACH)

    # --- up -------------------------------------------------------------------------------------------------------

    def claim_at(self, parent: Peer) -> None:
        """Pass on to the parent what is claimed below (on every new link)."""
        for relayed in self._relayed.values():
            self._relay(parent, (replace(claim, restored=False) for claim in relayed.values()))

    def unlinked(self, child: Peer) -> None:
        """A child is gone; it claims again when it is back."""
        self._relayed.pop(child.name, None)

    def on_claim(self, peer: Peer, body: Any) -> None:
        """A child claims devices, for itself or for a node below it."""
        claims = parse_claims(peer.namespace, body)
        if not claims or _is_of_former_store(claims[0], peer):
            return
        holder = claims[0].holder
        objection = self._peers.route_objection(holder, peer)
        if objection is not None:
            self._object(peer, claims, objection)
            return
        if self._grants is not None and self._grants.histories.is_forked(claims):
            self._grants.hearing.put_off(lambda: self.on_claim(peer, body))
            return
        if self._peers.route(holder, peer):
            self._reached(holder)
        if self._grants is not None:
            self._grants.require_few(claims, peer)
            self._grants.on_claims(claims)
            return
        relayed = self._relayed.setdefault(peer.name, {})
        relayed.update(((claim.holder, claim.device), claim) for claim in claims)
        if len(relayed) > MAX_RELAYED:
            raise ProtocolViolation(f"more than {MAX_RELAYED} claims", 0x97)
        unaware = {claim.device: claim for claim in claims if self._knows_more(claim)}
        told = ((device, self._with_newer(device, holder, [])) for device in unaware)
        for batch in wire.batches(told):
            self.passed_down("restore", {"node": holder, "devices": batch})
        numbers = numbers_said(self._table, self._ledger, filter(self._is_granted, claims))
        if numbers:  # this node may have more of its word than the root
            self.passed_down("said", {"node": holder, "store": claims[0].store, "numbers": numbers})
        if self._peers.parent is not None:
            self._relay(self._peers.parent, [claim for claim in claims if claim.device not in unaware])

    def _is_granted(self, claim: Claim) -> bool:
        """As far as is known here, the claimant holds the device with the store that it has."""
        lifecycle = self._table.get(lifecycle_key(claim.device))
        return lifecycle is not None and is_grant_to(claim.holder, claim.store, lifecycle.register)

    def _knows_more(self, claim: Claim) -> bool:
        """A holder that lost its store is to have first what it had said last here, of which the root may have heard
        nothing; then it claims again."""
        lifecycle = self._table.get(lifecycle_key(claim.device))
        if claim.restored or lifecycle is None or fields(lifecycle.register).get("store") == claim.store:
            return False
        ours = self._with_newer(claim.device, claim.holder, [])
        return any(register.key.section in SAID_ONCE for register in ours)

    def _relay(self, parent: Peer, claims: Iterable[Claim]) -> None:
        """Pass claims on, with what this node knows of the root's registers if that is more than the claimant."""
        known = ((claim, greatest_of_root(self._table, claim.device)) for claim in claims)
        send_claims(parent, [replace(claim, known=max(claim.known, greatest)) for claim, greatest in known])

    def _object(self, peer: Peer, claims: list[Claim], objection: str) -> None:
        """Refuse claims made in the name of a node that this child may not speak for."""
        self._objected[claims[0].holder] = peer
        for claim in claims:
            refuse(peer, claim, objection)
        self._ledger.notice("claim-refused", objection, node=claims[0].holder, devices=len(claims))

    def _reached(self, holder: str) -> None:
        """A node is reached through another child than before: that child has none of its registers yet."""
        for device in list(self._peers.held_by(holder)):
            self._ledger.renumber(self._table.sections(device, ROOT_SECTIONS))

    def _on_reach(self, stored: StoredRegister) -> None:
        """Something was said about whether a node is reached: a way that was none may be one now."""
        holder = stored.register.key.device.name
        peer = self._objected.get(holder)
        if peer is not None and peer.line is not None and self._peers.route_objection(holder, peer) is None:
            del self._objected[holder]
            peer.line.send_control("claim-again", {"node": holder})

    def on_root_registers(self, peer: Peer, body: Any) -> None:
        """On its way to the root, with what this node has newer."""
        if self._grants is not None:
            self._grants.on_root_registers(peer, body)
            return
        told = wire.parse_devices(peer.namespace, body)
        for batch in wire.batches((device, self._with_own(device, registers)) for device, registers in told.items()):
            self.send_up("root-registers", {"node": body.get("node"), "devices": batch})

    def send_up(self, kind: str, body: Any) -> None:
        """Say this to the parent, if it is there."""
        parent = self._peers.parent
        if parent is not None and parent.line is not None:
            parent.line.send_control(kind, body)

    # --- down -----------------------------------------------------------------------------------------------------

    def passed_down(self, kind: str, body: Any) -> bool:
        """Pass a message for a node below on its way; False when it is for this one."""
        node = body.get("node")
        if node == self._peers.node:
            return False
        child = self._peers.via(str(node))
        if child is not None and child.line is not None:
            child.line.send_control(kind, body)
        return True

    def refused(self, device: DeviceId, body: Mapping[str, Any]) -> bool:
        """Pass a refusal on; False if it is for this node. With it goes whose the device is, if that is known here
        already: what the root sends of it is no news then, and goes no further."""
        if not self.passed_down("claim-refused", body):
            return False
        node = str(body.get("node"))
        child, lifecycle = self._peers.via(node), self._table.get(lifecycle_key(device))
        claim = None if child is None else self._relayed.get(child.name, {}).get((node, device))
        if child is not None and lifecycle is not None and claim is not None and claim.is_of_former_holder:
            self._peers.tell(child, [lifecycle])
        return True

    def give_back(self, devices: Mapping[DeviceId, list[Register]], body: Mapping[str, Any]) -> None:
        """What the root gives back to a node below goes down, with what is newer here. `devices`: those of `body`."""
        told = ((device, self._with_newer(device, body.get("node"), said)) for device, said in devices.items())
        for batch in wire.batches(told):
            self.passed_down("restore", {**body, "devices": batch})

    def hear_again(self, child: Peer, line: Line) -> None:
        """What was answered to the claims of this child may have gone with the link that it was answered on, while
        the child itself was on this one already."""
        for node in sorted(child.below):
            line.send_control("claim-again", {"node": node})

    def renew(self, device: DeviceId) -> None:
        """A device below has a new grant, and perhaps another holder: what this node has of it already may go up now,
        if the parent refused it for want of the grant, and down to where the holder is."""
        if self._grants is None:
            told = [s for s in self._table.device(device) if s.register.key != lifecycle_key(device)]
            self._ledger.renumber(told)

    def _with_newer(self, device: DeviceId, node: Any, told: list[Register]) -> list[Register]:
        """What the root gives back to a node below, with what that one said last and has not come up there yet."""
        lifecycle = self._table.get(lifecycle_key(device))
        if lifecycle is None or self._peers.holder(device) != node:
            return told
        granted = (lifecycle.register.version.incarnation, granted_epoch(lifecycle.register))
        said = [r.version[:2] for r in told if r.key.section in HOLDER_SECTIONS]
        if any(granted < began for began in (*said, *(tenure(r) for r in told if r.key == lifecycle_key(device)))):
            return told
        ours = registers_of(self._table, device, HOLDER_SECTIONS)
        return merged(told, (register for register in ours if register.version[:2] == granted))

    def _with_own(self, device: DeviceId, told: list[Register]) -> list[Register]:
        """Not in place of what was told: that can be of another history of the root's."""
        newest = merged(told, registers_of(self._table, device, ROOT_SECTIONS))
        return told + [register for register in newest if register not in told]


def _is_of_former_store(claim: Claim, peer: Peer) -> bool:
    """It is late: its process has ended, and the next one was met before it came, on a link of its own."""
    known = peer.session.known
    return claim.holder == peer.name and known is not None and known.store_id.hex() != claim.store
