"""A cloud and an edge with a pump, joined in memory, whose link can be cut; and what their journals say."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twingateway.gateway.gateway import Gateway
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.desired import Origin
from twingateway.twin.entry import EVENT, JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump")
SPEED = "speed"


def model(policy: str) -> dict[str, Any]:
    speed = {"type": "integer", "access": "read-write", "maximum": 1000, "conflict": policy}
    return {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceModel",
        "metadata": {"name": "pump", "version": "1"},
        "spec": {"properties": {"speed": speed, "flow": {"type": "number"}}},
    }


@dataclass
class Joined:
    """`cloud` and `edge`, running until left; either may be restarted in between."""

    cloud: MemoryNode = field(default_factory=lambda: MemoryNode("cloud"))
    edge: MemoryNode = field(default_factory=lambda: MemoryNode("edge"))
    others: list[MemoryNode] = field(default_factory=list)
    _lives: dict[str, AsyncExitStack] = field(default_factory=dict)

    @property
    def pump(self) -> FakeMachine:
        return self.edge.machines["pump"]

    @property
    def root(self) -> Gateway:
        return self.cloud.gateway

    @property
    def holder(self) -> Gateway:
        return self.edge.gateway

    async def start(self, node: MemoryNode) -> None:
        life = self._lives[node.name] = AsyncExitStack()
        models = dict.fromkeys(node.machines, "pump@1")
        await life.enter_async_context(node.running(None if node is self.cloud else self.cloud, models))

    def backup(self, node: MemoryNode) -> MemoryDisk:
        disk = copy.deepcopy(node.disk)
        disk.in_use = False
        return disk

    async def stop(self, node: MemoryNode) -> None:
        life = self._lives.pop(node.name, None)
        if life is not None:
            await life.aclose()

    async def restart(self, node: MemoryNode) -> None:
        await self.stop(node)
        await self.start(node)

    def cut(self) -> None:
        self.edge.path.cut = True
        for link in list(self.cloud.listener.links):
            link.drop()

    def heal(self) -> None:
        self.edge.path.cut = False

    async def desire(self, value: Value, actor: str = "carol") -> None:
        patch: dict[str, Value] = {"spec": {"desiredProperties": {SPEED: value}}}
        await self.root.commands.patch(PUMP, patch, origin=Origin(actor))

    async def override(self, value: Value, actor: str = "olaf") -> str:
        return str((await self.holder.overrides.set(PUMP, SPEED, value, actor)).id)

    async def applied(self, value: Value) -> None:
        """The cloud knows that the device has it."""
        await until(lambda: self.desired() == value and self.ack() == "applied")

    @property
    def written(self) -> list[Value]:
        """What the pump was told, in order."""
        return [value for name, value in self.pump.written if name == SPEED]

    def desired(self, node: MemoryNode | None = None) -> Value:
        return (node or self.cloud).gateway.table.values(PUMP, Section.DESIRED).get(SPEED)

    def ack(self) -> str:
        ack = self.root.queries.ack(PUMP, SPEED)
        return "" if ack is None else ack.state.value

    def state(self, node: MemoryNode) -> Any:
        """Of the open override, as `node` shows it; None without one."""
        found: Any = node.gateway.queries.overrides(PUMP).get(SPEED)
        return None if found is None else found["state"]

    async def calm_here(self) -> None:
        """The edge has nothing left to do for its device, and has it on its disk."""
        await until(lambda: "applied" in str(self.holder.queries.overrides(PUMP)))
        await self.holder.committer.submit()

    async def calm(self, holds: Callable[[], object] = lambda: True) -> None:
        """`holds`, and everything that one node has to tell the other is told."""
        nodes = (self.cloud, self.edge)

        def is_calm() -> bool:
            waiting = [len(peer.session.outbox) for node in nodes for peer in node.gateway.peers]
            return bool(waiting) and not any(waiting) and bool(holds())

        await until(is_calm)

    async def recorded(self, code: str, count: int = 1) -> None:
        """The journal of the cloud has as many events of this code."""
        async with asyncio.timeout(5):
            while len(await self.events(self.cloud, code)) < count:
                await asyncio.sleep(0.002)

    async def events(self, node: MemoryNode, *codes: str) -> list[JournalEntry]:
        """What the journal that `node` keeps has of these events, in order."""
        store = node.gateway.store
        kept = await store.kept_page(EVENT, 0, 10_000)
        return [placed.entry for placed in kept if placed.entry.name in codes]


@asynccontextmanager
async def joined(policy: str = "cloud-wins", *, first: Value = 10) -> AsyncIterator[Joined]:
    """Both run; the pump's speed is `first` by a desired value that was written and acknowledged."""
    both = Joined()
    both.edge.machines["pump"] = FakeMachine({"flow": 1.5}, frozenset({SPEED}))
    try:
        await both.start(both.cloud)
        await both.root.commands.put_model("default", model(policy))
        await both.start(both.edge)
        await until(lambda: both.root.queries.exists(PUMP))
        await until(lambda: both.holder.models.find("default", "pump@1") is not None)
        if first is not None:
            await both.desire(first)
            await both.applied(first)
            both.pump.written.clear()
        yield both
    finally:
        for node in both.others:
            await both.stop(node)
        await both.stop(both.edge)
        await both.stop(both.cloud)


async def undecided(both: Joined) -> None:
    """The edge overrode 10 by 99 while the cloud wanted 50; a person is to decide, and the link is there."""
    both.cut()
    await both.override(99)
    await both.desire(50)
    await until(lambda: both.written == [99])
    both.heal()
    await until(lambda: both.state(both.cloud) == both.state(both.edge) == "undecided")
    await both.calm(lambda: (ack := both.root.queries.ack(PUMP, SPEED)) and ack.code == "overridden")
