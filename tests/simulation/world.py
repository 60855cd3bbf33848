"""Whole gateways under faults, in virtual time: one seed owns clocks, network, disks, machines, crashes and clients.

The world is a root with edges below it, in some seeds with a region between, and devices wired to the edges. Every
draw comes from the seed's generator. `happenings` says what may happen; here is how nodes live and die, and the play:
trouble, then quiet, then judgement. The trace says what was done, in virtual time.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any
from unittest.mock import patch

from tests.simulation import topology
from tests.simulation.happenings import DENSE, HAPPENINGS, OVERRIDING
from tests.simulation.machines import Machine, machine_kind
from tests.simulation.oracle import Oracle
from tests.simulation.stores import SlowStore
from tests.simulation.topology import ROOT, WIRES
from tests.simulation.word import Path, Word
from twingateway.errors import StoreError, TwinGatewayError
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import MemoryNode
from twingateway.twin.entry import CLASSES, EVENT, JournalClass

#: Seconds in which things happen and how many do, and seconds of quiet after which everything must be right.
TROUBLE, EVENTS, QUIET = 3.0, 50, 45
#: Looks in a row, one a second, that must find nothing wrong; one world in so many is looked at only at the end.
STEADY, PATIENT = 3, 10
#: Bytes of journal that may wait where its cap is to be met.
SMALL_QUEUE = 1500
#: Seconds after which a node has written all that its disk had no room for before.
REFUSED_FOR = 1.5
#: In all worlds but one of so many operators override what the cloud wants.
UNDISTURBED = 3


class SimulatedClock:
    """Monotonic from the loop it is first asked in; the wall clock is the node's own and can jump."""

    def __init__(self) -> None:
        self.offset_ms = 1_700_000_000_000
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def wall_ms(self) -> int:
        return self.offset_ms + int(self.now() * 1000)


@dataclass
class Life:
    """One run of one node's process."""

    node: MemoryNode
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    up: bool = False
    task: asyncio.Task[None] | None = None


class World:
    """The nodes and machines, what keeps them alive, and the trace."""

    def __init__(self, seed: int, *, dense: bool = False) -> None:
        self.seed = seed
        self.dense = dense
        self.chance = random.Random(seed)
        random.seed(seed)
        self.trace: list[str] = []
        self.topology = topology.choose(self.chance)
        self.word = Word(self.topology.nodes, lambda: self.now)
        self.oracle = Oracle(self)
        self.clocks: dict[str, SimulatedClock] = {}
        self.nodes: dict[str, MemoryNode] = {}
        self.lives: dict[str, Life] = {}
        self.backups: dict[str, MemoryDisk] = {}
        self.ambushes: dict[str, int] = {}
        """By node: how many steps it has left."""
        self.full: dict[str, tuple[float, float]] = {}
        """By node: when its disk was last full, from and to."""
        self.clients: dict[asyncio.Task[None], str] = {}
        """With the node that each asked."""
        self.counter = 0
        self.machines = {name: Machine(name, self._begun(name), self._written(name)) for name in WIRES}
        policy = self._policy()
        for name in self.topology.nodes:
            self._add(name, policy)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def cloud(self) -> MemoryNode:
        return self.nodes[ROOT]

    def note(self, text: str) -> None:
        self.trace.append(f"{self.now:9.3f}  {text}")

    def number(self) -> int:
        """The next of all values in this world."""
        self.counter += 1
        return self.counter

    def is_up(self, name: str) -> bool:
        return name in self.lives and self.lives[name].up

    def running(self) -> Iterator[tuple[str, MemoryNode]]:
        return ((name, node) for name, node in self.nodes.items() if self.is_up(name))

    # --- lives ---------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if name not in self.lives:
            life = self.lives[name] = Life(self.nodes[name])
            life.task = asyncio.create_task(self._live(name, life))

    def start_later(self, name: str, most: float) -> None:
        asyncio.get_running_loop().call_later(self.chance.uniform(0.0, most), self.start, name)

    def end(self, name: str) -> asyncio.Task[None] | None:
        """The process is gone from one moment to the next, and its links fall silent."""
        since, until = self.full.get(name, (inf, -inf))
        self.word.ended(name, since if self.now < until + REFUSED_FOR else inf)
        life = self.lives.pop(name)
        self.ambushes.pop(name, None)
        if life.up:
            life.node.vanish()
        life.stop.set()
        for machine in self.machines.values():
            machine.ports.pop(name, None)
        for client, asked in self.clients.items():
            if asked == name:
                client.cancel()
        if name == ROOT:
            self.oracle.root_died(repaired=life.up and life.node.gateway.repair.repairs > 0)
        return life.task

    async def kill(self, name: str) -> None:
        self.note(f"{name} is killed")
        task = self.end(name)
        if task is not None:
            await task

    async def replace(self, name: str, disk: MemoryDisk) -> None:
        """A node comes back on another disk."""
        await self.kill(name)
        before, self.nodes[name].disk = self.nodes[name].disk, disk
        self.oracle.replaced(name, before)
        self.start_later(name, 0.7)

    def back_up(self, name: str) -> MemoryDisk:
        disk = copy.deepcopy(self.nodes[name].disk)
        disk.in_use = disk.full = disk.low = False
        self.oracle.entries.copied(name, disk)
        return disk

    async def step(self, node: str, what: str) -> None:
        """A node's work has come to this step; for a node that is lain in wait for, it may be the last."""
        left = self.ambushes.get(node)
        if left is None:
            return
        if left:
            self.ambushes[node] = left - 1
            return
        del self.ambushes[node]
        if not self.is_up(node):
            raise StoreError(f"{node} dies while it starts, {what}")
        self.note(f"{node} dies {what}")
        self.end(node)
        self.start_later(node, 1.0)
        await asyncio.Event().wait()

    def ask(self, work: Coroutine[Any, Any, None], node: str = ROOT) -> None:
        """A client of a node's asks for something; it is gone with the node."""
        task = asyncio.create_task(work)
        self.clients[task] = node
        task.add_done_callback(self.clients.pop)

    async def _live(self, name: str, life: Life) -> None:
        while True:
            try:
                parent = self.topology.parents.get(name)
                async with life.node.running(None if parent is None else self.nodes[parent]):
                    self.note(f"{name} is up")
                    life.up = True
                    if name == ROOT:
                        self.oracle.watch(life.node.gateway)
                    await life.stop.wait()
            except* TwinGatewayError as group:  # the disk is full, say: the service manager starts it again
                self.note(f"{name} does not start: {group.exceptions[0]}")
            life.up = False
            if life.stop.is_set():
                return
            await asyncio.sleep(0.3)

    # --- making it -----------------------------------------------------------------------------------------------

    def _committed(self, node: str) -> None:
        """A node has made something durable."""
        self.oracle.entries.look(node, self.nodes[node].disk)
        if node == ROOT:
            self.oracle.look()

    def _add(self, name: str, policy: JournalPolicy) -> None:
        chance = random.Random(self.chance.random())
        clock = self.clocks[name] = SimulatedClock()
        node = MemoryNode(
            name, open_store=lambda disk: SlowStore(name, disk, self.step, self._committed, chance), clock=clock
        )
        node.path.chance = random.Random(self.chance.random())
        if name != ROOT:
            node.path.witness = Path(self.word, name, self.topology.parents[name])
        node.ping_every = 4.0
        node.journal = policy
        wired = {device: self.machines[device] for device in topology.wired_to(name)}
        node.machines.update(wired)  # type: ignore[arg-type]
        node.kind = machine_kind(name, wired, self.step, chance)
        self.nodes[name] = node

    def _policy(self) -> JournalPolicy:
        classes = dict(CLASSES)
        if self.chance.random() < 0.2:
            event = classes[EVENT]
            classes[EVENT] = JournalClass(EVENT, event.priority, event.ttl, SMALL_QUEUE)
        history = self.chance.choice([WithHistory.ALL, WithHistory.MODELLED])
        return JournalPolicy(classes, history)

    def _begun(self, device: str) -> Callable[[str, str, Any], None]:
        return lambda node, name, value: self.oracle.order.begun(node, device, name, value)

    def _written(self, device: str) -> Callable[[str, str, Any], None]:
        return lambda node, name, value: self.oracle.order.written(node, device, name, value)


