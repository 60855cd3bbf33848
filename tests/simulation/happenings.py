"""What may happen in the simulated world, and how often. Each draws its details from the world's generator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tests.simulation.entries import NAME
from tests.simulation.machines import FORBIDDEN
from tests.simulation.operators import PATIENCE, override, override_at_edge, resolve, withdraw
from tests.simulation.tenures import Grant, granted_by
from tests.simulation.topology import ROOT, WIRES
from tests.simulation.traces import LABEL
from tests.simulation.writes import ALIVE, ANYBODY, DONE, HOLDER, OPEN, REFUSED, UNKNOWN, Write
from twingateway.errors import TwinGatewayError
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.twin.desired import PLAIN, Terms
from twingateway.twin.entry import ALARM, EVENT
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value

if TYPE_CHECKING:
    from tests.simulation.world import World

Happening = Callable[["World"], "Coroutine[Any, Any, None] | None"]


# --- devices and edges --------------------------------------------------------------------------------------------


def report(world: World) -> None:
    """A device changes and says so."""
    device, value = world.chance.choice([*WIRES]), world.number()
    world.note(f"{device} says value={value}")
    world.machines[device].say(value=value)


async def switch_off(world: World) -> None:
    """A device does not answer for a while."""
    machine = world.machines[world.chance.choice([*WIRES])]
    world.note(f"{machine.name} is off")
    machine.switch(off=True)
    await asyncio.sleep(world.chance.uniform(0.0, 1.0))
    machine.switch(off=False)


async def enter(world: World) -> None:
    """Something goes into the journal of a node, which says when it is durable."""
    node, class_name = world.chance.choice([*world.topology.parents]), world.chance.choice([ALARM, EVENT])
    if not world.is_up(node):
        return
    number = world.number()
    journal = world.nodes[node].gateway.journal
    try:
        async with asyncio.timeout(PATIENCE):
            await journal.append(class_name, None, NAME, {"number": number})
    except (TwinGatewayError, TimeoutError):
        return
    world.note(f"{node} has {class_name} {number}")
    world.oracle.entries.done[node, class_name, ""].append(number)


# --- clients of the root ------------------------------------------------------------------------------------------


def desire(world: World) -> None:
    """Somebody sets a desired value, now and then one that the device will refuse or that is wanted for a while."""
    value: Value = world.number()
    kind, ttl = world.chance.random(), None
    if kind < 0.1:
        value = f"{FORBIDDEN}-{value}"
    elif kind < 0.3:
        ttl = world.chance.uniform(0.02, 1.0)
    _desire(world, *_property(world), value, PATIENCE, ttl)


def desire_and_go(world: World) -> None:
    """Somebody sets a desired value and does not wait for the answer."""
    value, patience = world.number(), world.chance.uniform(0.0, 0.02)
    _desire(world, *_property(world), value, patience)


async def contest(world: World) -> None:
    """A desired value is set at an edge and, at about the same time, at the root."""
    device, name = _property(world)
    if world.chance.random() < 0.5:
        override_at_edge(world, device, name)
        await asyncio.sleep(world.chance.uniform(0.0, 0.02))
        _desire(world, device, name, world.number(), PATIENCE)
    else:
        _desire(world, device, name, world.number(), PATIENCE)
        await asyncio.sleep(world.chance.uniform(0.0, 0.02))
        override_at_edge(world, device, name)


def _property(world: World) -> tuple[str, str]:
    return world.chance.choice([*WIRES]), world.chance.choice(["speed", "mode"])


def _desire(world: World, device: str, name: str, value: Value, patience: float, ttl: float | None = None) -> None:
    terms = PLAIN if ttl is None else Terms(ttl=ttl)
    if world.is_up(ROOT):
        write = world.oracle.writes.ask((device, name), value, world.now, ttl)
        patch: Value = {"spec": {"desiredProperties": {name: value}}}
        commands = world.cloud.gateway.commands
        identity = DeviceId("default", device)
        world.ask(_answered(world, [write], lambda: commands.patch(identity, patch, None, terms), patience))


def label(world: World) -> None:
    """Somebody labels a twin."""
    device, value = world.chance.choice([*WIRES]), f"room-{world.number()}"
    if world.is_up(ROOT):
        write = world.oracle.writes.ask((device, LABEL), value, world.now)
        commands, patch = world.cloud.gateway.commands, {"metadata": {"labels": {LABEL: value}}}
        world.ask(_answered(world, [write], lambda: commands.patch(DeviceId("default", device), patch)))


async def race(world: World) -> None:
    """Two read the same version and write; one of them at most may succeed."""
    device = world.chance.choice([*WIRES])
    identity = DeviceId("default", device)
    if not world.is_up(ROOT) or not world.cloud.gateway.queries.exists(identity):
        return
    commands, version = world.cloud.gateway.commands, world.cloud.gateway.queries.version(identity)
    racers = []
    for _ in range(2):
        name, value = world.chance.choice(["speed", "mode"]), world.number()
        patch: Value = {"spec": {"desiredProperties": {name: value}}}
        write = world.oracle.writes.ask((device, name), value, world.now)
        racers.append(write)
        world.ask(_answered(world, [write], lambda patch=patch: commands.patch(identity, patch, version)))  # type: ignore[misc]
        await asyncio.sleep(world.chance.choice([0.0, 0.0, 0.01]))
    while any(write.outcome == OPEN for write in racers):
        await asyncio.sleep(0.1)
    if all(write.outcome == DONE for write in racers):
        world.oracle.problems.append(f"both of two writers with version {version} succeeded: {racers}")


def move(world: World) -> None:
    """Somebody gives the device that two edges are wired to to one of them."""
    if not world.is_up(ROOT):
        return
    device, node = "cart", world.chance.choice(WIRES["cart"])
    gateway, identity = world.cloud.gateway, DeviceId("default", device)
    write = world.oracle.writes.ask((device, HOLDER), node, world.now)

    async def moved() -> None:
        await gateway.commands.move(identity, node)
        lifecycle = gateway.table.get(lifecycle_key(identity))
        assert lifecycle is not None
        write.grant, write.version = granted_by(lifecycle), lifecycle.register.version

    world.ask(_answered(world, [write], moved))


async def delete_and_create(world: World) -> None:
    """Somebody deletes a twin, and creates it anew a while later."""
    device = world.chance.choice([*WIRES])
    delete(world, device)
    await asyncio.sleep(world.chance.uniform(0.0, 1.0))
    for _ in range(200):  # until it succeeds: a twin that stays away is no fun
        if world.is_up(ROOT):
            await create(world, device)
            if world.cloud.gateway.queries.exists(DeviceId("default", device)):
                return
        await asyncio.sleep(0.3)


def delete(world: World, device: str) -> None:
    if not world.is_up(ROOT):
        return
    gateway, identity, writes = world.cloud.gateway, DeviceId("default", device), world.oracle.writes
    gone = [writes.ask((device, name), None, world.now) for name in ("speed", "mode", LABEL)]
    gone += [writes.ask((device, ALIVE), False, world.now), writes.ask((device, HOLDER), ANYBODY, world.now)]

    async def deleted() -> None:
        await gateway.commands.delete(identity)
        for write in gone:
            write.grant = (_grant(world, identity)[0], 1)

    world.ask(_answered(world, gone, deleted))


async def create(world: World, device: str) -> None:
    gateway, identity, writes = world.cloud.gateway, DeviceId("default", device), world.oracle.writes
    if gateway.queries.exists(identity):
        return
    speed, room = world.number(), f"room-{world.number()}"
    document = {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": device, "labels": {LABEL: room}},
        "spec": {"desiredProperties": {"speed": speed}},
    }
    stated = [writes.ask((device, "speed"), speed, world.now), writes.ask((device, LABEL), room, world.now)]
    unstated = [writes.ask((device, "mode"), None, world.now)]
    unstated += [writes.ask((device, ALIVE), True, world.now), writes.ask((device, HOLDER), ANYBODY, world.now)]

    async def created() -> None:
        await gateway.commands.put(document, "default")
        for write in unstated:
            write.grant = (_grant(world, identity)[0], 0)

    done = asyncio.Event()

    async def told() -> None:
        try:
            await _answered(world, [*stated, *unstated], created)
        finally:
            done.set()

    world.ask(told())
    await done.wait()


def _grant(world: World, device: DeviceId) -> Grant:
    return granted_by(world.cloud.gateway.table.get(lifecycle_key(device)))


async def _answered(
    world: World, writes: list[Write], call: Callable[[], Coroutine[Any, Any, object]], patience: float = PATIENCE
) -> None:
    what = ", ".join(f"{write.key[0]}.{write.key[1]}={write.value}" for write in writes)
    what += "".join(f" for {write.ttl:.3f} s" for write in writes if write.ttl is not None)
    outcome = UNKNOWN
    try:
        async with asyncio.timeout(patience):
            await call()
        outcome = DONE
    except TwinGatewayError as error:
        outcome = REFUSED
        what += f" ({error.code})"
    except TimeoutError:
        pass
    finally:
        world.note(f"{what}: {outcome}")
        for write in writes:
            if write.outcome == OPEN:
                write.outcome = outcome
                if outcome != UNKNOWN:
                    write.ended = world.now


def collect(world: World) -> None:
    """A node looks for tombstones that are of no use any more; otherwise it does so once a minute."""
    name = world.chance.choice(world.topology.nodes)
    if world.is_up(name):
        world.ask(world.nodes[name].gateway.collection.collect(), name)


# --- faults -------------------------------------------------------------------------------------------------------


async def crash(world: World) -> None:
    """A process is killed and started again a while later."""
    name = world.chance.choice(world.topology.nodes)
    if world.is_up(name):
        await world.kill(name)
        world.start_later(name, 1.0)


def ambush(world: World) -> None:
    """A process will die at one of its next steps."""
    name = world.chance.choice(world.topology.nodes)
    world.ambushes[name] = world.chance.choice([0, 0, 1, 2, 3, 5, 8])


def back_up(world: World) -> None:
    """Somebody copies a node's disk while it runs."""
    name = world.chance.choice(world.topology.nodes)
    world.backups[name] = world.back_up(name)
    world.note(f"{name} backed up")


