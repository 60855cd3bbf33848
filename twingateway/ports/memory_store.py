"""The store in memory: the same promises, on a `MemoryDisk` that outlives a simulated crash."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twingateway.errors import StoreError, StoreFull
from twingateway.ports.journal import ALL, NEWEST, About, Bucket, Depth, Filing, Placed, Point, Span, Told
from twingateway.ports.memory_journal import MemoryJournal, copied
from twingateway.ports.store import (
    Attempt,
    Changes,
    PeerRecord,
    Removal,
    Snapshot,
    StoredModel,
    StoreIdentity,
    passed_over,
)
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister


@dataclass(slots=True)
class MemoryDisk:
    """What is durable. `full`: refuse every write; `low`: every one that is not vital. `in_use`: a store has it open;
    a test that simulates a crash sets it to False and drops the store. A deep copy of a disk is a backup."""

    full: bool = False
    low: bool = False
    in_use: bool = False
    store_id: bytes = b""
    registers: dict[RegisterKey, StoredRegister] = field(default_factory=dict)
    peers: dict[str, PeerRecord] = field(default_factory=dict)
    models: dict[tuple[str, str], StoredModel] = field(default_factory=dict)
    attempts: dict[RegisterKey, Attempt] = field(default_factory=dict)
    """By the key of the desired register that was attempted."""
    reserved: int = 0
    boots: dict[bytes, int] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)
    floor: int = 0
    journal: MemoryJournal = field(default_factory=MemoryJournal)


class MemoryStore:
    """Implements `ports.store.Store`; `entropy` makes n random bytes (a simulation passes a seeded one)."""

    def __init__(self, disk: MemoryDisk | None = None, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._disk = disk = disk or MemoryDisk()
        self._entropy = entropy
        if disk.in_use:
            raise StoreError("this disk is in use by another store: close that one first")
        if disk.full:
            raise StoreFull("there is no space left for the store")
        disk.in_use = True
        disk.store_id = disk.store_id or entropy(16)
        self._boot_id = entropy(16)
        if disk.reserved:
            disk.reserved += passed_over(self._boot_id)
            highest = max((stored.lsn for stored in disk.registers.values()), default=0)
            disk.gaps[max(highest, disk.floor)] = disk.reserved
        disk.boots[self._boot_id] = disk.reserved
        self._closed = False

    @property
    def identity(self) -> StoreIdentity:
        return StoreIdentity(self._disk.store_id, self._boot_id)

    async def load(self) -> Snapshot:
        disk = self._disk
        return Snapshot(
            registers=[_copied(stored) for stored in disk.registers.values()],
            peers=dict(disk.peers),
            models=list(disk.models.values()),
            attempts=list(disk.attempts.values()),
            boots=dict(disk.boots),
            gaps=sorted(disk.gaps.items()),
            floor=disk.floor,
        )

    async def reserve(self, count: int) -> range:
        if count < 1:
            raise ValueError(f"cannot reserve {count} numbers")
        self._require_writable()
        first = self._disk.reserved + 1
        last = self._disk.reserved = self._disk.boots[self._boot_id] = first + count - 1
        await asyncio.sleep(0)
        return range(first, last + 1)

    async def commit(self, changes: Changes) -> None:
        if not changes:
            return
        self._require_writable(vital=changes.vital)
        disk = self._disk
        for stored in changes.registers:
            self._put(stored)
        disk.peers.update((peer.peer, peer) for peer in changes.peers)
        disk.models.update(((model.namespace, model.ref), model) for model in changes.models)
        for attempt in changes.attempts:
            disk.attempts[RegisterKey(attempt.device, Section.DESIRED, attempt.name)] = attempt
        for removal in changes.forget:
            self._remove(removal)
        disk.journal.begin(changes.journal, self._boot_id)
        disk.journal.delivered(changes.delivered)
        await asyncio.sleep(0)

    async def recover(self) -> None:
        self._require_writable(vital=False)

    async def renew_identity(self) -> StoreIdentity:
        self._require_writable()
        self._disk.store_id = self._entropy(16)
        self._disk.boots = {self._boot_id: self._disk.reserved}
        return self.identity

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._disk.in_use = False

    # --- JournalStore ---------------------------------------------------------------------------------------------

    async def receive(self, filings: Sequence[Filing]) -> list[JournalEntry]:
        self._require_writable(vital=False)
        taken = self._disk.journal.receive(filings)
        await asyncio.sleep(0)
        return taken

    async def journal_page(self, class_name: str, after: int, max_bytes: int) -> list[Placed]:
        await asyncio.sleep(0)
        return self._disk.journal.page(class_name, after, max_bytes)

    async def journal_told(self, namespace: str, class_name: str, behind: bytes, limit: int) -> list[Told]:
        await asyncio.sleep(0)
        return self._disk.journal.told(namespace, class_name, behind, limit)

    async def journal_depths(self) -> list[Depth]:
        return self._disk.journal.depths()

    async def evict(self, class_name: str, max_bytes: int, before: int) -> int:
        self._require_writable()
        return self._disk.journal.evict(class_name, max_bytes, before)

    async def kept_page(self, class_name: str, after: int, limit: int, about: About = ALL) -> list[Placed]:
        return self._disk.journal.kept_page(class_name, after, limit, about)

    async def kept_before(self, class_name: str, before: int | None, limit: int, about: About = ALL) -> list[Placed]:
        return self._disk.journal.kept_before(class_name, before, limit, about)

    async def prune_kept(self, class_name: str, most: int) -> int:
        self._require_writable()
        return self._disk.journal.prune_kept(class_name, most)

    async def points(self, span: Span, after: tuple[int, int], limit: int) -> list[Point]:
        return self._disk.journal.points(span, after, limit)

    async def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        return self._disk.journal.buckets(span, step, limit)

    async def series(self) -> list[tuple[DeviceId, str]]:
        return list(self._disk.journal.history)

    async def last_point(self, device: DeviceId, name: str, upto: tuple[int, int] = NEWEST) -> Point | None:
        return self._disk.journal.last_point(device, name, upto)

    async def history_bytes(self) -> int:
        return self._disk.journal.history_bytes()

    async def trim_history(self, max_bytes: int) -> int:
        self._require_writable()
        return self._disk.journal.trim_history(max_bytes)

    async def prune_points(self, device: DeviceId, name: str, retention: int, now: int) -> int:
        self._require_writable()
        return self._disk.journal.prune_points(device, name, retention, now)

    def _put(self, stored: StoredRegister) -> None:
        """Newest version's content, greatest lsn."""
        registers = self._disk.registers
        held = registers.get(stored.register.key)
        if held is None:
            registers[stored.register.key] = _copied(stored)
            return
        newest = _copied(stored) if stored.register.version > held.register.version else held
        registers[stored.register.key] = StoredRegister(newest.register, max(stored.lsn, held.lsn))

    def _remove(self, removal: Removal) -> None:
        held = self._disk.registers.get(removal.key)
        if held is None or held.register.version > removal.version:
            return
        del self._disk.registers[removal.key]
        self._disk.attempts.pop(removal.key, None)
        self._disk.floor = max(self._disk.floor, held.lsn)

    def _require_writable(self, *, vital: bool = True) -> None:
        if self._closed:
            raise StoreError("the store is closed")
        if self._disk.full or (self._disk.low and not vital):
            raise StoreFull("there is no space left for the store")


def _copied(stored: StoredRegister) -> StoredRegister:
    register = stored.register
    if not isinstance(register.value, (list, dict)):
        return stored
    return StoredRegister(Register(register.key, register.version, copied(register.value), register.time), stored.lsn)
