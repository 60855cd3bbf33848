"""What the oracle takes, and what not: of the order in which devices are written, and of verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TypeAlias
from unittest.mock import patch

import pytest

from tests.simulation.overrides import LocalEdits
from tests.simulation.topology import FLAT, ROOT
from tests.simulation.virtual_time import run
from tests.simulation.world import World
from tests.simulation.writes import DONE, HOLDER, LOST, UNKNOWN, Key, Writes
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.events import Changed
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.conflict import Outcome, Verdict
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ConflictPolicy
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

Play: TypeAlias = Callable[[World], Coroutine[None, None, list[str]]]
CART, SPEED = DeviceId("default", "cart"), ("cart", "speed")


def flat_world() -> World:
    return next(world for world in map(World, range(100)) if world.topology is FLAT)


async def started(world: World) -> str:
    """All nodes run; who holds the cart."""
    for name in world.nodes:
        world.start(name)
    await asyncio.sleep(1.0)
    holder = world.cloud.gateway.peers.holder(CART)
    assert holder is not None
    return holder


async def done(world: World, key: Key, value: str | int, work: Awaitable[object]) -> None:
    write = world.oracle.writes.ask(key, value, world.now)
    await work
    write.outcome, write.ended = DONE, world.now
    await asyncio.sleep(1.0)


def speed_of(value: int) -> dict[str, Value]:
    return {"spec": {"desiredProperties": {"speed": value}}}


async def set_speed(world: World, value: int) -> None:
    await done(world, SPEED, value, world.cloud.gateway.commands.patch(CART, speed_of(value), None))
    assert world.machines["cart"].values["speed"] == value


async def override_speed(world: World, edge: str, value: int) -> None:
    edit = world.oracle.edits.ask(SPEED, value, edge, world.now, behind=False)
    made = await world.nodes[edge].gateway.overrides.set(CART, "speed", value, "olaf")
    edit.outcome, edit.id, edit.base = DONE, made.id, made.base


async def move_cart(world: World, edge: str) -> None:
    await done(world, ("cart", HOLDER), edge, world.cloud.gateway.commands.move(CART, edge))


async def move_by_a_root_that_is_put_back(world: World) -> None:
    """The first edge wrote 1, the second one, which is gone then, 2; the root's copy knows of neither."""
    first = await started(world)
    second = "edge-b" if first == "edge-a" else "edge-a"
    copy = world.back_up(ROOT)
    await set_speed(world, 1)
    await move_cart(world, second)
    await set_speed(world, 2)
    await world.kill(second)
    await world.kill(first)
    await world.replace(ROOT, copy)
    await asyncio.sleep(2.0)
    await move_cart(world, first)
    world.start(first)
    await asyncio.sleep(10.0)
    assert world.machines["cart"].values["speed"] == 1
    assert world.oracle.problems == []
    world.start(second)
    await asyncio.sleep(10.0)
    assert world.machines["cart"].values["speed"] == 2
    assert world.oracle.problems == []
    world.oracle.order.written(first, "cart", "speed", 1)
    assert f"{SPEED}: {first} wrote 1 after 2" in world.oracle.problems
    for name in list(world.lives):
        await world.kill(name)


@pytest.mark.parametrize("put_back", [True, False])
def test_what_a_holder_wrote_before_it_and_the_root_were_put_back_nobody_knows(put_back: bool) -> None:
    async def play(world: World) -> None:
        edge, patch = await started(world), world.cloud.gateway.commands.patch
        world.nodes[edge].path.cut = True
        await done(world, SPEED, 1, patch(CART, speed_of(1), None))
        copies = {name: world.back_up(name) for name in (edge, ROOT)}
        await done(world, SPEED, 2, patch(CART, speed_of(2), None))
        world.oracle.writes.find(SPEED, 2).outcome = UNKNOWN  # type: ignore[union-attr]
        world.nodes[edge].path.cut = False
        await asyncio.sleep(10.0)
        assert world.machines["cart"].values["speed"] == 2
        if put_back:
            world.nodes[edge].path.cut = world.machines["cart"].off = True
            for name, copy in copies.items():
                await world.replace(name, copy)
            world.nodes[edge].path.cut = False
            await asyncio.sleep(10.0)
            world.machines["cart"].off = False
            await asyncio.sleep(30.0)
            assert world.machines["cart"].values["speed"] == 1
        else:
            world.oracle.order.written(edge, "cart", "speed", 1)
        assert world.oracle.problems == ([] if put_back else [f"{SPEED}: {edge} wrote 1 after 2"])
        for name in list(world.lives):
            await world.kill(name)

    run(play(flat_world()))


def test_a_root_that_was_put_back_passes_on_what_it_lost_only_when_it_has_met_who_knows_it() -> None:
    run(move_by_a_root_that_is_put_back(flat_world()))


