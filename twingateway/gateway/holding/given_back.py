"""What a holder is given back of what it had told before its store was replaced, as it is to take it.

It says what the device held in the history that was lost, and what was left of its registers then. A store that was
put back to an older copy may have acted, and its device have reported, since; so may a former holder.
"""

from __future__ import annotations

from dataclasses import replace

from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import Ack
from twingateway.twin.kept import NOTE_NAMES, Kept
from twingateway.twin.override import Override
from twingateway.twin.register import Register, Section


def handed_over(told: Register) -> Register:
    """What a holder said of its device under another grant, as it is to be taken under the next: a write may have
    been made since of which nobody who tells it had heard, so what was applied is to be asked for."""
    section, value = told.key.section, told.value
    if section is Section.ACK and value is not None:
        return replace(told, value=Ack.from_value(value).handed_over().to_value())
    override = Override.read(value) if section is Section.OVERRIDE else None
    if override is None or override.ack is None:
        return told
    return replace(told, value=override.with_ack(override.ack.handed_over()).to_value())


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