async def simulate(world: World) -> None:
    """Trouble, then quiet, then judgement: raises AssertionError with what is wrong, TimeoutError if a process that
    was killed does not end."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: world.oracle.crashed(context))
    async with asyncio.timeout(10 * (TROUBLE + QUIET)):
        with patch.object(Wishes, "policy", lambda _, device, name: world.oracle.edits.policy(device.name, name)):
            await _trouble(world)
            _heal(world)
            problems = await _quiet(world)
        assert not problems, "\n".join(problems)
        for name in list(world.lives):
            await world.kill(name)


async def _trouble(world: World) -> None:
    world.note(f"the world is {world.topology.name}")
    for name in world.nodes:
        world.start(name)
    await asyncio.sleep(0.3)
    chances = OVERRIDING if world.seed % UNDISTURBED else HAPPENINGS
    chances = chances | DENSE if world.dense else chances
    happenings, weights = list(chances), list(chances.values())
    under_way = []
    for _ in range(EVENTS):
        await asyncio.sleep(world.chance.expovariate(EVENTS / TROUBLE))
        happening = world.chance.choices(happenings, weights)[0]
        work = happening(world)
        if work is not None:
            under_way.append(asyncio.create_task(work))
        world.oracle.sample()
    await asyncio.gather(*under_way)


def _heal(world: World) -> None:
    world.note("quiet")
    world.ambushes.clear()
    for machine in world.machines.values():
        machine.switch(off=False)
    for name, node in world.nodes.items():
        path = node.path
        path.cut = path.cut_up = path.cut_down = node.disk.full = node.disk.low = False
        path.loss, path.delay, path.jitter, path.duplication = 0.0, 0.01, 0.0, 0.0
        world.start(name)


async def _quiet(world: World) -> list[str]:
    """What is wrong at its end, or nothing as soon as that is steady."""
    if world.seed % PATIENT == 0:
        await asyncio.sleep(QUIET)
        return world.oracle.judge()
    good = 0
    problems: list[str] = []
    for _ in range(QUIET):
        await asyncio.sleep(1.0)
        problems = world.oracle.judge()
        good = 0 if problems else good + 1
        if good == STEADY:
            break
    return problems
