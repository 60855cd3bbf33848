"""Whole gateways under faults, in virtual time: one seed owns clocks, network, disks, crashes and what people do.

The world consists of a root and two edges with their devices. Every draw of what happens comes from the seed's
generator. The trace says what was done, in virtual time.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.oracle import Oracle
from twingateway.errors import TwinGatewayError
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Changes
from twingateway.testing.joined import FakeMachine, MemoryNode
from twingateway.twin.identity import DeviceId

EDGES = {"edge-a": ("pump", "fan"), "edge-b": ("lamp",)}
#: Seconds in which faults happen, and seconds of quiet after which everything must be right.
TROUBLE = 8.0
QUIET = 40.0


class SimulatedClock:
    """Monotonic from the loop; the wall clock can jump."""

    def __init__(self) -> None:
        self.offset_ms = 1_700_000_000_000

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return self.offset_ms + int(self.now() * 1000)


class SlowStore(MemoryStore):
    """A store whose commits take time: a crash before its middle loses the commit, after it nobody was told."""

    def __init__(self, disk: MemoryDisk, chance: random.Random) -> None:
        super().__init__(disk, chance.randbytes)
        self._chance = chance

    async def commit(self, changes: Changes) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 0.01))
        await super().commit(changes)
        await asyncio.sleep(self._chance.uniform(0.0, 0.01))


@dataclass
class Life:
    """One run of one node's process."""

    node: MemoryNode
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class World:
    """The nodes, what can be done to them, and the trace of what was."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)
        self.clock = SimulatedClock()
        self.trace: list[str] = []
        self.oracle = Oracle()
        self.nodes: dict[str, MemoryNode] = {}
        self.lives: dict[str, Life] = {}
        self.backups: dict[str, MemoryDisk] = {}
        self.counter = 0
        for name in ("cloud", *EDGES):
            self._add(name)

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.now():9.3f}  {text}")

    @property
    def cloud(self) -> MemoryNode:
        return self.nodes["cloud"]

    def is_up(self, name: str) -> bool:
        return name in self.lives

    # --- what happens --------------------------------------------------------------------------------------------

    def report(self) -> None:
        """A device changes and says so, if its edge is up."""
        edge = self.chance.choice(list(EDGES))
        device = self.chance.choice(EDGES[edge])
        self.counter += 1
        self.note(f"{device} says value={self.counter}")
        self.nodes[edge].machines[device].say(value=self.counter)

    async def desire(self) -> None:
        """Somebody sets a desired value at the root."""
        if not self.is_up("cloud"):
            return
        device = self.chance.choice([d for devices in EDGES.values() for d in devices])
        name = self.chance.choice(["speed", "mode"])
        self.counter += 1
        value = self.counter
        self.oracle.asked(device, name, value)
        try:
            async with asyncio.timeout(5.0):
                await self.cloud.gateway.commands.patch(
                    DeviceId("default", device), {"spec": {"desiredProperties": {name: value}}}
                )
        except TwinGatewayError as error:
            self.note(f"desired {device}.{name}={value} refused: {error.code}")
            self.oracle.refused(device, name, value)
            return
        except TimeoutError:
            self.note(f"desired {device}.{name}={value}: no answer")
            return
        self.note(f"desired {device}.{name}={value} acknowledged")
        self.oracle.acknowledged(device, name, value)

    async def crash(self) -> None:
        """A process is killed and started again a while later."""
        name = self.chance.choice([*self.nodes])
        if self.is_up(name):
            await self.kill(name)
            await asyncio.sleep(self.chance.uniform(0.0, 3.0))
            self.start(name)

    async def lose_store(self) -> None:
        """An edge comes back with an empty disk."""
        name = self.chance.choice(list(EDGES))
        if self.is_up(name):
            await self.kill(name)
            self.note(f"{name} lost its store")
            self.oracle.store_lost(name)
            self.nodes[name].disk = MemoryDisk()
            await asyncio.sleep(self.chance.uniform(0.0, 1.0))
            self.start(name)

    def back_up(self) -> None:
        """Somebody copies a node's disk while it runs."""
        name = self.chance.choice([*self.nodes])
        self.backups[name] = copy.deepcopy(self.nodes[name].disk)
        self.backups[name].in_use = False
        self.oracle.backed_up(name)
        self.note(f"{name} backed up")

    async def restore(self) -> None:
        """A node comes back on its old copy."""
        names = [name for name in self.backups if self.is_up(name)]
        if not names:
            return
        name = self.chance.choice(names)
        await self.kill(name)
        self.note(f"{name} restored from its backup")
        self.nodes[name].disk = self.backups.pop(name)
        self.oracle.restored(name)
        await asyncio.sleep(self.chance.uniform(0.0, 1.0))
        self.start(name)

    async def cut(self) -> None:
        """An edge's link is silent for a while."""
        path = self.nodes[self.chance.choice(list(EDGES))].path
        path.cut = True
        self.note("a link is cut")
        await asyncio.sleep(self.chance.uniform(0.1, 4.0))
        path.cut = False

    def weather(self) -> None:
        """Delay and loss change."""
        path = self.nodes[self.chance.choice(list(EDGES))].path
        path.loss = self.chance.choice([0.0, 0.05, 0.2, 0.5])
        path.delay = self.chance.choice([0.0, 0.01, 0.05, 0.3])
        self.note(f"a link has loss {path.loss}, delay {path.delay}")

    def drop_links(self) -> None:
        """A node's connections break, noticed at both ends."""
        if self.is_up("cloud"):
            self.note("connections of the cloud break")
            for link in list(self.cloud.listener.links):
                link.drop()

    async def fill_disk(self) -> None:
        """A disk is full for a while, now and then but for the room that the store set aside."""
        disk = self.nodes[self.chance.choice([*self.nodes])].disk
        lasts = self.chance.uniform(0.1, 2.0)
        disk.low, disk.full = True, lasts < 1.0
        self.note("a disk is full" if disk.full else "a disk has only the room set aside")
        await asyncio.sleep(lasts)
        disk.low = disk.full = False

    def jump(self) -> None:
        """The wall clock jumps by up to ten years."""
        years = self.chance.uniform(-10, 10)
        self.clock.offset_ms += int(years * 365 * 86_400_000)
        self.note(f"the clock jumps by {years:.1f} years")

    # --- lives ---------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if self.is_up(name):
            return
        life = self.lives[name] = Life(self.nodes[name])
        life.task = asyncio.create_task(self._live(name, life))

    async def kill(self, name: str) -> None:
        life = self.lives.pop(name)
        self.note(f"{name} is killed")
        life.node.vanish()
        life.stop.set()
        if life.task is not None:
            await life.task

    async def _live(self, name: str, life: Life) -> None:
        while True:
            try:
                parent = None if name == "cloud" else self.cloud
                async with life.node.running(parent):
                    self.note(f"{name} is up")
                    if name == "cloud":
                        self.oracle.watch(life.node.gateway)
                    await life.stop.wait()
            except* TwinGatewayError:  # the disk is full, say: the service manager starts it again
                self.note(f"{name} does not start")
            if life.stop.is_set():
                return
            await asyncio.sleep(0.5)

    def _add(self, name: str) -> None:
        chance = random.Random(self.chance.random())
        node = MemoryNode(name, open_store=lambda disk: SlowStore(disk, chance), clock=self.clock)
        node.path.chance = random.Random(self.chance.random())
        for device in EDGES.get(name, ()):
            node.machines[device] = FakeMachine({"value": 0}, frozenset({"speed", "mode"}))
        self.nodes[name] = node


