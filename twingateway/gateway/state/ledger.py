"""How a change becomes true: version, lsn, table, commit, outboxes, listeners: in the order its section demands.

- A reported value (and what a peer sent) is shown first and committed behind: freshness is its purpose, and its
  writer or its device can say it again. Unless it comes with a statement of its device (see `Statements`).
- Everything else commits before anyone sees it or it is sent.
- What is said under a grant that a peer sent is told once the grant is durable here: a process that forgot it would
  say under it again what it had said before.

While an lsn is *unsettled* (issued, but its register is not both durable here and in the outboxes) no peer is told
that everything up to a later one is settled: whatever a peer was told, this store can have forgotten only by being
replaced by an older copy of itself. While it is *unpublished* no event position passes it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from twingateway.errors import Unavailable
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.committer import Committer
from twingateway.gateway.state.events import Changed, EventBus, Notice
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft, Mint
from twingateway.gateway.state.numbers import Numbers
from twingateway.gateway.state.pending import Pending
from twingateway.gateway.state.table import TwinTable
from twingateway.ports.journal import Filing
from twingateway.ports.store import Attempt, PeerRecord, Removal
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import (
    Register,
    RegisterKey,
    Section,
    StoredRegister,
    Version,
)
from twingateway.twin.value import Value

log = structlog.get_logger("notice")


class Outboxes(Protocol):
    """The peers' outboxes, as the ledger needs them."""

    def offer(self, registers: Iterable[StoredRegister], *, origin: str | None) -> None:
        """Queue each for every peer whose scope has it, except the one it came from."""
        ...

    def withdraw(self, registers: Iterable[StoredRegister]) -> None:
        """What is queued of these is not to be sent."""
        ...


class Recorder(Protocol):
    """The journal, as the ledger needs it; it must not raise."""

    def record(self, reported: Iterable[Draft]) -> None: ...

    def on_notice(
        self, code: str, message: str, device: DeviceId | None, time: int, detail: Mapping[str, Value]
    ) -> None: ...


