"""Disks that take their time, and at each of whose steps a process may die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from tests.simulation.machines import Step
from twingateway.ports.journal import Filing
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Changes, StoreIdentity
from twingateway.twin.entry import JournalEntry

#: Seconds that a commit takes at most.
SLOWEST = 0.015


class SlowStore(MemoryStore):
    """A crash before a commit's step loses it; after it, it is durable and nobody was told, but for `on_commit`."""

    def __init__(
        self, node: str, disk: MemoryDisk, step: Step, on_commit: Callable[[str], None], chance: random.Random
    ) -> None:
        super().__init__(disk, chance.randbytes)
        self._node, self._step, self._on_commit, self._chance = node, step, on_commit, chance

    async def commit(self, changes: Changes) -> None:
        await self._step(self._node, "before a commit")
        await asyncio.sleep(self._chance.uniform(0.0, SLOWEST))
        await super().commit(changes)
        self._on_commit(self._node)
        await self._step(self._node, "after a commit")

    async def receive(self, filings: Sequence[Filing]) -> list[JournalEntry]:
        await self._step(self._node, "before it takes journal entries")
        taken = await super().receive(filings)
        self._on_commit(self._node)
        await self._step(self._node, "having taken journal entries")
        return taken

    async def reserve(self, count: int) -> range:
        reserved = await super().reserve(count)
        await self._step(self._node, "having reserved numbers")
        return reserved

    async def renew_identity(self) -> StoreIdentity:
        await self._step(self._node, "before it takes a new identity")
        identity = await super().renew_identity()
        await self._step(self._node, "having taken a new identity")
        return identity
