"""The parts of a running gateway that ways in (HTTP, command line, faces) talk to, and how they are joined."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

from twingateway.gateway.devices.host import AdapterHost
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.holding.collection import Collection
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.ownership import Ownership
from twingateway.gateway.holding.repair import Repair
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering.inbound import Inbound
from twingateway.gateway.peering.journal_relay import JournalRelay
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.sessions import Sessions
from twingateway.gateway.state.clock import Clock, SystemClock
from twingateway.gateway.state.committer import Committer
from twingateway.gateway.state.events import EventBus
from twingateway.gateway.state.journal import Age, Journal, JournalPolicy
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.numbers import Numbers
from twingateway.gateway.state.pending import Pending
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.gateway.twins.commands import Commands
from twingateway.gateway.twins.history import History
from twingateway.gateway.twins.nodes import Nodes
from twingateway.gateway.twins.overrides import Overrides
from twingateway.gateway.twins.quality_marks import QualityMarks
from twingateway.gateway.twins.queries import Queries
from twingateway.gateway.twins.retention import PropertyFinder, Retention
from twingateway.gateway.twins.verdicts import Verdicts
from twingateway.gateway.twins.writes import Writes
from twingateway.ports.store import Store
from twingateway.twin.register import Section

log = structlog.get_logger("node")


@dataclass(frozen=True, slots=True)
class Gateway:
    """One node's gateway. Build it with `open_gateway`."""

    name: str
    namespace: str
    is_root: bool
    store: Store
    clock: Clock
    numbers: Numbers
    committer: Committer
    table: TwinTable
    events: EventBus
    ledger: Ledger
    peers: Peers
    models: ModelBook
    ownership: Ownership
    inbound: Inbound
    sessions: Sessions
    repair: Repair
    host: AdapterHost
    queries: Queries
    nodes: Nodes
    commands: Commands
    writes: Writes
    overrides: Overrides
    verdicts: Verdicts
    lifetimes: Lifetimes
    journal: Journal
    relay: JournalRelay
    history: History
    collection: Collection
    started: float = field(default_factory=time.time)
    """When it was opened, Unix seconds."""

    @property
    def has_known_a_root(self) -> bool:
        """At a node that is not the root: another node granted it devices, or is heard of."""
        granted = any(self.table.section(device, Section.LIFECYCLE) for device in self.table.devices())
        return self.peers.root_name is not None or granted

    def begin(self, tasks: Tasks) -> None:
        """Start the work behind it."""
        tasks.start(self.numbers.run(), "numbers")
        tasks.start(self.committer.run(), "commits")
        tasks.start(self.relay.feed(), "journal out")
        tasks.start(self.relay.take_in(), "journal in")
        tasks.start(self.relay.keep_up(), "journal upkeep")
        tasks.start(self.collection.run(), "collection of tombstones")
        self.collection.open()
        marks = QualityMarks(self.peers, self.table, self.queries, self.journal)
        self.ledger.watch(marks.on_register, Section.PRESENCE)
        tasks.start(self.verdicts.run(), "verdicts")
        self.overrides.begin()
        self.sessions.mark_down()
        self.repair.look()


async def open_gateway(
    name: str,
    namespace: str,
    *,
    is_root: bool,
    store: Store,
    tasks: Tasks,
    clock: Clock | None = None,
    journal: JournalPolicy | None = None,
) -> Gateway:
    """Read the store and join the parts; nothing runs until `begin`. Raises StoreError."""
    clock, policy = clock or SystemClock(), journal or JournalPolicy()
    snapshot = await store.load()
    numbers = await Numbers(store, snapshot.gaps).open()
    table = TwinTable(snapshot.registers, snapshot.floor)
    committer, locks = Committer(store), DeviceLocks()
    events, unsettled = EventBus(table, numbers.last_lsn), Pending(table.highest_lsn)
    ledger = Ledger(clock, numbers, table, committer, events, unsettled, locks)
    peers = Peers(name, store.identity, snapshot, table, unsettled, policy.order, numbers.start)
    ledger.connect(peers)
    ledger.watch(peers.on_register, Section.LIFECYCLE)
    peers.root_name = name if is_root else None
    models = ModelBook(committer, peers, ledger, tasks, snapshot.models)
    grants = Grants(peers, table, ledger, numbers, tasks, locks) if is_root else None
    lives = Lifetimes(is_root, peers, ledger, clock, store.identity.boot_id)
    said = Statements(table, ledger, tasks)
    ownership = Ownership(grants, peers, table, ledger, said)
    repair = Repair(store, numbers, table, ledger, peers, grants, tasks, said)
    queries = Queries(peers, table, models, lives, said, clock, is_root)
    property_of, age = PropertyFinder(queries, models, said), Age(clock, await store.journal_depths())
    entries = Journal(name, namespace, is_root, policy, age, committer, clock, property_of.all)
    ledger.record(entries)
    retention = Retention(property_of, policy.retention)
    relay = JournalRelay(peers, store, committer, ledger, entries, clock, retention)
    wishes = Wishes(table, ledger, locks, property_of)
    verdicts = Verdicts(grants, repair, peers, table, ledger, models, queries, wishes, locks, entries, clock)
    overrides = Overrides(ownership, peers, table, ledger, models, queries, events, locks, entries, clock)
    commands = Commands(is_root, peers, table, ledger, models, queries, events, grants, locks, lives)
    writes = Writes(is_root, store.identity.boot_id, commands, peers, queries, events, clock, tasks)
    sessions = Sessions(peers, ownership, models, table, ledger, clock, said, repair, relay, lives, verdicts, writes)
    return Gateway(
        name=name,
        namespace=namespace,
        is_root=is_root,
        store=store,
        clock=clock,
        numbers=numbers,
        committer=committer,
        table=table,
        events=events,
        ledger=ledger,
        peers=peers,
        models=models,
        ownership=ownership,
        inbound=Inbound(peers, table),
        sessions=sessions,
        repair=repair,
        host=AdapterHost(models, ledger, ownership, clock, tasks, said, lives, wishes, snapshot.attempts),
        queries=queries,
        nodes=Nodes(queries, peers, table, clock, namespace, is_root),
        commands=commands,
        writes=writes,
        overrides=overrides,
        verdicts=verdicts,
        lifetimes=lives,
        journal=entries,
        relay=relay,
        history=History(store, retention, clock),
        collection=Collection(grants, peers, table, ledger, ownership, locks),
    )
