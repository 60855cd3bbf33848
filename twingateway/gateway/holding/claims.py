"""A claim: one node says that it runs one device. Its record, its wire form, what can be made of it, and the register
that answers it.

The root answers with one register per device, `lifecycle/state`, replicated like any other:

    version  (incarnation, root's epoch, seq)
    value    {state: live | deleted, holder, store: the holder's store id, epoch: the holder's epoch}
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Any

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Line, Peer, Peers
from twingateway.gateway.state.lifecycle import tenure
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import Ack
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import LIFECYCLE_NAME
from twingateway.twin.override import Override, said_at
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

HOLDER_SECTIONS = (Section.REPORTED, Section.ACK, Section.PRESENCE, Section.OVERRIDE)
ROOT_SECTIONS = (Section.DESIRED, Section.TAGS, Section.VERDICT, Section.LIFECYCLE)
#: What of the root's a holder is given with that: it must not act on its own word without knowing what became of it.
WITH_IT = (Section.DESIRED, Section.VERDICT)
#: What of a holder's word nobody else can say again.
SAID_ONCE = (Section.ACK, Section.OVERRIDE)
#: What a holder commits before it is sent.
COMMITTED_FIRST = (Section.ACK, Section.PRESENCE, Section.OVERRIDE)
#: Claims in one message.
CLAIMS_AT_ONCE = 1000
#: Characters of a text from a peer that are shown.
SHOWN = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """One device claimed by one node. `root`: the greatest version of the root's that the claimant has; `known`: that
    any node on the way has. `restored`: it has taken back what it had told before; `given`: the root's mark of
    that."""

    device: DeviceId
    holder: str
    store: str
    epoch: int
    root: Version
    restored: bool = False
    known: Version = ZERO
    given: str = ""

    @property
    def of_root(self) -> tuple[Version, Version]:
        """What of the root's is known to it, and on its way: of one history perhaps, perhaps of two."""
        return self.root, max(self.root, self.known)

    @property
    def is_of_former_holder(self) -> bool:
        """It, or a node on its way, may still have it that the claimant holds the device: who is refused has to know
        when it is cut off, too."""
        return self.epoch > 0 or max(self.of_root) > ZERO


class Verdict(Enum):
    """What the root makes of a claim."""

    GRANT = "grant"
    KNOWN = "known"  # granted before, nothing to do
    TELL = "tell"  # granted before, but the claimant does not know it
    ADOPT = "adopt"  # the claimant knows more of the root's registers than the root
    RESTORE = "restore"  # the claimant's store is not the one that told what we have
    HELD = "held"
    DELETED = "deleted"


REFUSALS: dict[Verdict, str] = {
    Verdict.HELD: "{device} is held by {holder}, not by {claimant}: remove its document there, if there is one, or "
    "give it to {claimant} (`twingateway move`)",
    Verdict.DELETED: "{device} was deleted: remove its document at {claimant}, if there is one still, or create the "
    "twin again (`twingateway apply`)",
}


def lifecycle_key(device: DeviceId) -> RegisterKey:
    return RegisterKey(device, Section.LIFECYCLE, LIFECYCLE_NAME)


def fields(register: Register) -> dict[str, Value]:
    """The members of a lifecycle register's value."""
    return register.value if isinstance(register.value, dict) else {}


def is_grant_to(holder: str, store: str, lifecycle: Register) -> bool:
    """Whether this node, with this store, is to act on what is desired of the device."""
    value = fields(lifecycle)
    return (value.get("state"), value.get("holder"), value.get("store")) == ("live", holder, store)


def epoch_of(lifecycle: Mapping[str, Value]) -> int:
    """The holder's epoch that the value of a lifecycle register names, 0 for none."""
    epoch = lifecycle.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def by_claimant(peers: Peers, claims: Iterable[Claim]) -> Iterator[tuple[Peer, Line, str, list[Claim]]]:
    """Claims of those who are there, each with the way to it; the others claim again when they are back."""
    of_all: dict[str, list[Claim]] = {}
    for claim in claims:
        of_all.setdefault(claim.holder, []).append(claim)
    for holder, of_one in of_all.items():
        peer = peers.via(holder)
        if peer is not None and peer.line is not None:
            yield peer, peer.line, holder, of_one


def root_wrote(table: TwinTable, device: DeviceId, but: Container[RegisterKey] = ()) -> list[StoredRegister]:
    """What the root wrote of a device, which its holder is to have (`but` what is just being written)."""
    return [stored for stored in table.sections(device, ROOT_SECTIONS) if stored.register.key not in but]


def registers_of(table: TwinTable, device: DeviceId, sections: Iterable[Section]) -> list[Register]:
    return [stored.register for stored in table.sections(device, sections)]


