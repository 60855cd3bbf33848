"""The way to durability: one batch in the store's hands, the next one filling behind it.

Registers of one key coalesce, so the waiting batch is bounded by the number of registers however slow the disk.
A strict change belongs to someone who waits for it: if the store refuses, it is dropped and the waiter is told.
A lenient one (a reported value, a register received) is kept and tried again. Journal entries do not coalesce: of
those that nobody waits for, the oldest are given up for a gap record when too many are kept back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import structlog

from twingateway.errors import StoreError
from twingateway.gateway.holdback import Holdback
from twingateway.ports.journal import Filing
from twingateway.ports.store import Attempt, Changes, PeerRecord, Removal, Store, StoredModel
from twingateway.twin.register import RegisterKey, StoredRegister

log = structlog.get_logger("store")

RETRY_SECONDS = 1.0
#: Seconds for which changes that nobody waits for gather: every commit costs an fsync, two changes of thread and an
#: acknowledgement to the peer.
GATHERING = 0.02


@dataclass(slots=True)
class _Batch:
    lenient: dict[RegisterKey, StoredRegister] = field(default_factory=dict)
    peers: dict[str, PeerRecord] = field(default_factory=dict)
    forget: list[Removal] = field(default_factory=list)
    journal: Holdback = field(default_factory=Holdback)
    delivered: dict[str, int] = field(default_factory=dict)
    strict: list[Changes] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        lenient = self.lenient or self.peers or self.forget or self.journal or self.delivered
        return bool(lenient or self.strict or self.waiters or self.callbacks)

    def changes(self) -> Changes:
        merged = Changes(
            registers=list(self.lenient.values()),
            peers=list(self.peers.values()),
            forget=list(self.forget),
            journal=self.journal.filings(),
            delivered=dict(self.delivered),
        )
        for changes in self.strict:
            merged.registers += changes.registers
            merged.peers += changes.peers
            merged.models += changes.models
            merged.attempts += changes.attempts
            merged.journal += changes.journal
        return merged


class Committer:
    """Collects changes and commits them batch by batch. `run` does the work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._filling = _Batch()
        self._committing: _Batch | None = None
        self._wanted = asyncio.Event()
        self._awaited = asyncio.Event()
        self.failure: StoreError | None = None
        """Why the store refuses writes at present, if it does."""
        self.committed = 0
        """Register versions made durable since the start; one that a newer overtook before that does not count."""

    def add(
        self,
        registers: Sequence[StoredRegister] = (),
        peers: Sequence[PeerRecord] = (),
        *,
        forget: Sequence[Removal] = (),
        journal: Sequence[Filing] = (),
        delivered: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Make these durable soon; nobody waits."""
        self._filling.forget += forget
        self._filling.journal.add(journal)
        self._filling.delivered.update(delivered)
        self._filling.lenient.update((stored.register.key, stored) for stored in registers)
        self._filling.peers.update((peer.peer, peer) for peer in peers)
        self._wanted.set()

    def after(self, callback: Callable[[], None]) -> None:
        """Call back once everything added so far is durable."""
        if self._filling:
            self._filling.callbacks.append(callback)
        elif self._committing is not None:
            self._committing.callbacks.append(callback)
        else:
            callback()

    async def commit(
        self,
        registers: Sequence[StoredRegister] = (),
        *,
        models: Sequence[StoredModel] = (),
        attempts: Sequence[Attempt] = (),
        journal: Sequence[Filing] = (),
    ) -> None:
        """Make durable, and return when it is. Raises StoreError; then nothing of it was kept."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        changes = Changes(
            registers=list(registers),
            models=list(models),
            attempts=list(attempts),
            journal=list(journal),
        )
        self._filling.strict.append(changes)
        self._filling.waiters.append(waiter)
        self._wanted.set()
        self._awaited.set()
        await waiter

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._awaited.clear()
            await self._commit_once()
            await self._gather()

    async def _gather(self) -> None:
        """Let lenient changes come together; as soon as someone waits for one, there is no time for that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHERING):
                await self._awaited.wait()

    async def drain(self) -> None:
        """Commit what is still waiting, once (at shutdown, after `run` was cancelled)."""
        if self._committing is not None:
            self._give_back(self._committing)
            self._committing = None
        if self._filling:
            await self._commit_once()

    async def _commit_once(self) -> None:
        batch, self._filling = self._filling, _Batch()
        if not batch:
            return
        self._committing = batch
        changes = batch.changes()
        try:
            await self._store.commit(changes)
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("the store failed in a way it should not")
            self._refused(batch, error if isinstance(error, StoreError) else StoreError(f"the store failed: {error}"))
            await self._try_again(batch)
            return
        self._committing = None
        self.failure = None
        self.committed += len(changes.registers)
        _settle(batch)

    async def _try_again(self, batch: _Batch) -> None:
        """The strict part was refused; the rest may still fit."""
        batch.strict.clear()
        batch.waiters.clear()
        self._committing = None
        self._give_back(batch)
        await asyncio.sleep(RETRY_SECONDS)
        self._wanted.set()

    def _refused(self, batch: _Batch, error: StoreError) -> None:
        if self.failure is None:
            log.error("the store refuses writes", code=error.code, reason=error.message)
        self.failure = error
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _give_back(self, batch: _Batch) -> None:
        newer = self._filling
        self._filling = _Batch(
            lenient=batch.lenient | newer.lenient,
            peers=batch.peers | newer.peers,
            forget=batch.forget + newer.forget,
            journal=batch.journal.followed_by(newer.journal),
            delivered=batch.delivered | newer.delivered,
            strict=batch.strict + newer.strict,
            waiters=batch.waiters + newer.waiters,
            callbacks=batch.callbacks + newer.callbacks,
        )


def _settle(batch: _Batch) -> None:
    for waiter in batch.waiters:
        if not waiter.done():
            waiter.set_result(None)
    for callback in batch.callbacks:
        try:
            callback()
        except Exception:
            log.exception("something that waited for a commit failed")
