"""What a holder is given back says what its device held in the history that was lost. A store that was put back to an
older copy may have acted since, and then that is not so any more.
"""

from __future__ import annotations

from dataclasses import replace

from twingateway.gateway.state.overridden import override_of
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import OVERRIDDEN, Ack, AckState
from twingateway.twin.register import Register, RegisterKey, Section

#: Outcomes without a write.
_UNWRITTEN = frozenset({AckState.REJECTED, AckState.EXPIRED, AckState.SUPERSEDED})


def as_it_is(told: Register, table: TwinTable, since: int) -> Register:
    """A register that is given back; of an ack that says `applied` while something else may have been written under a
    number above `since`, that the value is yet to be carried out: the device is asked."""
    if told.key.section is not Section.ACK or told.value is None:
        return told
    ack = Ack.from_value(told.value)
    if ack.state is not AckState.APPLIED or not _is_written_since(told.key, ack, table, since):
        return told
    message = "it was applied; another value may have been written since"
    unsure = replace(ack, state=AckState.DELIVERED, message=message, observed=None)
    return replace(told, value=unsure.to_value())


def _is_written_since(key: RegisterKey, told: Ack, table: TwinTable, since: int) -> bool:
    said = table.get(key)
    if said is not None and said.register.value is not None and said.register.version.seq > since:
        ack = Ack.from_value(said.register.value)
        if ack.version != told.version and ack.state not in _UNWRITTEN and ack.code != OVERRIDDEN:
            return True
    held, override = table.get(key._replace(section=Section.OVERRIDE)), override_of(table, key.device, key.name)
    return held is not None and override is not None and override.attempted and held.register.version.seq > since
