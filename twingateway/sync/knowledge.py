"""What two stores know of themselves and of each other, in the words of sync.

These mirror the records of the store port, which this layer must not import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalStore:
    """This node's store.

    `boots`: every boot of this store id with the highest lsn that it can have issued: all that this store can have
    told others. `durable`: the highest lsn that it held when it was opened; `start`: the highest that can have been
    issued before. Between the two lies what was given up, so no `low` of ours was ever there, unless the store is an
    older copy of itself.
    """

    node: str
    store_id: bytes
    boot_id: bytes
    boots: Mapping[bytes, int]
    durable: int = 0
    start: int = 0


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