class Ledger:
    """The only creator of registers."""

    def __init__(
        self,
        clock: Clock,
        numbers: Numbers,
        table: TwinTable,
        committer: Committer,
        events: EventBus,
        unsettled: Pending,
        locks: DeviceLocks,
    ) -> None:
        self._clock = clock
        self.numbers = numbers
        self.mint = Mint(clock, numbers, table)
        self._table = table
        self._committer = committer
        self._events = events
        self._locks = locks
        self._outboxes: Outboxes | None = None
        self._unsettled = unsettled
        self._unpublished = Pending()
        self._pending: dict[RegisterKey, StoredRegister] = {}
        self._granting: Counter[DeviceId] = Counter()
        """Devices of which a lifecycle register that a peer sent is on its way into the store."""
        self._watchers: list[tuple[Callable[[StoredRegister], None], frozenset[Section]]] = []
        self._watched: set[Section] = set()
        """That anyone watches."""
        self._removal_watchers: list[Callable[[StoredRegister], None]] = []
        self._recorders: list[Recorder] = []

    def connect(self, outboxes: Outboxes) -> None:
        self._outboxes = outboxes

    def watch(self, watcher: Callable[[StoredRegister], None], *sections: Section) -> None:
        """Tell `watcher` of every register of these sections once it is shown (it must not raise)."""
        self._watchers.append((watcher, frozenset(sections)))
        self._watched.update(sections)

    def watch_removals(self, watcher: Callable[[StoredRegister], None]) -> None:
        """Tell it of every register without a value."""
        self._removal_watchers.append(watcher)

    def record(self, recorder: Recorder) -> None:
        """Tell `recorder` what this node's devices report and what this node has to say."""
        self._recorders.append(recorder)

    @property
    def start(self) -> int:
        """The last lsn from before this process."""
        return self.numbers.start

    @property
    def position(self) -> int:
        """Every event at or below this lsn has been published."""
        lowest = self._unpublished.lowest
        return self.numbers.last_lsn if lowest is None else lowest - 1

    def report(self, drafts: Iterable[Draft]) -> list[StoredRegister]:
        """Mint reported values: shown and queued for sending at once, committed behind. Raises Unavailable when the
        store has no numbers left; then nothing happened."""
        return self._report(drafts)

    def file(self, reported: Iterable[Draft]) -> None:
        """Put on record what devices of this node report, whenever it is shown."""
        for recorder in self._recorders:
            recorder.record(reported)

    def _report(
        self, drafts: Iterable[Draft], version: Version | None = None, *, told_late: bool = False
    ) -> list[StoredRegister]:
        """`told_late`: none of them before it is durable."""
        minted = self.mint.issue(drafts, version)
        early, late = ([], minted) if told_late else (minted, [])
        if self._granting and not told_late:
            early = [stored for stored in minted if stored.register.key.device not in self._granting]
            late = [stored for stored in minted if stored.register.key.device in self._granting]
        self._commit_behind(minted, late)
        self._show(minted)
        self._offer(early, None)
        return minted

    def mint_again(
        self,
        device: DeviceId,
        sections: Iterable[Section],
        begun: tuple[int, int],
        change: Callable[[Register], Register],
    ) -> None:
        """Give this node's registers of a device versions under its present incarnation and epoch, where they have
        older ones, and the values that `change` gives them; also those that are still on their way into the store.
        Overrides from before `begun` are over."""
        newest = {
            stored.register.key: stored.register
            for section in sections
            for stored in self._table.section(device, section).values()
        }
        for key, pending in self._pending.items():
            if key.device == device and key.section in sections:
                known = newest.get(key)
                if known is None or pending.register.version > known.version:
                    newest[key] = pending.register
        self._report(
            Draft(key, change(register).value, register.time)
            for key, register in newest.items()
            if register.version[:2] != self.mint.basis(key) and not self._is_over(register, begun)
        )

    def take_back(self, registers: Iterable[Register], then: Callable[[], None]) -> None:
        """What this node had told before its store was replaced, as its peer tells it: minted anew, so that whatever
        is said here from now on is newer; of no older incarnation and epoch than it was told under, since the
        lifecycle may not be known here yet. None is told before it is durable: it may be of what is committed first
        otherwise, and the grant may be here already. `then` runs when all of it is. Raises Unavailable."""
        by_basis: dict[tuple[int, int], list[Draft]] = {}
        for register in registers:
            known = self._table.get(register.key)
            bases = [
                self.mint.basis(register.key),
                register.version[:2],
                (0, 0) if known is None else known.register.version[:2],
            ]
            by_basis.setdefault(max(bases), []).append(Draft(register.key, register.value, register.time))
        for (incarnation, epoch), drafts in by_basis.items():
            self._report(drafts, Version(incarnation, epoch, 0), told_late=True)
        self._committer.after(then)

    async def write(
        self,
        drafts: Iterable[Draft],
        *,
        version: Version | None = None,
        attempts: Sequence[Attempt] = (),
        journal: Sequence[Filing] = (),
        vital: bool = False,
        again: Iterable[StoredRegister] = (),
    ) -> list[StoredRegister]:
        """Mint, commit (with `journal`, in one transaction; what is `vital` also while the store has little space),
        then show and send. Raises StoreError or Unavailable; then nothing happened. Who is cancelled while waiting
        does not know what happened.

        `version` overrides incarnation and epoch (its seq is ignored): a grant begins a new epoch. `again`: other
        registers that enter a peer's scope by this one, and get fresh lsns in the same transaction: their old ones
        may be below what that peer was told that it has, since they were none of its business.
        """
        minted, entering = self.mint.issue(drafts, version), [stored.register for stored in again]
        fresh = list(map(StoredRegister, entering, self.numbers.lsns(len(entering))))
        self._unsettled.add(minted + fresh)
        self._unpublished.add(minted)
        self._pending.update((stored.register.key, stored) for stored in minted)
        committing = self._committer.submit(minted + fresh, attempts=attempts, journal=journal, vital=vital)
        committing.add_done_callback(lambda done: self._settle(minted, fresh, durable=done.exception() is None))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            self._locks.outlast((stored.register.key.device for stored in minted), committing)
            raise
        return minted

    def _settle(self, minted: list[StoredRegister], fresh: list[StoredRegister], *, durable: bool) -> None:
        """Also for a writer that was cancelled meanwhile: what is durable must be shown and sent."""
        try:
            if durable:
                shown, entering = self._show(minted), [each for each in fresh if self._is_current(each.register)]
                for stored in entering:
                    self._table.renumber(stored)
                self._offer(shown + entering, None)
        finally:
            self._unsettled.remove(minted + fresh, durable=durable)
            self._unpublished.remove(minted)
            for stored in minted:
                if self._pending.get(stored.register.key) is stored:
                    del self._pending[stored.register.key]

    def apply(self, registers: Iterable[Register], *, origin: str, then: Callable[[], None]) -> list[StoredRegister]:
        """Take registers from a peer: those with greater versions are shown now; `then` runs when all of them (also
        the ones that were here already) are durable, after the applied ones were queued for further peers. Raises
        Unavailable when the store has no numbers left; then nothing happened."""
        newer = [register for register in registers if self.is_newer(register)]
        applied = list(map(StoredRegister, newer, self.numbers.lsns(len(newer))))
        granting = Counter(s.register.key.device for s in applied if s.register.key.section is Section.LIFECYCLE)
        self._granting += granting
        self._unsettled.add(applied)
        self._committer.add(applied)  # before what follows from them, which may be of the same registers
        self._show(applied)

        def durable() -> None:
            self._granting -= granting
            self._offer(applied, origin)
            self._unsettled.remove(applied)
            then()

        self._committer.after(durable)
        return applied

    def renumber(self, registers: Iterable[StoredRegister]) -> list[StoredRegister]:
        """Give registers fresh lsns and offer them again: their device entered a peer's scope."""
        fresh = [StoredRegister(stored.register, self.numbers.lsn()) for stored in registers]
        self._commit_behind(fresh)
        for stored in fresh:
            self._table.renumber(stored)
        self._offer(fresh, None)
        return fresh

    def hold(self, stored: StoredRegister) -> Callable[[], None]:
        """Tell no peer that it has everything up to this one, though it waits in no outbox; until the returned
        function is called. Should the process end before that, the next one sends it."""
        return self._unsettled.hold(stored)

    def drop(self, registers: Sequence[StoredRegister]) -> None:
        """Remove registers altogether, here and soon in the store: something else says that they are gone, and goes
        wherever they went. Listeners hear of those that had a value."""
        removals = []
        for stored in registers:
            self._table.forget(stored.register.key)
            removals.append(Removal(stored.register.key, stored.register.version))
        self._committer.add(forget=removals)
        if self._outboxes is not None:
            self._outboxes.withdraw(registers)
        lsn, had_value = self.numbers.last_lsn, [s.register for s in registers if s.register.value is not None]
        gone = [StoredRegister(Register(had.key, had.version, None, had.time), lsn) for had in had_value]
        self._events.publish(*[Changed(stored, self.position) for stored in gone])

    def newest(self, key: RegisterKey) -> Register | None:
        """The newest of its versions here, shown or not."""
        known = (self._pending.get(key), self._table.get(key))
        return max((stored.register for stored in known if stored is not None), key=_version, default=None)

    def being_written(self, device: DeviceId) -> list[RegisterKey]:
        """Registers of this device with a version that is not shown yet."""
        return [key for key in self._pending if key.device == device]

    def remember(self, record: PeerRecord) -> None:
        """Make a peer's position durable soon."""
        self._committer.add(peers=[record])

    def notice(self, code: str, message: str, device: DeviceId | None = None, **detail: Value) -> None:
        """Tell listeners something that is not a register, log it, and put it on record; also when the store has no
        numbers left."""
        time = self.repeat(code, message, device, **detail)
        for recorder in self._recorders:
            recorder.on_notice(code, message, device, time, detail)

    def repeat(self, code: str, message: str, device: DeviceId | None = None, **detail: Value) -> int:
        """Tell listeners, and log, what another node said to this one and has on record itself. Returns when, in Unix
        milliseconds."""
        time = self._clock.wall_ms()
        log.warning(message, code=code, **({} if device is None else {"device": str(device)}))
        self.tell(code, message, device, time, detail)
        return time

    def tell(self, code: str, message: str, device: DeviceId | None, time: int, detail: Mapping[str, Value]) -> None:
        """Tell listeners a notice that is on record already, of this node or another."""
        try:
            lsn = self.numbers.lsn()
        except Unavailable:
            lsn = self.numbers.last_lsn
        self._events.publish(Notice(lsn, self.position, code, message, time, device, dict(detail)))

    def is_newer(self, register: Register) -> bool:
        """Whether it would be applied."""
        current = self._table.get(register.key)
        if current is not None:
            return register.version > current.register.version
        return not (self._table.is_ended(register) or self._table.is_collected(register))

    def _is_over(self, register: Register, begun: tuple[int, int]) -> bool:
        """An override of a device that was deleted is none of the one that was created anew."""
        is_former = register.version[:2] < begun or self._table.is_ended(register)
        return register.key.section is Section.OVERRIDE and is_former

    def _is_current(self, register: Register) -> bool:
        current = self._table.get(register.key)
        return current is not None and register.version == current.register.version

    def _show(self, registers: Iterable[StoredRegister]) -> list[StoredRegister]:
        """Those that are newer than what was shown, and now are."""
        put = self._table.put
        shown = [stored for stored in registers if put(stored)]
        position = self.position
        self._events.publish(
            *[Changed(stored, lsn if (lsn := stored.lsn) < position else position) for stored in shown]
        )
        sections = {stored.register.key.section for stored in shown}
        for watcher, wanted in () if self._watched.isdisjoint(sections) else self._watchers:
            if not wanted.isdisjoint(sections):
                for stored in [stored for stored in shown if stored.register.key.section in wanted]:
                    watcher(stored)
        for stored in [stored for stored in shown if stored.register.value is None]:
            for watcher in self._removal_watchers:
                watcher(stored)
        return shown

    def _offer(self, registers: Iterable[StoredRegister], origin: str | None) -> None:
        """What is gone or older by now (what was shown can end others that came with it) is none of a peer's
        business."""
        if self._outboxes is not None:
            self._outboxes.offer((each for each in registers if self._is_current(each.register)), origin=origin)

    def _commit_behind(self, registers: Sequence[StoredRegister], late: Sequence[StoredRegister] = ()) -> None:
        """`late`: those that are offered only when they are durable."""
        if registers:
            self._unsettled.add(registers)
            self._committer.add(registers)
            if late:
                self._committer.after(lambda: self._offer(late, None))
            self._committer.tell(registers, self._unsettled.remove)


def _version(register: Register) -> Version:
    return register.version
