"""What two stores know of themselves and of each other, in the words of sync.

These mirror the records of the store port, which this layer must not import.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalStore:
    """This node's store.

    `boots`: every boot of this store id with the highest lsn that it can have issued: all that this store can have
    told others. `gaps`: ascending, each (highest lsn stored, highest reserved) at an opening; what lies above the
    first up to the second was given up, so no `low` of ours was ever there, unless the store is an older copy of
    itself. `opened`: the last lsn that can have been issued before this opening.
    """

    node: str
    store_id: bytes
    boot_id: bytes
    boots: Mapping[bytes, int]
    gaps: Sequence[tuple[int, int]] = ()
    opened: int = 0

    def gap(self, lsn: int) -> tuple[int, int] | None:
        """The gap that this lsn lies in."""
        index = bisect_left(self.gaps, (lsn, 0)) - 1
        found = self.gaps[index] if index >= 0 else None
        return found if found is not None and found[0] < lsn <= found[1] else None


@dataclass(frozen=True, slots=True)
class PeerKnowledge:
    """What this store knows of a peer's store.

    `low`: everything of the peer's up to that lsn is durable here. `(boot_id, lsn)`: the highest position of the
    peer's that was received.
    """

    store_id: bytes
    low: int = 0
    boot_id: bytes = b""
    lsn: int = 0