@pytest.mark.parametrize("put_back", [True, False])
def test_only_a_root_that_was_put_back_since_gives_a_verdict_that_it_gave_before(put_back: bool) -> None:
    edits, disk = LocalEdits(0, Writes()), MemoryDisk()
    edit = edits.ask(SPEED, 7, "edge-a", 0.0, behind=False)
    set_ = Override(OverrideId("line", 1), 7, "olaf", "edge-a", ZERO, 0)
    withdrawn, lost = (
        Verdict(set_.id, outcome, 0, by) for outcome, by in ((Outcome.WITHDRAWN, ""), (Outcome.LOST, "dora"))
    )
    for now, verdict in enumerate((withdrawn, lost, withdrawn), 1):
        for section, value in ((Section.OVERRIDE, set_.to_value()), (Section.VERDICT, verdict.to_value())):
            key = RegisterKey(CART, section, "speed")
            disk.registers[key] = StoredRegister(Register(key, Version(1, 1, now), value, 0), now)
        edits.look(disk, float(now))
        if put_back and now == 1:
            edits.replaced([disk], root_at=1.5)
    wrong = ["withdrawn, and then lost", "lost, and then withdrawn"]
    assert edits.problems == ([] if put_back else [f"{SPEED}: 7 was {each}" for each in wrong])
    assert edit.verdict is Outcome.WITHDRAWN


@pytest.mark.parametrize("behind", [True, False])
def test_an_override_that_went_with_its_store_is_known_to_who_set_a_later_one_as_the_holder_only(
    behind: bool,
) -> None:
    edits, disk = LocalEdits(0, Writes()), MemoryDisk()
    for value, node in ((7, "edge-b"), (8, "edge-a")):
        edits.ask(SPEED, value, node, value, behind=behind and value == 8).outcome = DONE
    later = Override(OverrideId("line", 1), 8, "olaf", "edge-a", ZERO, 0)
    key = RegisterKey(CART, Section.OVERRIDE, "speed")
    disk.registers[key] = StoredRegister(Register(key, Version(1, 1, 1), later.to_value(), 0), 1)
    assert [edit.value for edit in edits.replaced([disk], root_at=None)] == ([7] if behind else [])


async def write_what_was_wanted_before_a_move(world: World, how: str) -> list[str]:
    """The first edge does so after the second one, which has the device since, wrote another value; and once more."""
    first = await started(world)
    await set_speed(world, 1)
    world.nodes[first].path.cut = how == "cut off"
    await move_cart(world, "edge-b" if first == "edge-a" else "edge-a")
    if how == "put back":
        world.nodes[first].path.cut = True
        world.oracle.order.replaced(first, [node.disk for node in world.nodes.values()])
    wrong: list[str] = []
    for value in (2, 3):
        await set_speed(world, value)
        world.oracle.order.begun(first, "cart", "speed", 1)
        world.oracle.problems.clear()
        world.oracle.order.written(first, "cart", "speed", 1)
        wrong += world.oracle.problems
    for name in list(world.lives):
        await world.kill(name)
    return wrong


@pytest.mark.parametrize("how", ["linked", "cut off", "put back"])
def test_who_has_been_told_that_a_device_is_not_its_own_any_more_does_not_write_it(how: str) -> None:
    world = flat_world()
    problems = run(write_what_was_wanted_before_a_move(world, how))
    assert bool(problems) is (how == "linked"), problems
    assert world.oracle.excuses.ever == (set() if how == "linked" else {"cut off"})


async def write_what_was_written_over(world: World, outcome: str) -> list[str]:
    """A holder that has been told everything writes 1 again after 2, of which the outcome is this in the end."""
    holder = await started(world)
    for value in (1, 2):
        await set_speed(world, value)
    world.oracle.writes.by_key[SPEED][-1].outcome = outcome
    world.oracle.problems.clear()
    world.oracle.order.written(holder, "cart", "speed", 1)
    for name in list(world.lives):
        await world.kill(name)
    return world.oracle.problems


@pytest.mark.parametrize("outcome", [DONE, LOST])
def test_what_was_wanted_before_a_write_that_is_lost_is_written_again(outcome: str) -> None:
    world = flat_world()
    problems = run(write_what_was_written_over(world, outcome))
    assert bool(problems) is (outcome == DONE), problems
    assert world.oracle.excuses.ever == (set() if outcome == DONE else {"bared"})


async def decide_for_the_second_time(world: World) -> list[str]:
    """A person decides for what an operator set, over the cloud's value, and had decided against it at a root that
    was put back since. The holder writes what is wanted each time, and then the last once more."""
    holder = await started(world)
    world.nodes[holder].path.cut = True
    await override_speed(world, holder, 2)
    await done(world, SPEED, 1, world.cloud.gateway.commands.patch(CART, speed_of(1), None))
    world.nodes[holder].path.cut = False
    await asyncio.sleep(10.0)
    copy = world.back_up(ROOT)
    assert world.machines["cart"].values["speed"] == 2
    await world.cloud.gateway.verdicts.resolve(CART, "speed", edge=False, actor="dora")
    await asyncio.sleep(1.0)
    assert world.machines["cart"].values["speed"] == 1
    await world.kill(holder)
    await world.replace(ROOT, copy)
    await asyncio.sleep(2.0)
    await world.cloud.gateway.verdicts.resolve(CART, "speed", edge=True, actor="dora")
    world.start(holder)
    await asyncio.sleep(10.0)
    assert world.machines["cart"].values["speed"] == 2
    assert world.oracle.problems == world.oracle.edits.problems == []
    world.oracle.order.written(holder, "cart", "speed", 2)
    for name in list(world.lives):
        await world.kill(name)
    return [f"{SPEED}: {holder} wrote 2 again"]


