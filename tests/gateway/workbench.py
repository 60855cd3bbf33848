"""One gateway's real parts over a memory store that can be slow, refuse and break; peers whose lines only record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twingateway.errors import StoreFull
from twingateway.gateway.gateway import Gateway, open_gateway
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.peering.peers import Peer
from twingateway.gateway.state.events import Event, Listening, Notice
from twingateway.gateway.state.tasks import Tasks
from twingateway.ports.link import LinkFacts
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Changes
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump")


class ManualClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = 1_700_000_000_000

    def now(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall


class SlowStore(MemoryStore):
    """Commits only while `gate` is set; raises `error` instead while there is one."""

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        super().__init__(disk)
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.commits: list[Changes] = []

    async def commit(self, changes: Changes) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.commits.append(changes)
        await super().commit(changes)


@dataclass
class RecordingLine:
    """A peer's connection that goes nowhere."""

    number: int = 1
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    closed: str | None = None
    url: str = ""
    quiet: bool = False

    def wake(self) -> None:
        pass

    def send_control(self, kind: str, body: dict[str, Any]) -> None:
        self.sent.append((kind, body))

    def close(self, reason: str) -> None:
        self.closed = reason

    def facts(self) -> LinkFacts:
        return LinkFacts("memory", "nowhere")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for sent, body in self.sent if sent == kind]


@dataclass
class Bench:
    gateway: Gateway
    store: SlowStore
    clock: ManualClock
    tasks: Tasks
    heard: Listening

    def full(self, yes: bool = True) -> None:
        self.store._disk.full = yes

    def child(self, name: str, namespace: str = "default") -> tuple[Peer, RecordingLine]:
        """A child that proved its name and is linked."""
        return self._link(self.gateway.peers.child(name, namespace))

    def parent(self, name: str = "cloud") -> tuple[Peer, RecordingLine]:
        return self._link(self.gateway.peers.open_parent(name, "default"))

    def _link(self, peer: Peer) -> tuple[Peer, RecordingLine]:
        line = RecordingLine(peer.next_link())
        peer.lines.append(line)
        peer.session.attach(line.number, datagrams=1000, now=0.0)
        self.gateway.sessions.linked(peer)
        return peer, line

    def unlink(self, peer: Peer) -> None:
        line = peer.line
        if line is not None:
            peer.session.detach(line.number)
            peer.lines = [other for other in peer.lines if other is not line]
        self.gateway.sessions.unlinked(peer, sent=line is not None)

    def lifecycle(self, device: DeviceId = PUMP) -> dict[str, Value]:
        value = self.gateway.table.value(*lifecycle_key(device))
        return value if isinstance(value, dict) else {}

    def value(self, section: Section, name: str, device: DeviceId = PUMP) -> Value:
        return self.gateway.table.value(device, section, name)

    def outbox(self, peer: Peer) -> dict[RegisterKey, Value]:
        return {entry.register.key: entry.register.value for entry in peer.session.outbox}

    async def events(self) -> list[Event]:
        """Everything published since the last call, at least one."""
        return await self.heard.next_batch()

    async def notice(self, code: str) -> Notice:
        """The next notice with this code."""
        async with asyncio.timeout(20):
            while True:
                for event in await self.heard.next_batch():
                    if isinstance(event, Notice) and event.code == code:
                        return event

    def durable(self, key: RegisterKey) -> Value:
        stored = self.store._disk.registers.get(key)
        return None if stored is None else stored.register.value


@asynccontextmanager
async def bench(name: str = "root", *, root: bool = True, disk: MemoryDisk | None = None) -> AsyncIterator[Bench]:
    """A gateway that runs without links; leaving is a crash."""
    disk = disk or MemoryDisk()
    store, clock = SlowStore(disk), ManualClock()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group)
            gateway = await open_gateway(name, "default", is_root=root, store=store, tasks=tasks, clock=clock)
            heard = gateway.events.listen()
            gateway.begin(tasks)
            try:
                yield Bench(gateway, store, clock, tasks, heard)
            finally:
                tasks.cancel()
                store.gate.set()
    finally:
        disk.in_use = False


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def claim(node: str, *devices: str, store: str = "aa", epoch: int = 0, root: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """The body of a claim."""
    return {"node": node, "store": store, "devices": [[device, epoch, list(root), False] for device in devices]}


def register(
    name: str, value: Value, seq: int, *, section: Section = Section.REPORTED, epoch: int = 1, device: DeviceId = PUMP
) -> Register:
    return Register(RegisterKey(device, section, name), Version(1, epoch, seq), value, 0)


FULL = StoreFull("no space left")
