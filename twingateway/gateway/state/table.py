"""Every register this node has, in memory: what is shown, compared and replicated.

The table keeps tombstones (they have versions) until they are collected, and applies iff greater; durability is the
committer's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import KEPT_NAME, LIFECYCLE_NAME, LISTED_IN, NOTE_NAMES, SLICES, Kept, slice_of
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister
from twingateway.twin.value import Value

_Sections = dict[Section, dict[str, StoredRegister]]
_NO_SECTIONS: Mapping[Section, dict[str, StoredRegister]] = MappingProxyType({})
_EMPTY: Mapping[str, StoredRegister] = MappingProxyType({})


class TwinTable:
    """Registers by device, section and name."""

    def __init__(self, registers: Iterable[StoredRegister] = (), floor: int = 0) -> None:
        """`floor`: the highest lsn of any register that was removed before."""
        self._twins: dict[DeviceId, _Sections] = {}
        self._notes: dict[RegisterKey, tuple[Register, Kept | None]] = {}
        """What the notes say that were asked for."""
        self.highest_lsn = floor
        """The highest lsn that a register here has or had."""
        for stored in registers:
            self.put(stored)

    def __len__(self) -> int:
        """How many registers it holds."""
        return sum(len(names) for sections in self._twins.values() for names in sections.values())

    def __contains__(self, device: DeviceId) -> bool:
        return device in self._twins

    def get(self, key: RegisterKey) -> StoredRegister | None:
        names = self._twins.get(key.device, _NO_SECTIONS).get(key.section)
        return None if names is None else names.get(key.name)

    def put(self, stored: StoredRegister) -> bool:
        """Apply iff its version is greater; True when it was applied."""
        key = stored.register.key
        sections = self._twins.get(key.device)
        if sections is None:
            sections = self._twins[key.device] = {}
        names = sections.get(key.section)
        if names is None:
            names = sections[key.section] = {}
        current = names.get(key.name)
        if current is not None and stored.register.version <= current.register.version:
            return False
        names[key.name] = stored
        if stored.lsn > self.highest_lsn:
            self.highest_lsn = stored.lsn
        return True

    def renumber(self, stored: StoredRegister) -> None:
        """The same register under a fresh lsn (its device entered a peer's scope)."""
        key = stored.register.key
        self._twins[key.device][key.section][key.name] = stored
        self.highest_lsn = max(self.highest_lsn, stored.lsn)

    def section(self, device: DeviceId, section: Section) -> Mapping[str, StoredRegister]:
        """One section by name, tombstones included."""
        return self._twins.get(device, {}).get(section, _EMPTY)

    def sections(self, device: DeviceId, sections: Iterable[Section]) -> list[StoredRegister]:
        """All registers of several sections, tombstones included."""
        return [stored for section in sections for stored in self.section(device, section).values()]

    def values(self, device: DeviceId, section: Section) -> dict[str, Value]:
        """One section's present values by name; of desired ones the plain value, without its terms."""
        return {
            name: plain(stored.register.value) if section is Section.DESIRED else stored.register.value
            for name, stored in self.section(device, section).items()
            if stored.register.value is not None
        }

    def value(self, device: DeviceId, section: Section, name: str) -> Value:
        stored = self.section(device, section).get(name)
        return None if stored is None else stored.register.value

    def devices(self) -> Iterator[DeviceId]:
        return iter(list(self._twins))

    def device(self, device: DeviceId) -> Iterator[StoredRegister]:
        """All registers of one device."""
        for names in list(self._twins.get(device, {}).values()):
            yield from list(names.values())

    def registers(self) -> Iterator[StoredRegister]:
        for device in self.devices():
            yield from self.device(device)

    def forget(self, key: RegisterKey) -> None:
        """Remove a register altogether."""
        self._twins.get(key.device, {}).get(key.section, {}).pop(key.name, None)
        self._notes.pop(key, None)

    def is_ended(self, register: Register) -> bool:
        """Whether it belongs to an incarnation of its device that has ended."""
        device, section, name = register.key
        lifecycle = self.section(device, Section.LIFECYCLE).get(LIFECYCLE_NAME)
        if lifecycle is None or section is Section.REACH or (section, name) == (Section.LIFECYCLE, LIFECYCLE_NAME):
            return False
        now, value = lifecycle.register.version.incarnation, lifecycle.register.value
        is_deleted = isinstance(value, dict) and value.get("state") == "deleted"
        return register.version.incarnation < now + is_deleted

    def is_collected(self, register: Register) -> bool:
        """Whether its writer has said that it is gone, tombstone and all. All slices are written together: those that
        arrive before the first of them count when that is here."""
        device, section, name = register.key
        home = LISTED_IN.get(section)
        if home is None:
            return False
        said = self.section(device, home)
        notes = (KEPT_NAME, slice_of(name)) if SLICES[0] in said else (KEPT_NAME,)
        return any(kept.is_gone(register.key, register.version) for kept in self._kept(said, notes))

    def kept(self, device: DeviceId, home: Section) -> list[Kept]:
        """What the writer of the section `home` has said is left of a twin."""
        return self._kept(self.section(device, home), NOTE_NAMES)

    def _kept(self, said: Mapping[str, StoredRegister], names: Iterable[str]) -> list[Kept]:
        notes = (self._read(said[name].register) for name in names if name in said)
        return [kept for kept in notes if kept is not None]

    def _read(self, note: Register) -> Kept | None:
        """Every register that comes asks for them, so they are not taken apart each time."""
        register, kept = self._notes.get(note.key, (None, None))
        if register is not note:
            kept = Kept.of(note)
            self._notes[note.key] = note, kept
        return kept
