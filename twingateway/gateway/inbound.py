"""What a peer may write here: the rules that keep tenants apart, fence old holders and keep writers single.

One function per direction answers None (apply) or a refusal, which is listed back to the sender with its code and
never holds up the registers beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.ledger import LIFECYCLE_NAME, granted_epoch
from twingateway.gateway.peers import NODES, Direction, Peer, Peers
from twingateway.gateway.table import TwinTable
from twingateway.twin.ack import Ack
from twingateway.twin.register import WRITER, Register, RegisterKey, Section, Writer
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise


@dataclass(frozen=True, slots=True)
class Refusal:
    code: str
    message: str


class Inbound:
    """Judges registers that arrive from peers."""

    def __init__(self, peers: Peers, table: TwinTable) -> None:
        self._peers = peers
        self._table = table
        self._judges: dict[Direction, Callable[[Peer, Register], Refusal | None]] = {
            Direction.CHILD: self._from_child,
            Direction.PARENT: self._from_parent,
        }

    def judge(self, peer: Peer, register: Register) -> Refusal | None:
        try:
            normalise(register.value, register.key.name)
        except (InvalidValue, TooLarge) as error:
            return Refusal(error.code, error.message)
        return self._judges[peer.direction](peer, register)

    def _from_child(self, peer: Peer, register: Register) -> Refusal | None:
        device, section, _ = register.key
        if section is Section.REACH:
            if device.namespace == NODES and device.name in peer.below:
                return None
            return Refusal("not-yours", f"{peer.name} does not lead to the node {device.name}")
        if device.namespace != peer.namespace:
            return Refusal("not-authorized", f"{peer.name} belongs to the namespace {peer.namespace}")
        if WRITER[section] is not Writer.HOLDER:
            return Refusal("not-yours", f"{section} is written by the root")
        lifecycle = self._table.get(RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME))
        if lifecycle is None or self._peers.holder(device) not in peer.below:
            return Refusal("not-yours", f"{device} is not held by {peer.name}")
        value = lifecycle.register.value
        if not isinstance(value, dict) or value.get("state") != "live":
            return Refusal("deleted", f"{device} was deleted")
        current = (lifecycle.register.version.incarnation, granted_epoch(lifecycle.register))
        if register.version[:2] != current:
            return Refusal("fenced", f"{device} is now at incarnation and epoch {current[0]}.{current[1]}")
        if section is Section.ACK and register.value is not None and not _is_ack(register.value):
            return Refusal("invalid-value", "this is not an acknowledgement")
        return None

    def _from_parent(self, peer: Peer, register: Register) -> Refusal | None:
        device, section, _ = register.key
        if WRITER[section] is not Writer.ROOT:
            return Refusal("not-yours", f"{section} is written below")
        if device.namespace != peer.namespace:
            return Refusal("not-authorized", f"this node belongs to the namespace {peer.namespace}")
        return None


def _is_ack(value: Value) -> bool:
    try:
        Ack.from_value(value)
    except (ValueError, KeyError):
        return False
    return True
