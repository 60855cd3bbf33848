"""The port to durable state.

One rule above all: when `commit` returns, everything in it survives a power cut. A store has one writer; callers may
commit concurrently and are grouped.

A store may set room aside for the day when there is none left. Then it refuses what is new and takes what is *vital*:
changes that replace others, and what is needed to carry out what was taken before. `recover` ends that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twingateway.ports.journal import Filing, JournalStore
from twingateway.twin.identity import DeviceId
from twingateway.twin.record import record
from twingateway.twin.register import RegisterKey, StoredRegister, Version


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """`store_id`: random, new whenever the store was found rolled back. `boot_id`: random, new at each opening."""

    store_id: bytes
    boot_id: bytes


@record
class PeerRecord:
    """What this store knows of a peer's store.

    `low`: the greatest `low` received: everything of the peer's up to that lsn is durable here.
    `boot_id`, `lsn`: the highest position of the peer's that was received (to tell it should it be rolled back).
    """

    peer: str
    store_id: bytes
    low: int = 0
    boot_id: bytes = b""
    lsn: int = 0


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model document in canonical JSON, by namespace and `name@version`."""

    namespace: str
    ref: str
    digest: str
    document: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The holder is about to write this desired version to the device (rule 12)."""

    device: DeviceId
    name: str
    version: Version


@dataclass(frozen=True, slots=True)
class Removal:
    """Remove a register altogether, unless it has a greater version by then. A desired one takes its attempt with
    it."""

    key: RegisterKey
    version: Version


@dataclass(slots=True)
class Changes:
    """One unit of durability. Lists are applied in the order given, `forget` last; later entries win.

    Of a register the greatest version and the greatest lsn are kept, in whatever order they come.
    """

    registers: list[StoredRegister] = field(default_factory=list)
    peers: list[PeerRecord] = field(default_factory=list)
    models: list[StoredModel] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    forget: list[Removal] = field(default_factory=list)
    journal: list[Filing] = field(default_factory=list)
    """Entries that begin here; the store gives journal id (its boot id) and seq."""
    delivered: dict[str, int] = field(default_factory=dict)
    """By class: everything queued up to that position is durable at the parent and goes."""
    vital: bool = False
    """May use the room that is set aside."""

    def __bool__(self) -> bool:
        records = (self.registers, self.peers, self.models, self.attempts, self.forget, self.journal, self.delivered)
        return any(records)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a store holds, as read at its opening."""

    registers: list[StoredRegister]
    peers: Mapping[str, PeerRecord]
    models: list[StoredModel]
    attempts: list[Attempt]
    boots: Mapping[bytes, int]
    """Every boot of this store id, with the highest lsn reserved by its end: what this store can have told others."""
    gaps: Sequence[tuple[int, int]] = ()
    """Ascending, one for each opening: (highest lsn that was stored then, the one behind which it began). Lsns above
    the first up to the second were given up or passed over, so this store never told anybody that it had them: who
    knows of one knows another history of it."""
    floor: int = 0
    """The highest lsn of any register that was removed: what peers were told about it is true still."""


def passed_over(boot_id: bytes) -> int:
    """How many lsns an opening passes over: as random as its boot id."""
    return 1 + int.from_bytes(boot_id[:4])


class Store(JournalStore, Protocol):
    @property
    def identity(self) -> StoreIdentity: ...

    async def load(self) -> Snapshot: ...

    async def reserve(self, count: int) -> range:
        """`count` fresh lsns, durably: no later call, in this process or another, returns any of them. Each opening
        but the first begins a random distance (up to 2³²) behind what was reserved before, so that a copy of this
        store and the store itself do not issue the same ones."""
        ...

    async def commit(self, changes: Changes) -> None:
        """Make durable. Raises StoreFull (nothing of it was kept) or StoreError."""
        ...

    async def recover(self) -> None:
        """After StoreFull: set room aside again, then everything is taken again. Raises StoreFull while there is not
        enough of it."""
        ...

    async def renew_identity(self) -> StoreIdentity:
        """Take a new store id (this store was found to be an older copy of itself); the boot id stays, others go.
        The gaps stay, too: they tell what this history issued."""
        ...

    async def close(self) -> None: ...