#: What may happen, and how often.
EVENTS: dict[str, int] = {
    "report": 30,
    "desire": 20,
    "cut": 4,
    "weather": 4,
    "drop_links": 3,
    "crash": 6,
    "lose_store": 1,
    "back_up": 2,
    "restore": 1,
    "fill_disk": 1,
    "jump": 1,
}


async def simulate(world: World, events: int = 45) -> None:
    """Trouble, then quiet, then judgement: raises AssertionError with what is wrong, TimeoutError if a process that
    was killed does not end."""
    async with asyncio.timeout(10 * (TROUBLE + QUIET)):
        await _play(world, events)


async def _play(world: World, events: int) -> None:
    for name in world.nodes:
        world.start(name)
    await asyncio.sleep(1.0)
    under_way: list[asyncio.Task[None]] = []
    for _ in range(events):
        await asyncio.sleep(world.chance.expovariate(events / TROUBLE))
        name = world.chance.choices(list(EVENTS), list(EVENTS.values()))[0]
        happening: Callable[[], object] = getattr(world, name)
        result = happening()
        if asyncio.iscoroutine(result):
            under_way.append(asyncio.create_task(result))
    await asyncio.gather(*under_way)
    _heal(world)
    await asyncio.sleep(QUIET)
    world.oracle.judge(world)
    for name in list(world.lives):
        await world.kill(name)


def _heal(world: World) -> None:
    world.note("quiet")
    for name, node in world.nodes.items():
        node.path.cut = node.disk.full = node.disk.low = False
        node.path.loss, node.path.delay = 0.0, 0.01
        world.start(name)
