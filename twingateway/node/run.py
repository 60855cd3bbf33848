"""One node's life: build the parts its file asks for, run them in one TaskGroup, and end in good order.

Ready means: the store is open, every listener is bound and the adapters are started. It never waits for the uplink
or for any device. The end, on SIGTERM: adapters stop, what they said last gets a moment to reach the parent, event
streams are closed, everything waiting is committed.

Told to `reload`, it begins anew in the same process with another file; if a part of that cannot be started, with the
one that it had. A store that is found damaged, at the start or later, is moved aside; the node begins again with a
fresh one, which its peers make whole: nothing of the damaged file is served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from twingateway.config.load import LoadedNode
from twingateway.errors import StoreCorrupt, StoreError, TwinGatewayError
from twingateway.gateway.gateway import Gateway, open_gateway
from twingateway.gateway.state.tasks import Tasks
from twingateway.node.certificates import watch_certificate
from twingateway.node.links import make_uplink, start_listener, watch_network
from twingateway.node.parent_protocol import ParentProtocol
from twingateway.node.parts import (
    Bound,
    add_models,
    check_identity,
    journal_policy,
    load_credential,
    start_adapters,
    start_api,
    start_broker,
    start_webhooks,
)
from twingateway.plugins.registry import AdapterRegistry
from twingateway.store.quarantine import set_aside
from twingateway.store.salvage import Salvage
from twingateway.store.sqlite import SqliteStore, open_store

if TYPE_CHECKING:
    from twingateway.gateway.broker_uplink import BrokerUplink
    from twingateway.gateway.peering.uplink import Uplink

log = structlog.get_logger("node")

#: Seconds that outboxes have to empty when the node stops.
DRAIN = 1.0
#: Seconds that all parts together have to end; what is left of five is for the store.
STOP = 3.5
#: Seconds within which a second damaged store ends the node: fresh files do not break by themselves.
TWICE = 60.0
#: Seconds between two readings of the whole store.
LOOK_OVER = 86400.0


@dataclass(frozen=True, slots=True)
class _Damaged:
    """A store that was moved aside, if any file of it was left. `at`: monotonic seconds."""

    at: float
    reason: str
    kept_as: Path | None


class Node:
    """Runs until `stop` is called. `on_ready` is told where its parts can be reached, `on_use` of each file that it
    begins anew with, also when that is the one from before again."""

    def __init__(
        self,
        loaded: LoadedNode,
        registry: AdapterRegistry,
        on_ready: Callable[[Bound], None] | None = None,
        on_use: Callable[[LoadedNode], None] | None = None,
    ) -> None:
        self._loaded = loaded
        self._on_use = on_use
        self._next: LoadedNode | None = None
        self._former: LoadedNode | None = None
        """What was run before, until what is begun is ready."""
        self._registry = registry
        self._on_ready = on_ready
        self._stop = asyncio.Event()
        self._damaged: list[_Damaged] = []
        self._told = 0
        """How many of them were told."""
        self._salvaged: Path | None = None
        """The one that was read to its end."""
        self._protocol = ParentProtocol(loaded.config)
        self._uplink: Uplink | BrokerUplink | None = None
        self._again = asyncio.Event()
        """It is to begin anew, with `_next` if that is there."""
        self.gateway: Gateway | None = None

    def stop(self) -> None:
        self._stop.set()

    def reload(self, loaded: LoadedNode) -> None:
        """Begin anew with another file. Raises InvalidConfig or CertificateError, and goes on as it is, when it is
        plain that nothing would come of it."""
        check_identity(loaded.config)
        self._next = loaded
        self._again.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def run(self) -> None:
        """Returns after an orderly end. Raises TwinGatewayError when a part cannot be started."""
        while True:
            try:
                await self._live()
                if not self._again.is_set() or self.stopping:
                    return
                self._again.clear()
                if self._next is not None:
                    self._former = self._loaded
                    self._use(self._next)
                continue
            except ExceptionGroup as group:
                error = _reason(group)
                if not self._can_go_on(error):
                    raise error from group
            except TwinGatewayError as problem:
                error = problem
                if not self._can_go_on(error):
                    raise
            await self._go_on(error)

    def _can_go_on(self, error: Exception) -> bool:
        has_former = self._former is not None and not self.stopping
        return isinstance(error, StoreCorrupt) or (has_former and isinstance(error, TwinGatewayError))

    async def _go_on(self, error: Exception) -> None:
        if isinstance(error, StoreCorrupt):
            await self._set_store_aside(error)
        elif self._former is not None:
            log.error("what was read cannot be run; beginning with what was before", reason=str(error))
            self._use(self._former)
            self._former = None

    def _use(self, loaded: LoadedNode) -> None:
        self._loaded, self._next = loaded, None
        self._protocol = ParentProtocol(loaded.config)
        if self._on_use is not None:
            self._on_use(loaded)

    async def _set_store_aside(self, error: StoreCorrupt) -> None:
        """Raises `error` again when the last time was just before: then it is not the file."""
        now = time.monotonic()
        if self._stop.is_set() or (self._damaged and now - self._damaged[-1].at < TWICE):
            raise error
        aside = await asyncio.to_thread(set_aside, self._loaded.config.store_path)
        kept = {} if aside is None else {"kept_as": str(aside)}
        log.error("the store is of no use; beginning with a fresh one", reason=error.message, **kept)
        self._damaged.append(_Damaged(now, error.message, aside))

    async def _live(self) -> None:
        config = self._loaded.config
        check_identity(config)
        path = config.store_path
        async with AsyncExitStack() as stack:
            store = await open_store(path, config.store.spare)
            stack.push_async_callback(store.close)
            async with asyncio.TaskGroup() as group:
                tasks = Tasks(group)
                try:
                    gateway = self.gateway = await open_gateway(
                        config.node.name,
                        config.node.namespace,
                        is_root=config.uplink is None or self._protocol.is_broker,
                        store=store,
                        tasks=tasks,
                        journal=journal_policy(config),
                    )
                    stack.push_async_callback(gateway.committer.drain)
                    gateway.begin(tasks)
                    await self._run_parts(gateway, store, tasks)
                finally:
                    tasks.cancel()

    async def _run_parts(self, gateway: Gateway, store: SqliteStore, tasks: Tasks) -> None:
        config, bound = self._loaded.config, Bound()
        async with _InTime(AsyncExitStack()) as stack:
            await add_models(self._loaded, gateway)
            broker = None if config.broker is None else await start_broker(config.broker, stack, bound)
            webhooks = await start_webhooks(config, stack, bound)
            await start_listener(config, gateway, broker, tasks, stack, bound)
            await start_adapters(self._loaded, self._registry, gateway, broker, webhooks)
            stack.push_async_callback(self._drain, gateway)
            stack.push_async_callback(gateway.host.stop)
            await start_api(config, gateway, stack, bound)
            stack.callback(gateway.events.close)
            uplink = self._uplink = make_uplink(config, gateway, tasks, self._protocol, self._on_broker)
            if uplink is not None:
                watch_network(uplink, stack)
            uplink_task = None if uplink is None else tasks.start(uplink.run(), "uplink")
            self._see_to_damage(gateway, tasks)
            self._former = None
            if config.identity is not None:
                tasks.start(
                    watch_certificate(load_credential(config, config.identity), gateway.ledger), "certificate"
                )
            log.info("ready", node=gateway.name, **{part: at for part, at in asdict(bound).items() if at})
            if self._on_ready is not None:
                self._on_ready(bound)
            damage = await self._until_over(store)
            log.info("stopping")
        if uplink_task is not None:
            uplink_task.cancel()
            await asyncio.gather(uplink_task, return_exceptions=True)
        if damage is not None:
            raise damage

    def _see_to_damage(self, gateway: Gateway, tasks: Tasks) -> None:
        """A store that was set aside is told once, and read once to its end, however often the node begins anew."""
        gateway.repair.replacements = len(self._damaged)
        if not self._damaged:
            return
        last = self._damaged[-1]
        if self._told < len(self._damaged):
            self._told = len(self._damaged)
            gateway.repair.replaced(self._told, last.reason, None if last.kept_as is None else last.kept_as.name)
        if last.kept_as is not None and self._salvaged != last.kept_as:
            tasks.start(self._salvage(last.kept_as, gateway), "salvage")

    async def _salvage(self, damaged: Path, gateway: Gateway) -> None:
        """Take what only the damaged store has: the journal's entries and history. State comes from the peers."""
        found, salvage = 0, Salvage(damaged, gateway.name)
        while batch := await asyncio.to_thread(salvage.next_batch):
            found += await gateway.relay.take_back((each.entry, each.waited) for each in batch)
        self._salvaged = damaged
        log.warning("the damaged store was read for its journal and history", entries=found, kept_as=damaged.name)

    def _on_broker(self) -> bool:
        """The parent is a broker: begin anew as the root of this node's devices, unless another node is that."""
        if not self._protocol.may_change or self.gateway is None or self.gateway.has_known_a_root:
            return False
        log.info("the parent is an MQTT broker: this node is the root of its devices from now on")
        self._protocol.keep_broker()
        self._again.set()
        return True

    async def _until_over(self, store: SqliteStore) -> StoreCorrupt | None:
        """Until `stop` is called or the node is to begin anew, None, or the store is found damaged: how."""
        looking = asyncio.create_task(_look_over(store))
        damaged, stop = asyncio.create_task(store.damaged()), asyncio.create_task(self._stop.wait())
        again = asyncio.create_task(self._again.wait())
        try:
            await asyncio.wait([damaged, stop, again], return_when=asyncio.FIRST_COMPLETED)
            return damaged.result() if damaged.done() and not stop.done() else None
        finally:
            for task in (damaged, stop, again, looking):
                task.cancel()

    async def _drain(self, gateway: Gateway) -> None:
        """Give what was said last a moment to become durable at the parent."""
        deadline = gateway.clock.now() + DRAIN
        while self._uplink is not None and not self._uplink.idle and gateway.clock.now() < deadline:
            await asyncio.sleep(0.02)


async def _look_over(store: SqliteStore) -> None:
    """Look for damage from end to end, again and again; the store tells itself what it finds."""
    while True:
        try:
            await store.look_over()
        except StoreError as error:
            log.error("the store was looked over", code=error.code, reason=error.message)
        await asyncio.sleep(LOOK_OVER)


class _InTime:
    """Ends the parts of a node within STOP seconds: what takes longer is cancelled, and the rest still ends."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __aenter__(self) -> AsyncExitStack:
        return await self._stack.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            async with asyncio.timeout(STOP):
                await self._stack.__aexit__(*raised)
        except TimeoutError:
            log.warning("a part did not end in time")


def _reason(group: ExceptionGroup[Exception]) -> Exception:
    """The error of ours in it, however deep, or else the whole of it."""
    ours = group.subgroup(TwinGatewayError)
    first: Exception | None = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first or group
