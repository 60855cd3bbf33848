"""What clients wrote and what may be left of it: a register per name, and real time is the only order.

A write is *done* when its client was told so, *refused* when it was told that nothing happened, and *unknown* when it
was told nothing (it gave up, or the root died). Of two writes one is before the other only if it had ended before the
other was asked for. What may be read at the end is any write that no done write is after.

Excuse. A root that is put back to an older copy loses what it had acknowledged since, unless a node below has it: so
whenever a disk is replaced, a done write of which no disk in the world has any trace (neither it nor anything later)
is *lost*: nobody can know of it any more, and what was before it may be read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from twingateway.twin.register import ZERO, Version

Key = tuple[str, str]
"""(device, what): the name of a desired property or label, or one of the two below."""
ALIVE, HOLDER = "is alive", "is held by"
ANYBODY = "anybody"
DONE, REFUSED, UNKNOWN, LOST, OPEN = "done", "refused", "unknown", "lost", "open"


@dataclass(eq=False, slots=True)
class Write:
    """`ended`: when its client was told, or when nothing could come of it any more."""

    key: Key
    value: Any
    asked: float
    ended: float = inf
    outcome: str = OPEN
    ttl: float | None = None
    grant: tuple[int, int] | None = None
    """Of what is written into the lifecycle: incarnation and epoch."""
    version: Version = ZERO
    """Of the lifecycle of a device that was moved: roots that were put back may grant the same epoch twice."""

    def is_before(self, other: Write) -> bool:
        return self.ended < other.asked

    def __str__(self) -> str:
        return f"{self.value} ({self.outcome})"


@dataclass(slots=True)
class Writes:
    """All of them, by key, in the order in which they were asked for."""

    by_key: defaultdict[Key, list[Write]] = field(default_factory=lambda: defaultdict(list))

    def ask(self, key: Key, value: Any, now: float, ttl: float | None = None) -> Write:
        write = Write(key, value, now, ttl=ttl)
        self.by_key[key].append(write)
        return write

    def root_died(self, now: float) -> None:
        """Nothing comes any more of what nobody was told about."""
        for write in self._all():
            if write.ended == inf:
                write.ended = now
                write.outcome = UNKNOWN

    def is_moved_since(self, device: str, since: float) -> bool:
        """Whether the device may have changed hands since then."""
        return any(each.ended >= since and each.outcome != REFUSED for each in self.by_key[device, HOLDER])

    def excuse(self, since: float) -> None:
        """Nothing that was asked for since then needs to be kept."""
        for write in self._all():
            if write.asked >= since and write.outcome == DONE:
                write.outcome = LOST

    def allowed(self, key: Key, initial: Any, *, lost: bool = False) -> list[Any]:
        """What may be read of this key; what is `lost` may be required as well."""
        required = (DONE, LOST) if lost else (DONE,)
        writes = [write for write in self.by_key[key] if write.outcome != REFUSED]
        done = [write for write in writes if write.outcome in required]
        values = [write.value for write in writes if not any(write.is_before(other) for other in done)]
        return values if done else [initial, *values]

    def find(self, key: Key, value: Any) -> Write | None:
        return next((write for write in self.by_key[key] if write.value == value), None)

    def lose(self, key: Key, is_on_a_disk: Callable[[Write], bool]) -> list[Write]:
        """A disk was replaced: those of which nothing can be known any more."""
        writes = self.by_key[key]
        known = [write for write in writes if is_on_a_disk(write)]
        gone = [
            write
            for write in writes
            if write.outcome == DONE and write not in known and not any(write.is_before(other) for other in known)
        ]
        for write in gone:
            write.outcome = LOST
        return gone

    def _all(self) -> Iterable[Write]:
        return (write for writes in self.by_key.values() for write in writes)
