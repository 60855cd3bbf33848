"""What a root that was found rolled back notes of a device, in the device's lifecycle register.

Two histories fork where the backup was taken: the lost one, which only nodes below know parts of, and the one since
the restore. What was written since is the newest; then comes the lost history, of which every claimant may know more
than the one before; then the backup. Versions are in order within each history, not between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twingateway.gateway.claims import lifecycle_key
from twingateway.twin.register import ZERO, Register, StoredRegister, Version
from twingateway.twin.value import Value

#: Members of a lifecycle register, beside DOUBT. RESTORED: the note. DECIDED: what somebody did with the device since
#: the restore: MADE, if it was created or deleted, so that what others have of it is void, or ONLY_MOVED. MOVED_IN:
#: the last lsn from before the process in which it was moved last.
RESTORED, DECIDED, MOVED_IN = "restored", "decided", "moved_in"
MADE, ONLY_MOVED = "made", "moved"


@dataclass(frozen=True, slots=True)
class Restored:
    """`since`: the seq behind which, or from the first adoption on the incarnation and epoch from which, registers
    were written since the restore. `known`, `lifecycle`: how far the lost history is known: the greatest version of
    any of the root's registers, and of the lifecycle."""

    since: int | tuple[int, int]
    known: Version
    lifecycle: Version

    @classmethod
    def of(cls, lifecycle: Mapping[str, Value]) -> Restored | None:
        """From the value of a lifecycle register, None if its root was never rolled back."""
        note = lifecycle.get(RESTORED)
        if not isinstance(note, dict):
            return None
        known, state, since = _version(note.get("known")), _version(note.get("lifecycle")), note.get("since")
        if isinstance(since, list):
            return cls(_version([*since, 0])[:2], known, state)
        return cls(since if isinstance(since, int) else 0, known, state)

    def to_value(self) -> dict[str, Value]:
        since: Value = self.since if isinstance(self.since, int) else list(self.since)
        return {"since": since, "known": list(self.known), "lifecycle": list(self.lifecycle)}

    def is_since(self, stored: StoredRegister) -> bool:
        """Whether the root wrote this after it was restored."""
        if isinstance(self.since, int):
            return stored.register.version.seq > self.since
        return stored.register.version[:2] >= self.since

    def is_news(self, claimed: Version) -> bool:
        """Whether who has this version of the root's knows of the lost history what is not known yet."""
        since = self.since
        return claimed > self.known and (isinstance(since, int) or claimed[:2] < since)

    def told(self, registers: Iterable[Register], begun: tuple[int, int]) -> Restored:
        """After these were adopted, and an epoch was begun."""
        since = begun if isinstance(self.since, int) else self.since
        lost = [each for each in registers if isinstance(self.since, int) or each.version[:2] < self.since]
        states = [each.version for each in lost if each.key == lifecycle_key(each.key.device)]
        known = max([self.known, *(each.version for each in lost)])
        return Restored(since, known, max([self.lifecycle, *states]))


def _version(value: Value) -> Version:
    numbers = [each for each in value if isinstance(each, int)] if isinstance(value, list) else []
    return Version(*numbers) if len(numbers) == len(ZERO) else ZERO
