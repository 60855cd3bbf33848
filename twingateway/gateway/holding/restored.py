"""What a root that was found rolled back notes of a device, in the device's lifecycle register.

Two histories fork where the backup was taken: the lost one, which only nodes below know parts of, and the one since
the restore. What was written since is the newest; then comes the lost history, of which every claimant may know more
than the one before; then the backup. Versions are in order within each history, not between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.twin.register import ZERO, Register, Version
from twingateway.twin.value import Value

#: Members of a lifecycle register, beside DOUBT. RESTORED: the note. DECIDED: what somebody did with the device since
#: the restore: MADE, if it was created or deleted, so that what others have of it is void, or ONLY_MOVED. MOVED_IN,
#: MADE_IN: the last lsn from before the process in which it was moved, or created, last.
RESTORED, DECIDED, MOVED_IN, MADE_IN = "restored", "decided", "moved_in", "made_in"
MADE, ONLY_MOVED = "made", "moved"


@dataclass(frozen=True, slots=True)
class Restored:
    """`seq`: the last from before the restore. `since`: the incarnation and epoch from which on registers were
    written since the restore, None before the first adoption: then `seq` says it. `lifecycle`: the greatest version
    of the lifecycle's in the lost history, as far as that is known. `store`: the id that the root's store had when
    this was noted, in hexadecimal: it has another one since the repair is over."""

    seq: int
    since: tuple[int, int] | None
    lifecycle: Version
    store: str = ""

    @classmethod
    def of(cls, lifecycle: Mapping[str, Value]) -> Restored | None:
        """From the value of a lifecycle register, None if its root was never rolled back."""
        note = lifecycle.get(RESTORED)
        if not isinstance(note, dict):
            return None
        seq, since = note.get("seq"), note.get("since")
        begun = _version([*since, 0])[:2] if isinstance(since, list) else None
        lifecycle_version, store = _version(note.get("lifecycle")), str(note.get("store", ""))
        return cls(seq if isinstance(seq, int) else 0, begun, lifecycle_version, store)

    def to_value(self) -> dict[str, Value]:
        since: Value = None if self.since is None else list(self.since)
        return {"seq": self.seq, "since": since, "lifecycle": list(self.lifecycle), "store": self.store}

    def is_since(self, version: Version, *, is_issued: bool) -> bool:
        """Whether the root wrote this after it was restored. `is_issued`: this history of its store issued the seq;
        of a store that was lost (its `seq` is 0) that says nothing."""
        if self.seq:
            return is_issued and version.seq > self.seq
        return self.since is not None and version[:2] >= self.since

    def is_news(self, claimed: Version) -> bool:
        """Whether who has this version of the root's, and none that is greater, may know of the lost history what is
        not known yet. A root that was restored more than once lost several, and none says how far another went."""
        return self.since is None or claimed[:2] < self.since

    def told(self, lost: Iterable[Register], begun: tuple[int, int]) -> Restored:
        """After these of the lost history were adopted, and an epoch was begun."""
        states = [r.version for r in lost if r.key == lifecycle_key(r.key.device)]
        return Restored(self.seq, self.since or begun, max([self.lifecycle, *states]), self.store)


def _version(value: Value) -> Version:
    numbers = [each for each in value if isinstance(each, int)] if isinstance(value, list) else []
    return Version(*numbers) if len(numbers) == len(ZERO) else ZERO
