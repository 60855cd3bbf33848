"""What a holder is given back of what it had told before its store was replaced, as it is to take it.

It says what the device held in the history that was lost, and what was left of its registers then. A store that was
put back to an older copy may have acted, and its device have reported, since.
"""

from __future__ import annotations

from dataclasses import replace

from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.overridden import override_of
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import OVERRIDDEN, Ack, AckState
from twingateway.twin.kept import NOTE_NAMES, Kept
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import Register, RegisterKey, Section, Version

#: Outcomes without a write.
_UNWRITTEN = frozenset({AckState.REJECTED, AckState.EXPIRED, AckState.SUPERSEDED})


def as_it_is(told: Register, table: TwinTable, ledger: Ledger) -> Register:
    """A register that is given back; of an ack, or an override, that says `applied` though something else may have
    been written after that, that it is yet to be carried out: the device is asked."""
    key, since = told.key, ledger.forked_at(told.version.seq) or told.version.seq
    if key.section is Section.ACK and told.value is not None:
        ack = Ack.from_value(told.value)
        is_unsure = _acts_since(key, since, table, ack.version) or _overrides_since(key, since, table)
        return replace(told, value=_unsure(ack).to_value()) if is_unsure else told
    override = Override.read(told.value) if key.section is Section.OVERRIDE else None
    if override is None or override.ack is None:
        return told
    is_unsure = _acts_since(key, since, table) or _overrides_since(key, since, table, override.id)
    return replace(told, value=override.with_ack(_unsure(override.ack)).to_value()) if is_unsure else told


def widened(told: Register, table: TwinTable, ledger: Ledger) -> Register:
    """The note of what is left of a device's registers was made before this process began: what the device said
    since is there as well."""
    kept = Kept.of(told) if told.key.name in NOTE_NAMES else None
    if kept is None:
        return told
    device, start = told.key.device, ledger.start
    since = {s: {n for n, each in table.section(device, s).items() if each.lsn > start} for s in kept.names}
    names = {s: listed | since[s] for s, listed in kept.names.items()}
    return replace(told, value=replace(kept, names=names).to_value())


def _unsure(ack: Ack) -> Ack:
    if ack.state is not AckState.APPLIED:
        return ack
    message = "it was applied; another value may have been written since"
    return replace(ack, state=AckState.DELIVERED, message=message, observed=None)


def _acts_since(key: RegisterKey, since: int, table: TwinTable, but: Version | None = None) -> bool:
    """Whether a desired value of another version may have been written; it is tried again if it was not settled."""
    said = table.get(key._replace(section=Section.ACK))
    if said is None or said.register.value is None:
        return False
    ack = Ack.from_value(said.register.value)
    may_be_written = ack.state not in _UNWRITTEN and ack.code != OVERRIDDEN
    return ack.version != but and may_be_written and (said.register.version.seq > since or not ack.settled)


def _overrides_since(key: RegisterKey, since: int, table: TwinTable, but: OverrideId | None = None) -> bool:
    """Whether another override may have been written."""
    held, override = table.get(key._replace(section=Section.OVERRIDE)), override_of(table, key.device, key.name)
    if held is None or override is None:
        return False
    is_settled = override.ack is not None and override.ack.settled
    return override.id != but and override.attempted and (held.register.version.seq > since or not is_settled)
