"""What a peer may write here: the rules that keep tenants apart, fence old holders and keep writers single.

One function per direction answers None (apply) or a refusal, which is listed back to the sender with its code and
never holds up the registers beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.peering.peers import Direction, Peer, Peers
from twingateway.gateway.peering.reach import NODES
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import Ack
from twingateway.twin.conflict import Verdict
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import LIFECYCLE_NAME
from twingateway.twin.override import Override, said_at
from twingateway.twin.register import WRITER, Register, RegisterKey, Section, Writer
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise


@dataclass(frozen=True, slots=True)
class Refusal:
    code: str
    message: str


#: A child's word on a node's link does not count for its version: another parent's did before, or that of this child
#: before it lost its store. It says it again with a greater one.
OUTDATED = "outdated"

#: Where a child stands with a device, looked up once a frame.
_Standing: TypeAlias = "tuple[int, int] | Refusal"
_Standings: TypeAlias = dict[DeviceId, _Standing]


class Inbound:
    """Judges registers that arrive from peers."""

    def __init__(self, peers: Peers, table: TwinTable) -> None:
        self._peers = peers
        self._table = table
        self._judges: dict[Direction, Callable[[Peer, Register, _Standings], Refusal | None]] = {
            Direction.CHILD: self._from_child,
            Direction.PARENT: self._from_parent,
        }

    def judge(self, peer: Peer, register: Register) -> Refusal | None:
        """Why this register may not be applied; None if it may."""
        return self.judge_all(peer, [register])[0]

    def judge_all(self, peer: Peer, registers: Iterable[Register]) -> list[Refusal | None]:
        """The same for those of one frame."""
        judge = self._judges[peer.direction]
        standings: _Standings = {}
        verdicts: list[Refusal | None] = []
        for register in registers:
            try:
                normalise(register.value, register.key.name)
            except (InvalidValue, TooLarge) as error:
                verdicts.append(Refusal(error.code, error.message))
            else:
                verdicts.append(judge(peer, register, standings))
        return verdicts

    def _from_child(self, peer: Peer, register: Register, standings: _Standings) -> Refusal | None:
        device, section, _ = register.key
        if section is Section.REACH:
            if device.namespace != NODES or not self._peers.speaks_for(peer, register):
                return Refusal("not-yours", f"{peer.name} does not lead to the node {device.name}")
            known = self._table.get(register.key)
            if known is None or register.version > known.register.version or register == known.register:
                return None
            return Refusal(OUTDATED, f"{device.name} was told of before, with {known.register.version}")
        if device.namespace != peer.namespace:
            return Refusal("not-authorized", f"{peer.name} belongs to the namespace {peer.namespace}")
        if WRITER[section] is not Writer.HOLDER:
            return Refusal("not-yours", f"{section} is written by the root")
        standing = standings.get(device)
        if standing is None:
            standing = standings[device] = self._standing(peer, device)
        if isinstance(standing, Refusal):
            return standing
        if register.version[:2] != standing:
            return Refusal("fenced", f"{device} is now at incarnation and epoch {standing[0]}.{standing[1]}")
        return _form_refusal(register) or self._replaced(register)

    def _replaced(self, register: Register) -> Refusal | None:
        """How far an override has come since its store was put back is no news: a later one is known here, under the
        same grant. What one of another grant left is void."""
        known = self._table.get(register.key) if register.key.section is Section.OVERRIDE else None
        if known is None or known.register.version[:2] != register.version[:2]:
            return None
        if said_at(register) >= said_at(known.register):
            return None
        return Refusal("replaced", f"a later override of {register.key.name} is known here")

    def _leads_to(self, peer: Peer, node: str) -> bool:
        """A child can tell of a node before it has passed on what that node claims; so it need not be known as the
        way there yet, as long as no other child is."""
        return node in peer.below or self._peers.route_objection(node, peer) is None

    def _standing(self, peer: Peer, device: DeviceId) -> _Standing:
        """The incarnation and epoch at which this child holds the device, or why it does not."""
        lifecycle = self._table.get(RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME))
        holder = self._peers.holder(device)
        if lifecycle is None or holder is None or not self._leads_to(peer, holder):
            return Refusal("not-yours", f"{device} is not held by {peer.name}")
        value = lifecycle.register.value
        if not isinstance(value, dict) or value.get("state") != "live":
            return Refusal("deleted", f"{device} was deleted")
        return lifecycle.register.version.incarnation, granted_epoch(lifecycle.register)

    def _from_parent(self, peer: Peer, register: Register, standings: _Standings) -> Refusal | None:
        del standings
        device, section, _ = register.key
        if WRITER[section] is not Writer.ROOT:
            return Refusal("not-yours", f"{section} is written below")
        if device.namespace != peer.namespace:
            return Refusal("not-authorized", f"this node belongs to the namespace {peer.namespace}")
        return _form_refusal(register)


def _form_refusal(register: Register) -> Refusal | None:
    """Why the value is none that its section can have; None if it can."""
    found = _FORMS.get(register.key.section)
    if found is None or register.value is None or found[1](register.value):
        return None
    return Refusal("invalid-value", f"this is not {found[0]}")


def _is_ack(value: Value) -> bool:
    try:
        Ack.from_value(value)
    except (ValueError, KeyError):
        return False
    return True


#: Sections whose values have a form of their own: what they are, and whether a value is one.
_FORMS: dict[Section, tuple[str, Callable[[Value], bool]]] = {
    Section.ACK: ("an acknowledgement", _is_ack),
    Section.OVERRIDE: ("an override", lambda value: Override.read(value) is not None),
    Section.VERDICT: ("a verdict", lambda value: Verdict.read(value) is not None),
}
