"""The way to durability: one batch in the store's hands, the next one filling behind it.

Registers of one key coalesce, so the waiting batch is bounded by the number of registers however slow the disk.
A strict change belongs to someone who waits for it: if the store refuses, it is dropped and the waiter is told.
A lenient one (a reported value, a register received) is kept and tried again. Journal entries do not coalesce: of
those that nobody waits for, the oldest are given up for a gap record when too many are kept back.

When space runs out a store goes on with what is vital, in room that it has set aside: registers that replace others,
and strict changes that say so (what it takes to carry out desired values and to tell of it). Until the store has
recovered everything else is refused or kept back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import structlog

from twingateway.errors import StoreError, StoreFull
from twingateway.gateway.state.holdback import Holdback
from twingateway.ports.journal import Filing
from twingateway.ports.store import Attempt, Changes, PeerRecord, Removal, Store, StoredModel
from twingateway.twin.register import RegisterKey, StoredRegister

log = structlog.get_logger("store")

RETRY_SECONDS = 1.0
#: Seconds for which changes that nobody waits for gather: every commit costs an fsync, two changes of thread and an
#: acknowledgement to the peer.
GATHERING = 0.02


@dataclass(frozen=True, slots=True)
class _Strict:
    changes: Changes
    waiter: asyncio.Future[None]

    def refuse(self, error: StoreError) -> None:
        if not self.waiter.done():
            self.waiter.set_exception(error)


@dataclass(slots=True)
class _Batch:
    lenient: dict[RegisterKey, StoredRegister] = field(default_factory=dict)
    peers: dict[str, PeerRecord] = field(default_factory=dict)
    forget: list[Removal] = field(default_factory=list)
    journal: Holdback = field(default_factory=Holdback)
    delivered: dict[str, int] = field(default_factory=dict)
    strict: list[_Strict] = field(default_factory=list)
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    told: dict[Callable[[list[StoredRegister]], None], list[StoredRegister]] = field(default_factory=dict)
    """Who is to be told of which registers."""
    journal_callbacks: dict[Callable[[], None], None] = field(default_factory=dict)
    """In the order in which they were asked for."""

    def __bool__(self) -> bool:
        lenient = self.lenient or self.peers or self.forget or self.journal or self.delivered
        return bool(lenient or self.strict or self.callbacks or self.journal_callbacks)

    def changes(self, *, vital: bool) -> Changes:
        merged = Changes(
            registers=list(self.lenient.values()),
            peers=list(self.peers.values()),
            forget=list(self.forget),
            journal=self.journal.filings(),
            delivered=dict(self.delivered),
            vital=vital,
        )
        for strict in self.strict:
            changes = strict.changes
            merged.registers += changes.registers
            merged.peers += changes.peers
            merged.models += changes.models
            merged.attempts += changes.attempts
            merged.journal += changes.journal
        return merged

    def keep_vital(self) -> tuple[list[_Strict], _Batch]:
        """Take out what is not vital: what someone waits for, and what can be kept back."""
        refused = [strict for strict in self.strict if not strict.changes.vital]
        kept_back = _Batch(journal=self.journal, journal_callbacks=self.journal_callbacks)
        self.strict = [strict for strict in self.strict if strict.changes.vital]
        self.journal, self.journal_callbacks = Holdback(), {}
        return refused, kept_back

    def followed_by(self, newer: _Batch) -> _Batch:
        return _Batch(
            lenient=self.lenient | newer.lenient,
            peers=self.peers | newer.peers,
            forget=self.forget + newer.forget,
            journal=self.journal.followed_by(newer.journal),
            delivered=self.delivered | newer.delivered,
            strict=self.strict + newer.strict,
            callbacks=self.callbacks + newer.callbacks,
            told={who: self.told.get(who, []) + newer.told.get(who, []) for who in self.told | newer.told},
            journal_callbacks=self.journal_callbacks | newer.journal_callbacks,
        )


class Committer:
    """Collects changes and commits them batch by batch. `run` does the work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._filling = _Batch()
        self._committing: _Batch | None = None
        self._wanted = asyncio.Event()
        self._awaited = asyncio.Event()
        self._low = False
        """The store takes only what is vital."""
        self._recover_at = 0.0
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
        filling = self._filling
        for stored in registers:
            filling.lenient[stored.register.key] = stored
        if journal:
            filling.journal.add(journal)
        for peer in peers:
            filling.peers[peer.peer] = peer
        filling.forget += forget
        if delivered:
            filling.delivered.update(delivered)
        self._wanted.set()

    def after(self, callback: Callable[[], None]) -> None:
        """Call back once every register and peer added so far is durable."""
        if self._filling:
            self._filling.callbacks.append(callback)
        elif self._committing is not None:
            self._committing.callbacks.append(callback)
        else:
            callback()

    def tell(self, registers: Sequence[StoredRegister], who: Callable[[list[StoredRegister]], None]) -> None:
        """Once these registers, added just now, are durable and callbacks were made, tell `who` of them, together
        with all others of which it is to be told then."""
        self._filling.told.setdefault(who, []).extend(registers)

    def after_journal(self, callback: Callable[[], None]) -> None:
        """Call back once the journal entries added just now are durable: one time for all that become so together."""
        self._filling.journal_callbacks[callback] = None

    def submit(
        self,
        registers: Sequence[StoredRegister] = (),
        *,
        models: Sequence[StoredModel] = (),
        attempts: Sequence[Attempt] = (),
        journal: Sequence[Filing] = (),
        vital: bool = False,
    ) -> asyncio.Future[None]:
        """Make durable soon; what is `vital` also while the store has little space. The future says when it is, or
        has the StoreError; then nothing of it was kept. It is for no one to cancel: who gives up waiting
        (`asyncio.shield`) takes nothing back."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        changes = Changes(
            registers=list(registers),
            models=list(models),
            attempts=list(attempts),
            journal=list(journal),
            vital=vital,
        )
        self._filling.strict.append(_Strict(changes, waiter))
        self._wanted.set()
        self._awaited.set()
        return waiter

    async def run(self) -> None:
        while True:
            if self._low:
                await _set_within(self._wanted, RETRY_SECONDS)
            else:
                await self._wanted.wait()
            self._wanted.clear()
            self._awaited.clear()
            await self._recover()
            await self._commit_once()
            await self._gather()

    async def _gather(self) -> None:
        """Let lenient changes come together; as soon as someone waits for one, there is no time for that."""
        await _set_within(self._awaited, GATHERING)

    async def drain(self) -> None:
        """Commit what is still waiting, once (at shutdown, after `run` was cancelled)."""
        if self._committing is not None:
            self._give_back(self._committing)
            self._committing = None
        if self._filling:
            await self._commit_once()

    async def _commit_once(self) -> None:
        batch, self._filling = self._filling, _Batch()
        if self._low:
            self._put_off(batch)
        if not batch:
            return
        self._committing = batch
        changes = batch.changes(vital=self._low)
        try:
            await self._store.commit(changes)
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("the store failed in a way it should not")
            self._committing = None
            self._note(error if isinstance(error, StoreError) else StoreError(f"the store failed: {error}"))
            await self._try_again(batch)
            return
        self._committing = None
        if not self._low:
            self._note_recovery()
        self.committed += len(changes.registers)
        _settle(batch)

    async def _try_again(self, batch: _Batch) -> None:
        """What is vital at once, should only space be short; if that is refused, too, what may still fit later."""
        if isinstance(self.failure, StoreFull) and not self._low:
            self._low, self._recover_at = True, asyncio.get_running_loop().time() + RETRY_SECONDS
            self._put_off(batch)
            self._give_back(batch)
            await self._commit_once()
            return
        for strict in batch.strict:
            strict.refuse(self._refusal)
        batch.strict.clear()
        self._give_back(batch)
        await asyncio.sleep(RETRY_SECONDS)
        self._wanted.set()

    def _put_off(self, batch: _Batch) -> None:
        """Leave in it what is vital."""
        refused, kept_back = batch.keep_vital()
        for strict in refused:
            strict.refuse(self._refusal)
        self._give_back(kept_back)

    async def _recover(self) -> None:
        """See, once a second, whether the store takes everything again."""
        now = asyncio.get_running_loop().time()
        if not self._low or now < self._recover_at:
            return
        self._recover_at = now + RETRY_SECONDS
        try:
            await self._store.recover()
        except StoreError as error:
            self._note(error)
            return
        self._low = False
        if not self._filling:
            self._note_recovery()

    def _note_recovery(self) -> None:
        if self.failure is not None:
            log.info("the store takes writes again")
        self.failure = None

    def _note(self, error: StoreError) -> None:
        if self.failure is None:
            log.error("the store refuses writes", code=error.code, reason=error.message)
        self.failure = error

    @property
    def _refusal(self) -> StoreError:
        assert self.failure is not None
        return self.failure

    def _give_back(self, batch: _Batch) -> None:
        self._filling = batch.followed_by(self._filling)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, and set it after so many seconds: costs much less than to be cancelled."""
    alarm = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        alarm.cancel()


def _settle(batch: _Batch) -> None:
    for strict in batch.strict:
        if not strict.waiter.done():
            strict.waiter.set_result(None)
    telling: list[Callable[[], None]] = [partial(who, registers) for who, registers in batch.told.items()]
    for callback in [*batch.callbacks, *telling, *batch.journal_callbacks]:
        try:
            callback()
        except Exception:
            log.exception("something that waited for a commit failed")
