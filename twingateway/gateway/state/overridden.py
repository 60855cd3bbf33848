"""What the registers of a twin say of local overrides, read leniently: what makes no sense is not there."""

from __future__ import annotations

from twingateway.gateway.state.table import TwinTable
from twingateway.twin.conflict import Verdict, is_open
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override
from twingateway.twin.register import ZERO, RegisterKey, Section, Version


def override_of(table: TwinTable, device: DeviceId, name: str) -> Override | None:
    """The newest of a property, whatever became of it."""
    return Override.read(table.value(device, Section.OVERRIDE, name))


def verdict_of(table: TwinTable, device: DeviceId, name: str) -> tuple[Verdict | None, Version]:
    """The root's newest on a property, and the version of its register."""
    stored = table.get(RegisterKey(device, Section.VERDICT, name))
    return (None, ZERO) if stored is None else (Verdict.read(stored.register.value), stored.register.version)


def open_overrides(table: TwinTable, device: DeviceId) -> dict[str, Override]:
    """By property: those that are neither withdrawn nor decided, as far as is known here."""
    found = {}
    for name in table.section(device, Section.OVERRIDE):
        override = override_of(table, device, name)
        if override is not None and is_open(override, verdict_of(table, device, name)[0]):
            found[name] = override
    return found
