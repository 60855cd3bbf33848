"""What a holder is given back says what its device held in the history that was lost. A store that was put back to an
older copy may have acted since, and then that is not so any more.
"""

from __future__ import annotations

from dataclasses import replace

from twingateway.gateway.state.overridden import override_of
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import OVERRIDDEN, Ack, AckState
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import Register, RegisterKey, Section, Version

#: Outcomes without a write.
_UNWRITTEN = frozenset({AckState.REJECTED, AckState.EXPIRED, AckState.SUPERSEDED})


def as_it_is(told: Register, table: TwinTable, since: int) -> Register:
    """A register that is given back; of an ack, or an override, that says `applied` while something else may have been
    written under a number above `since`, that the value is yet to be carried out: the device is asked."""
    if told.key.section is Section.ACK and told.value is not None:
        ack = Ack.from_value(told.value)
        if _acts_since(told.key, since, table, ack.version) or _overrides_since(told.key, since, table):
            return replace(told, value=_unsure(ack).to_value())
    override = Override.read(told.value) if told.key.section is Section.OVERRIDE else None
    if override is not None and override.ack is not None:
        if _acts_since(told.key, since, table) or _overrides_since(told.key, since, table, override.id):
            return replace(told, value=override.with_ack(_unsure(override.ack)).to_value())
    return told


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
