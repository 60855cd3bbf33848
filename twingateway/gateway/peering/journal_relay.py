"""Moves the journal: pages from the store to the parent's session, entries from peers into the store.

An entry goes on under the key that it got where it began, so that every hop takes it once, whatever way it came. What
a peer sends is acknowledged when the store has it; if that takes nothing, the peer's window fills and it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from twingateway.errors import InvalidValue, StoreError, TooLarge
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.committer import RETRY_SECONDS, Committer
from twingateway.gateway.state.journal import Journal
from twingateway.gateway.state.ledger import Ledger
from twingateway.ports.journal import Depth, Filing, JournalStore
from twingateway.sync.journal import EntriesDelivered, EntriesReceived, JournalEvent
from twingateway.sync.journal_sender import PAGE, Waiting
from twingateway.twin.entry import HISTORY, LOST, REFUSED, JournalEntry, gap_for
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise

log = structlog.get_logger("journal")

#: Journals that a peer is reminded of at a time.
REMINDERS = 100
#: Seconds between looks at time to live and byte caps; and between prunings of what is kept.
UPKEEP = 2.0
PRUNING = 300.0
#: What a series may be kept for is looked up so many series at a time, with a rest between, in seconds.
PRUNING_REST = 0.02


@dataclass(frozen=True, slots=True)
class _Arrival:
    peer: Peer
    link: int
    event: EntriesReceived


class JournalRelay:
    """`run` and `keep_up` do the work. `retention_of`: seconds that a property's history is kept."""

    def __init__(
        self,
        peers: Peers,
        store: JournalStore,
        committer: Committer,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        retention_of: Callable[[DeviceId, str], float],
    ) -> None:
        self.received = 0
        self.delivered_batches = 0
        self.evicted: dict[str, int] = {}
        """Entries that were given up for gap records since the start, by class."""
        self.history_bytes = 0
        """What history took at the last look."""
        self.trimmed = 0
        """Points that went since the start because all of them took too much."""
        self.depths: dict[str, Depth] = {}
        """What waited at the last look, by class."""
        self._peers = peers
        self._store = store
        self._committer = committer
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._retention_of = retention_of
        self._lingering: set[str] = set()
        self._arrivals: list[_Arrival] = []
        self._arrived = asyncio.Event()
        self._hungry = asyncio.Event()
        journal.watch(self._on_appended)

    # --- what carriers tell -----------------------------------------------------------------------------------------

    def handle(self, peer: Peer, link: int, event: JournalEvent) -> None:
        if isinstance(event, EntriesReceived):
            self._arrivals.append(_Arrival(peer, link, event))
            self._arrived.set()
        else:
            self._delivered(event)

    def hungry(self) -> None:
        """A session wants pages."""
        self._hungry.set()

    # --- out --------------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Read pages for the sessions that want them."""
        while True:
            await self._hungry.wait()
            self._hungry.clear()
            for peer in list(self._peers):
                for class_name, after in list(peer.journal.wants()):
                    await self._fed(peer, class_name, self._read(peer, class_name, after))
                for class_name, behind in list(peer.journal.reminds()):
                    await self._fed(peer, class_name, self._remind(peer, class_name, behind))

    async def _fed(self, peer: Peer, class_name: str, reading: Awaitable[None]) -> None:
        try:
            await reading
        except StoreError as error:
            log.error("the journal cannot be read", code=error.code, reason=error.message)
            await asyncio.sleep(RETRY_SECONDS)
            peer.journal.failed(class_name)
            self._hungry.set()
            return
        if peer.line is not None:
            peer.line.pump()

    async def _read(self, peer: Peer, class_name: str, after: int) -> None:
        page = await self._store.journal_page(class_name, after, PAGE)
        waiting = [Waiting(placed.position, placed.entry) for placed in page]
        for event in peer.journal.page(class_name, after, waiting):
            self._delivered(event)

    async def _remind(self, peer: Peer, class_name: str, behind: bytes) -> None:
        told = await self._store.journal_told(peer.namespace, class_name, behind, REMINDERS)
        peer.journal.remind(class_name, behind, [self._journal.reminder(class_name, each) for each in told])

    def _delivered(self, event: JournalEvent) -> None:
        if isinstance(event, EntriesDelivered):
            self.delivered_batches += 1
            self._committer.add(delivered={event.class_name: event.position})

    def _on_appended(self, class_name: str) -> None:
        known = self._journal.policy.classes.get(class_name)
        if known is None or not known.linger:
            self._offer(class_name)
        elif class_name not in self._lingering:
            self._lingering.add(class_name)
            asyncio.get_running_loop().call_later(known.linger, self._offer, class_name)

    def _offer(self, class_name: str) -> None:
        self._lingering.discard(class_name)
        parent = self._peers.parent
        if parent is not None:
            parent.journal.appended(class_name)
            self._hungry.set()

    # --- in ---------------------------------------------------------------------------------------------------------

    async def take_in(self) -> None:
        """Put what arrives into the store and acknowledge it."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            arrivals, self._arrivals = self._arrivals, []
            filings = [
                self._journal.placed(self._checked(entry)) for arrival in arrivals for entry in arrival.event.entries
            ]
            fresh = await self._received(filings)
            for arrival in arrivals:
                arrival.peer.journal.committed(arrival.link, arrival.event)
            for line in {id(a.peer.line): a.peer.line for a in arrivals}.values():
                if line is not None:
                    line.pump()
            self._tell(fresh)

    async def _received(self, filings: list[Filing]) -> list[JournalEntry]:
        told = False
        while True:
            try:
                return await self._store.receive(filings)
            except StoreError as error:
                if not told:
                    log.error("the store refuses journal entries", code=error.code, reason=error.message)
                told = True
                await asyncio.sleep(RETRY_SECONDS)

    async def take_back(self, entry_waited: Iterable[tuple[JournalEntry, bool]]) -> int:
        """Put entries that were here before into the store again, each with whether it waited for the parent. They
        keep their keys, so whatever has them already takes none twice. Returns how many were news."""
        placed = ((self._journal.placed(self._checked(entry)), waited) for entry, waited in entry_waited)
        fresh = await self._received([f if waited else replace(f, queue=False) for f, waited in placed])
        for class_name in {entry.class_name for entry in fresh}:
            self._on_appended(class_name)
        return len(fresh)

    def _checked(self, entry: JournalEntry) -> JournalEntry:
        """What may not be stored is replaced by a gap record: it hinders nothing behind it."""
        try:
            normalise(entry.value, entry.name)
            if entry.device is not None:
                DeviceId.parse(entry.device, entry.namespace)
        except (InvalidValue, TooLarge) as error:
            log.warning("an entry was refused", node=entry.node, name=entry.name, reason=error.message)
            return gap_for(entry, entry.seq, entry.last, REFUSED)
        return entry

    def _tell(self, entries: list[JournalEntry]) -> None:
        """Pass on what people may want to know, and what is news to the parent."""
        self.received += len(entries)
        for class_name in {entry.class_name for entry in entries}:
            self._on_appended(class_name)
        for entry in entries:
            detail: dict[str, Value] = {"node": entry.node}
            if entry.gap:
                if entry.gap == LOST and entry.seq == 1 and self._peers.parent is not None:
                    continue  # it may have gone another way before: whoever is above says so if not
                message = f"{entry.count} entries of class {entry.class_name} will not be told ({entry.gap})"
                detail |= {"class": entry.class_name, "count": entry.count, "reason": entry.gap}
                self._ledger.tell("journal-gap", message, None, entry.time, detail)
            elif entry.class_name != HISTORY and isinstance(entry.value, dict):
                detail |= entry.value
                message = str(detail.pop("message", entry.name))
                self._ledger.tell(entry.name, message, entry.device_id, entry.time, detail)

    # --- upkeep -----------------------------------------------------------------------------------------------------

    async def keep_up(self) -> None:
        """Hold the queues to their limits, and what is kept to its retention."""
        next_pruning = self._clock.now() + PRUNING
        while True:
            await asyncio.sleep(UPKEEP)
            try:
                await self.evict()
                await self.trim()
                if self._clock.now() >= next_pruning:
                    next_pruning = self._clock.now() + PRUNING
                    await self.prune()
            except StoreError as error:
                log.error("the journal's upkeep failed", code=error.code, reason=error.message)

    async def evict(self) -> None:
        """Give up what is too old or too much, with a gap record in its place."""
        limits = self._journal.policy.classes
        now = self._journal.stamp()
        self.depths = {depth.class_name: depth for depth in await self._store.journal_depths()}
        for depth in self.depths.values():
            limit = limits.get(depth.class_name)
            if limit is None or not depth.entries:
                continue
            before = now - int(limit.ttl * 1000)
            if depth.bytes <= limit.max_bytes and depth.oldest_stamp >= before:
                continue
            gone = await self._store.evict(depth.class_name, limit.max_bytes, before)
            if gone:
                self.evicted[depth.class_name] = self.evicted.get(depth.class_name, 0) + gone
                log.warning("journal entries were given up", journal_class=depth.class_name, entries=gone)

    async def trim(self) -> None:
        """Hold all history together to its limit, and say so if that takes anything."""
        most = self._journal.policy.max_history
        gone = await self._store.trim_history(most)
        self.history_bytes = await self._store.history_bytes()
        if gone:
            self.trimmed += gone
            message = f"history took more than {most} bytes: the {gone} points that came first were deleted"
            self._ledger.notice("history-trimmed", message, points=gone, limit=most)

    async def prune(self) -> None:
        """Delete history beyond its retention, and the oldest of what else is kept."""
        for class_name in self._journal.policy.classes:
            await self._store.prune_kept(class_name, self._journal.policy.kept)
        for device, name in await self._store.series():
            retention = int(self._retention_of(device, name) * 1000)
            await self._store.prune_points(device, name, retention, self._clock.wall_ms())
            await asyncio.sleep(PRUNING_REST)
