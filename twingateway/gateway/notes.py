"""The note of what is left of a twin (`twin.kept`), drawn up from what its writer has now."""

from __future__ import annotations

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.ledger import Draft, Ledger
from twingateway.gateway.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import KEPT_NAME, LISTED, Kept
from twingateway.twin.register import ZERO, RegisterKey, Section, Version
from twingateway.validation.normalise import normalise


def draw_up(table: TwinTable, ledger: Ledger, device: DeviceId, home: Section, least: Version = ZERO) -> Draft | None:
    """Of the sections that notes in `home` list; the floor is `least` or what any of them has. None if the names
    are too many for a register."""
    registers = [stored.register for section in LISTED[home] for stored in table.section(device, section).values()]
    present = [register.key for register in registers if register.value is not None]
    present += ledger.being_written(device)
    names = {s: frozenset(key.name for key in present if key.section is s) for s in LISTED[home]}
    value = Kept(max([least, *(register.version for register in registers)]), names).to_value()
    try:
        return Draft(RegisterKey(device, home, KEPT_NAME), normalise(value, KEPT_NAME))
    except (TooLarge, InvalidValue):
        return None