async def restore(world: World) -> None:
    """A node comes back on its old copy."""
    names = [name for name in world.backups if world.is_up(name)]
    if names:
        name = world.chance.choice(names)
        world.note(f"{name} is restored from its backup")
        await world.replace(name, world.backups.pop(name))


async def lose_store(world: World) -> None:
    """A node comes back with an empty disk."""
    name = world.chance.choice([*world.topology.parents])
    if world.is_up(name):
        world.note(f"{name} loses its store")
        await world.replace(name, type(world.nodes[name].disk)())


async def cut(world: World) -> None:
    """A link is silent for a while, or one of its directions is."""
    path = world.nodes[world.chance.choice([*world.topology.parents])].path
    what = world.chance.choice(["cut", "cut", "cut_up", "cut_down"])
    setattr(path, what, True)
    world.note(f"a link is {what}")
    await asyncio.sleep(world.chance.uniform(0.1, 1.5))
    setattr(path, what, False)


def weather(world: World) -> None:
    """Delay, order, duplication and loss change."""
    path = world.nodes[world.chance.choice([*world.topology.parents])].path
    path.loss = world.chance.choice([0.0, 0.05, 0.2, 0.5])
    path.delay = world.chance.choice([0.0, 0.01, 0.05, 0.2])
    path.jitter = world.chance.choice([0.0, 0.0, 0.05, 0.3])
    path.duplication = world.chance.choice([0.0, 0.0, 0.3])
    world.note(f"a link has loss {path.loss}, delay {path.delay}+{path.jitter}, duplication {path.duplication}")


