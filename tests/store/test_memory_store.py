"""The in-memory store keeps every promise of the port."""

from __future__ import annotations

import random

import pytest

from twingateway.errors import StoreFull
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Store
from twingateway.testing.store_contract import StoreContract


class MemoryMedium:
    def __init__(self) -> None:
        self.disk = MemoryDisk()

    async def open(self) -> Store:
        return MemoryStore(self.disk)

    async def crash(self, store: Store) -> None:
        self.disk.in_use = False

    async def fill(self, store: Store) -> None:
        self.disk.full = True

    async def relieve(self, store: Store) -> None:
        self.disk.full = False


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def medium(self) -> MemoryMedium:  # type: ignore[override]
        return MemoryMedium()


def test_a_seeded_store_is_the_same_every_time():
    identities = [MemoryStore(entropy=random.Random(5).randbytes).identity for _ in range(2)]
    assert identities[0] == identities[1]


def test_a_full_disk_cannot_begin_a_boot():
    with pytest.raises(StoreFull):
        MemoryStore(MemoryDisk(full=True))
