"""The note of what is left of a twin (`twin.kept`), drawn up from what its writer has now."""

from __future__ import annotations

from contextlib import suppress

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import KEPT_NAME, LISTED, NOTE_NAMES, Kept
from twingateway.twin.register import ZERO, RegisterKey, Section, Version
from twingateway.validation.normalise import normalise


def draw_up(table: TwinTable, ledger: Ledger, device: DeviceId, home: Section, least: Version = ZERO) -> list[Draft]:
    """Of the sections that notes in `home` list; the floor is `least` or what any of them has. In slices where the
    names are too many for one register; nothing where they are too many for those."""
    registers = [stored.register for stored in table.sections(device, LISTED[home])]
    present = [register.key for register in registers if register.value is not None]
    present += ledger.being_written(device)
    names = {s: frozenset(key.name for key in present if key.section is s) for s in LISTED[home]}
    kept = Kept(max([least, *(register.version for register in registers)]), names)
    for parts in ([kept], kept.sliced()):
        with suppress(TooLarge, InvalidValue):
            return [_draft(device, home, part) for part in parts]
    return []


def was_told(table: TwinTable, device: DeviceId, home: Section, granted: tuple[int, int]) -> bool:
    """Whether there is a note of that incarnation and epoch."""
    section = table.section(device, home)
    notes = (section[name].register for name in NOTE_NAMES if name in section)
    return any(note.version[:2] == granted for note in notes)


def _draft(device: DeviceId, home: Section, kept: Kept) -> Draft:
    name = kept.part or KEPT_NAME
    return Draft(RegisterKey(device, home, name), normalise(kept.to_value(), name))
