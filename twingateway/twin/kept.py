"""What stands for tombstones that were collected: a register that names what is left.

A removed property leaves a tombstone, which must outlive every copy of the value it removed. Instead of keeping each
for ever, the writer of a twin's sections replaces them by one register that says: of everything up to this version
(the floor) only these names are left. Being a register it travels, is stored, resumed and restored like any other, so
whoever still has an older copy, however long it was away, learns from it what to remove.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value

#: The registers of a twin's lifecycle section; a holder's `kept` is in the presence section.
LIFECYCLE_NAME = "state"
KEPT_NAME = "kept"
#: Where the names of a twin are too many for one register they are told in these, each of one slice of all names.
SLICES = tuple(f"{KEPT_NAME}/{digit:x}" for digit in range(16))
NOTE_NAMES = (KEPT_NAME, *SLICES)
#: Section of the register → the sections of its writer's that it lists.
LISTED: Mapping[Section, tuple[Section, ...]] = {
    Section.LIFECYCLE: (Section.DESIRED, Section.TAGS),
    Section.PRESENCE: (Section.REPORTED, Section.ACK, Section.OVERRIDE),
}
#: The other way round.
LISTED_IN: Mapping[Section, Section] = {section: home for home, listed in LISTED.items() for section in listed}

_FLOOR = "floor"
_NOTHING_SAID: Value = "nothing"


def slice_of(name: str) -> str:
    """The register of `SLICES` that speaks of this name, if any does."""
    return SLICES[blake2b(name.encode(errors="replace"), digest_size=8).digest()[0] >> 4]


@dataclass(frozen=True, slots=True)
class Kept:
    """`names`: what is left of each section, as far as it is not newer than `floor` anyway. `part`: the one of
    `SLICES` that it speaks of, None for all names."""

    floor: Version
    names: Mapping[Section, frozenset[str]]
    part: str | None = None

    def is_gone(self, key: RegisterKey, version: Version) -> bool:
        """Whether this version of a register was removed."""
        names = self.names.get(key.section)
        if names is None or version > self.floor or key.name in names:
            return False
        return self.part is None or self.part == slice_of(key.name)

    def sliced(self) -> list[Kept]:
        """The same, each slice by itself."""
        names: dict[str, dict[Section, set[str]]] = {part: {s: set() for s in self.names} for part in SLICES}
        for section, listed in self.names.items():
            for name in listed:
                names[slice_of(name)][section].add(name)
        return [
            Kept(self.floor, {section: frozenset(listed) for section, listed in names[part].items()}, part)
            for part in SLICES
        ]

    def to_value(self) -> dict[str, Value]:
        lists: dict[str, Value] = {section.value: list[Value](sorted(names)) for section, names in self.names.items()}
        return {_FLOOR: str(self.floor), **lists}

    @classmethod
    def of(cls, register: Register) -> Kept | None:
        """What a `kept` register says; None for one that makes no sense. It speaks of the past only, so its floor is
        below its own version; and of the sections that it lists only."""
        value = register.value
        if not isinstance(value, dict):
            return None
        try:
            floor = Version.parse(str(value.get(_FLOOR)))
        except ValueError:
            return None
        names: dict[Section, frozenset[str]] = {}
        for section in LISTED.get(register.key.section, ()):
            listed = value.get(section.value, _NOTHING_SAID)
            if listed is _NOTHING_SAID:
                continue
            if not isinstance(listed, list):
                return None
            names[section] = frozenset(map(str, listed))
        part = register.key.name if register.key.name in SLICES else None
        return cls(floor, names, part) if floor < register.version else None
