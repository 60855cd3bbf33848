"""How a change becomes true: version, lsn, table, commit, outboxes, listeners: in the order its section demands.

- A reported value (and what a peer sent) is shown first and committed behind: freshness is its purpose, and its
  writer or its device can say it again.
- Everything else commits before anyone sees it or it is sent.

An lsn that was issued but is not yet in the outboxes is *held*: no peer may be told that everything up to a later
lsn has been sent, and no event position passes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from twingateway.gateway.clock import Clock
from twingateway.gateway.committer import Committer
from twingateway.gateway.events import Changed, EventBus, Notice
from twingateway.gateway.numbers import Numbers
from twingateway.gateway.table import TwinTable
from twingateway.ports.store import Attempt, PeerRecord
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import (
    WRITER,
    Register,
    RegisterKey,
    Section,
    StoredRegister,
    Version,
    Writer,
)
from twingateway.twin.value import Value

LIFECYCLE_NAME = "state"


@dataclass(frozen=True, slots=True)
class Draft:
    """A value about to become a register of this node. `time`: Unix milliseconds, None for now."""

    key: RegisterKey
    value: Value
    time: int | None = None


class Outboxes(Protocol):
    """The peers' outboxes, as the ledger needs them."""

    def offer(self, stored: StoredRegister, *, origin: str | None) -> None:
        """Queue for every peer whose scope has it, except the one it came from."""
        ...

    def hold(self, stored: StoredRegister, *, origin: str | None) -> None:
        """It will be offered later: until then no peer may be told that everything up to its lsn has been sent."""
        ...

    def release(self, stored: StoredRegister) -> None:
        """It is not held any more, offered or not."""
        ...


class Ledger:
    """The only creator of registers."""

    def __init__(
        self, clock: Clock, numbers: Numbers, table: TwinTable, committer: Committer, events: EventBus
    ) -> None:
        self._clock = clock
        self._numbers = numbers
        self._table = table
        self._committer = committer
        self._events = events
        self._outboxes: Outboxes | None = None
        self._held: dict[int, None] = {}
        self._watchers: list[Callable[[StoredRegister], None]] = []

    def connect(self, outboxes: Outboxes) -> None:
        self._outboxes = outboxes

    def watch(self, watcher: Callable[[StoredRegister], None]) -> None:
        """Tell `watcher` of every register once it is shown (it must not raise)."""
        self._watchers.append(watcher)

    @property
    def position(self) -> int:
        """Every event at or below this lsn has been published."""
        return next(iter(self._held)) - 1 if self._held else self._numbers.last_lsn

    def basis(self, key: RegisterKey) -> tuple[int, int]:
        """Incarnation and epoch under which this node mints a register: both follow from the lifecycle register."""
        lifecycle = self._table.get(RegisterKey(key.device, Section.LIFECYCLE, LIFECYCLE_NAME))
        if lifecycle is None:
            return (0, 0) if WRITER[key.section] is Writer.HOLDER else (1, 1)
        version = lifecycle.register.version
        if WRITER[key.section] is not Writer.HOLDER:
            return version.incarnation, version.epoch
        return version.incarnation, granted_epoch(lifecycle.register)

    def report(self, drafts: Iterable[Draft]) -> list[StoredRegister]:
        """Mint reported values: shown and queued for sending at once, committed behind."""
        minted = [self._mint(draft) for draft in drafts]
        self._committer.add(minted)
        for stored in minted:
            self._show(stored)
            self._offer(stored, None)
        return minted

    async def write(
        self, drafts: Iterable[Draft], *, version: Version | None = None, attempts: Sequence[Attempt] = ()
    ) -> list[StoredRegister]:
        """Mint, commit, then show and send. Raises StoreError; then nothing happened.

        `version` overrides incarnation and epoch (its seq is ignored): a grant begins a new epoch.
        """
        minted = [self._mint(draft, version) for draft in drafts]
        for stored in minted:
            self._hold(stored, None)
        try:
            await self._committer.commit(minted, attempts=attempts)
            for stored in minted:
                self._show(stored)
                self._offer(stored, None)
        finally:
            for stored in minted:
                self._release(stored)
        return minted

    def apply(self, registers: Iterable[Register], *, origin: str, then: Callable[[], None]) -> list[StoredRegister]:
        """Take registers from a peer: those with greater versions are shown now; `then` runs when all of them (also
        the ones that were here already) are durable, after the applied ones were queued for further peers."""
        applied = []
        for register in registers:
            current = self._table.get(register.key)
            if current is None or register.version > current.register.version:
                stored = StoredRegister(register, self._numbers.lsn())
                applied.append(stored)
                self._hold(stored, origin)
                self._show(stored)
        self._committer.add(applied)

        def durable() -> None:
            for stored in applied:
                self._offer(stored, origin)
                self._release(stored)
            then()

        self._committer.after(durable)
        return applied

    def renumber(self, registers: Iterable[StoredRegister]) -> list[StoredRegister]:
        """Give registers fresh lsns and offer them again: their device entered a peer's scope."""
        fresh = [replace(stored, lsn=self._numbers.lsn()) for stored in registers]
        for stored in fresh:
            self._table.renumber(stored)
            self._offer(stored, None)
        self._committer.add(fresh)
        return fresh

    async def forget(self, keys: Sequence[RegisterKey]) -> None:
        """Remove registers altogether, durably; nothing is sent."""
        await self._committer.commit(forget=keys)
        for key in keys:
            self._table.forget(key)

    def remember(self, record: PeerRecord) -> None:
        """Make a peer's position durable soon."""
        self._committer.add(peers=[record])

    def notice(self, code: str, message: str, device: DeviceId | None = None, **detail: Value) -> None:
        """Tell listeners something that is not a register."""
        lsn = self._numbers.lsn()
        self._events.publish(Notice(lsn, self.position, code, message, self._clock.wall_ms(), device, dict(detail)))

    def _mint(self, draft: Draft, version: Version | None = None) -> StoredRegister:
        incarnation, epoch = version[:2] if version is not None else self.basis(draft.key)
        time = self._clock.wall_ms() if draft.time is None else draft.time
        minted = Version(incarnation, epoch, self._numbers.seq())
        return StoredRegister(Register(draft.key, minted, draft.value, time), self._numbers.lsn())

    def _show(self, stored: StoredRegister) -> None:
        if not self._table.put(stored):
            return
        self._events.publish(Changed(stored, self.position))
        for watcher in self._watchers:
            watcher(stored)

    def _offer(self, stored: StoredRegister, origin: str | None) -> None:
        if self._outboxes is not None:
            self._outboxes.offer(stored, origin=origin)

    def _hold(self, stored: StoredRegister, origin: str | None) -> None:
        self._held[stored.lsn] = None
        if self._outboxes is not None:
            self._outboxes.hold(stored, origin=origin)

    def _release(self, stored: StoredRegister) -> None:
        self._held.pop(stored.lsn, None)
        if self._outboxes is not None:
            self._outboxes.release(stored)


def granted_epoch(lifecycle: Register) -> int:
    """The holder's epoch that a lifecycle register grants."""
    value = lifecycle.value
    epoch = value.get("epoch", 0) if isinstance(value, dict) else 0
    return epoch if isinstance(epoch, int) else 0