def given_back(table: TwinTable, device: DeviceId) -> list[Register]:
    """What a holder is given back of a device; with the lifecycle, since who knows how the device came knows what of
    its own is void, and with what the root wrote of the same properties."""
    said = registers_of(table, device, HOLDER_SECTIONS)
    names = {register.key.name for register in said if register.key.section in SAID_ONCE}
    written = (register for register in registers_of(table, device, WITH_IT) if register.key.name in names)
    return [*said, *registers_of(table, device, (Section.LIFECYCLE,)), *written]


def mark_of(table: TwinTable, device: DeviceId) -> str:
    """Of what a holder is given back that nobody else can say again, in this tenure; empty for nothing. Who has the
    mark has that."""
    lifecycle = table.get(lifecycle_key(device))
    registers = registers_of(table, device, SAID_ONCE)
    said = sorted(f"{register.key.section}/{register.key.name} {register.version}" for register in registers)
    if not said or lifecycle is None:
        return ""
    return blake2b(f"{tenure(lifecycle.register)} {said}".encode(), digest_size=8).hexdigest()


def greatest_of_root(table: TwinTable, device: DeviceId) -> Version:
    """The greatest version of the root's for a device that is here."""
    return max((register.version for register in registers_of(table, device, ROOT_SECTIONS)), default=ZERO)


def send_claims(parent: Peer, claims: Iterable[Claim]) -> None:
    """Claim upwards, those of one node together, in messages of bounded size."""
    by_holder: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        by_holder.setdefault((claim.holder, claim.store), []).append(claim)
    for of_one in by_holder.values():
        for first in range(0, len(of_one), CLAIMS_AT_ONCE):
            if parent.line is not None:
                parent.line.send_control("claim", _claim_body(of_one[first : first + CLAIMS_AT_ONCE]))


def refuse(peer: Peer, claim: Claim, reason: str, judged_by: Version | None = None) -> None:
    """Tell a claimant why it does not hold the device. `judged_by`: the lifecycle register's version, since a newer
    one can overtake this."""
    if peer.line is not None:
        body: dict[str, Any] = {"device": str(claim.device), "node": claim.holder, "reason": reason}
        if judged_by is not None:
            body["version"] = list(judged_by)
        peer.line.send_control("claim-refused", body)


def _claim_body(claims: list[Claim]) -> dict[str, Any]:
    """All claims are of one node: `{node, store, devices: [[name, epoch, root version, restored], …], ? known: {name:
    root version}, ? given: {name: mark}}`."""
    devices = [[c.device.name, c.epoch, list(c.root), c.restored] for c in claims]
    known = {c.device.name: list(c.known) for c in claims if c.known > c.root}
    body = {"node": claims[0].holder, "store": claims[0].store, "devices": devices}
    given = {c.device.name: c.given for c in claims if c.given}
    return body | ({"known": known} if known else {}) | ({"given": given} if given else {})


def parse_claims(namespace: str, body: Mapping[str, Any]) -> list[Claim]:
    try:
        holder, store = wire.parse_device(namespace, body["node"]).name, str(body["store"])[:SHOWN]
        known = {name: wire.parse_version(version) for name, version in body.get("known", {}).items()}
        given = {name: str(mark)[:SHOWN] for name, mark in body.get("given", {}).items()}
        return [
            Claim(
                wire.parse_device(namespace, name),
                holder,
                store,
                wire.parse_version((0, epoch, 0)).epoch,
                wire.parse_version(root),
                restored is True,
                known.get(name, ZERO),
                given.get(name, ""),
            )
            for name, epoch, root, restored in body["devices"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError, InvalidValue) as error:
        raise ProtocolViolation(f"a claim that makes no sense: {error}") from error


def parse_names(namespace: str, body: Mapping[str, Any]) -> list[DeviceId]:
    try:
        return [wire.parse_device(namespace, name) for name in body["devices"]]
    except (KeyError, TypeError, InvalidValue) as error:
        raise ProtocolViolation(f"a list of devices that is none: {error}") from error


def merged(told: Iterable[Register], ours: Iterable[Register]) -> list[Register]:
    """The newest of each; of overrides the later."""
    newest = {register.key: register for register in told}
    for register in ours:
        if register.key not in newest or _age(register) > _age(newest[register.key]):
            newest[register.key] = register
    return list(newest.values())


def _age(register: Register) -> tuple[Version, Version]:
    is_override = register.key.section is Section.OVERRIDE
    return said_at(register) if is_override else ZERO, register.version


def word(register: Register) -> tuple[Version, bool, bool]:
    """When its operator said an override, and how far it has come: the later word counts, however far the earlier has
    come meanwhile."""
    override = Override.read(register.value)
    ack = None if override is None else override.ack
    return said_at(register), ack is not None and ack.settled, override is not None and override.attempted


def progress(ack: Register) -> tuple[Version, bool]:
    """Of which desired value an ack speaks, and whether that is settled."""
    if ack.value is None:
        return ZERO, False
    read = Ack.from_value(ack.value)
    return read.version, read.settled
