"""What two stores know of themselves and of each other, in the words of sync.

These mirror the records of the store port, which this layer must not import.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twingateway.twin.record import record


def gap_of(gaps: Sequence[tuple[int, int]], lsn: int) -> tuple[int, int] | None:
    """The one of `gaps`, ascending, that this lsn lies in."""
    index = bisect_left(gaps, (lsn, 0)) - 1
    found = gaps[index] if index >= 0 else None
    return found if found is not None and found[0] < lsn <= found[1] else None


@dataclass(frozen=True, slots=True)
class LocalStore:
    """This node's store.

    `boots`: every boot of this store id with the highest lsn that it can have issued: all that this store can have
    told others. `gaps`: ascending, each (highest lsn stored, the one behind which it began) at an opening; what
    lies above the first up to the second was given up or passed over, so no `low` of ours was ever there, unless the
    store is an older copy of itself. `opened`: the last lsn that can have been issued before this opening.
    """

    node: str
    store_id: bytes
    boot_id: bytes
    boots: Mapping[bytes, int]
    gaps: Sequence[tuple[int, int]] = ()
    opened: int = 0

    def gap(self, lsn: int) -> tuple[int, int] | None:
        return gap_of(self.gaps, lsn)

    def forked_at(self, boot_id: bytes, *lsns: int) -> int:
        """Where another history of this store left this one, that was in this boot, unknown here perhaps, and issued
        these lsns: the last lsn from before this one went on. As far as can be told: else the start of this boot."""
        known = self.boots.get(boot_id, 0)
        gaps = (self.gap(lsn) for lsn in sorted((known, *lsns)))
        return next((gap[1] for gap in gaps if gap is not None), self.opened)


@record
class PeerKnowledge:
    """What this store knows of a peer's store.

    `low`: everything of the peer's up to that lsn is durable here. `(boot_id, lsn)`: the highest position of the
    peer's that was received.
    """

    store_id: bytes
    low: int = 0
    boot_id: bytes = b""
    lsn: int = 0

    @property
    def process(self) -> tuple[bytes, bytes]:
        """Of the peer: its (store, boot)."""
        return self.store_id, self.boot_id