async def lend(world: World) -> list[str]:
    """A root that was put back to before a move takes the first edge for the holder, and that writes 1 over what an
    operator set at the second one. The second one writes that again once the root has met it; and then once more."""
    first = await started(world)
    second = "edge-b" if first == "edge-a" else "edge-a"
    copy = world.back_up(ROOT)
    await move_cart(world, second)
    world.nodes[second].path.cut = True
    await world.replace(first, MemoryDisk())  # it cannot tell the root that it was put back
    await world.replace(ROOT, copy)
    await asyncio.sleep(2.0)
    await override_speed(world, second, 2)
    await asyncio.sleep(1.0)
    await asyncio.sleep(10.0)
    await set_speed(world, 1)
    world.nodes[second].path.cut = False
    await asyncio.sleep(30.0)
    assert world.machines["cart"].values["speed"] == 2
    assert world.oracle.problems == world.oracle.edits.problems == []
    world.oracle.order.written(second, "cart", "speed", 2)
    for name in list(world.lives):
        await world.kill(name)
    return [f"{SPEED}: {second} wrote 2 again"]


@pytest.mark.parametrize(("play", "excuse"), [(decide_for_the_second_time, "taken anew"), (lend, "lent")])
def test_what_was_left_is_written_again_once_because_of_a_root_that_was_put_back(play: Play, excuse: str) -> None:
    worlds = (world for world in map(World, range(100)) if world.topology is FLAT)
    world = next(each for each in worlds if each.oracle.edits.policy(*SPEED) is ConflictPolicy.MANUAL)
    with patch.object(Wishes, "policy", lambda *_: ConflictPolicy.MANUAL):
        wrong = run(play(world))
    assert world.oracle.problems == wrong
    assert excuse in world.oracle.excuses.ever


def tell(world: World, value: int, epoch: int, seq: int) -> None:
    said = RegisterKey(CART, Section.REPORTED, "value")
    world.oracle._see(Changed(StoredRegister(Register(said, Version(1, epoch, seq), value, 0), seq), seq))


@pytest.mark.parametrize("put_back", [True, False])
async def test_only_a_root_that_was_put_back_to_before_a_move_shows_what_is_older_when_it_hears_of_that(
    put_back: bool,
) -> None:
    world = flat_world()
    oracle, disk = world.oracle, MemoryDisk()
    for epoch, holder in enumerate(("edge-a", "edge-b"), 1):
        lifecycle = Register(lifecycle_key(CART), Version(1, 1, epoch), {"holder": holder, "epoch": epoch}, 0)
        disk.registers[lifecycle.key] = StoredRegister(lifecycle, epoch)
        oracle.tenures.look(disk, float(epoch))
    oracle.edits.root_replaced = 3.0 if put_back else -1.0
    tell(world, 5, 1, 50)  # by the former holder
    tell(world, 4, 2, 7)
    assert oracle.problems == ([] if put_back else ["cart went back from 5 to 4"])
    tell(world, 3, 2, 8)
    assert oracle.problems[-1] == "cart went back from 4 to 3"


@pytest.mark.parametrize("holder_by_another", ["edge-a", "edge-b"])
def test_who_holds_a_device_by_one_of_two_grants_of_the_same_epoch_may_be_behind(holder_by_another: str) -> None:
    async def play(world: World) -> None:
        holder = await started(world)
        key = lifecycle_key(CART)
        granted = world.cloud.disk.registers[key]
        value = {**fields(granted.register), "holder": holder_by_another}
        other = next(name for name in ("edge-a", "edge-b") if name != holder)
        world.nodes[other].disk.registers[key] = StoredRegister(replace(granted.register, value=value), 1)
        assert world.oracle.is_behind(holder, CART.name) == (holder != holder_by_another)
        for name in list(world.lives):
            await world.kill(name)

    run(play(flat_world()))


async def test_after_its_end_a_root_shows_again_what_it_had_kept_and_from_there_nothing_older() -> None:
    world = flat_world()
    for value, seq in ((3, 7), (5, 8)):
        tell(world, value, 1, seq)
    kept = Register(RegisterKey(CART, Section.REPORTED, "value"), Version(1, 1, 7), 3, 0)
    world.cloud.disk.registers[kept.key] = StoredRegister(kept, 7)
    world.nodes["edge-a"].disk.registers[kept.key] = StoredRegister(replace(kept, value=5), 9)
    world.oracle.root_died(repaired=False)
    tell(world, 4, 1, 9)
    assert world.oracle.problems == []
    tell(world, 3, 1, 10)
    assert world.oracle.problems == ["cart went back from 4 to 3"]