def drop_links(world: World) -> None:
    """A node's connections from below break, noticed at both ends."""
    name = world.chance.choice(sorted({*world.topology.parents.values()}))
    if world.is_up(name):
        world.note(f"connections of {name} break")
        for link in list(world.nodes[name].listener.links):
            link.drop()


async def fill_disk(world: World) -> None:
    """A disk is full for a while, now and then but for the room that the store set aside."""
    name = world.chance.choice(world.topology.nodes)
    disk = world.nodes[name].disk
    disk.low, disk.full = True, world.chance.random() < 0.6
    world.note(f"the disk of {name} {'is full' if disk.full else 'has only the room set aside'}")
    lasts = world.chance.uniform(0.1, 1.0)
    if disk.full:
        world.full[name] = world.now, world.now + lasts
    await asyncio.sleep(lasts)
    disk.low = disk.full = False


def jump(world: World) -> None:
    """The wall clock of one node jumps by up to ten years."""
    name, years = world.chance.choice(world.topology.nodes), world.chance.uniform(-10, 10)
    world.clocks[name].offset_ms += int(years * 365 * 86_400_000)
    world.note(f"the clock of {name} jumps by {years:.1f} years")


#: How often of `sum` events.
HAPPENINGS: dict[Happening, int] = {
    report: 24,
    desire: 20,
    desire_and_go: 3,
    label: 3,
    race: 2,
    enter: 8,
    move: 4,
    delete_and_create: 2,
    switch_off: 2,
    collect: 2,
    cut: 5,
    weather: 5,
    drop_links: 3,
    crash: 3,
    ambush: 7,
    back_up: 3,
    restore: 2,
    lose_store: 1,
    fill_disk: 1,
    jump: 1,
}
#: The same where operators override: in two worlds of three.
OVERRIDING: dict[Happening, int] = {**HAPPENINGS, override: 8, contest: 12, withdraw: 4, resolve: 4}
#: What happens more often than that in a dense world: devices change hands, and stores are put back or lost.
DENSE: dict[Happening, int] = {move: 14, delete_and_create: 4, crash: 6, back_up: 8, restore: 10, lose_store: 3}
