"""Which of two overrides is the later when a store was put back in between: it does not know so yet, and its numbers
tell nothing of those of the history that was lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined, model
from twingateway.gateway.state.overridden import override_of
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.override import MOST_BEFORE

#: How far the numbers of a store's next opening jump.
NEAR, FAR = 10, 1 << 31
JUMPS = pytest.mark.parametrize(("lost", "since"), [(FAR, NEAR), (NEAR, FAR)])


def jumping(distance: int) -> Callable[[MemoryDisk], MemoryStore]:
    """A store whose numbers go on that far behind those that it reserved."""
    return lambda disk: MemoryStore(disk, lambda count: distance.to_bytes(4) + secrets.token_bytes(count - 4))


async def start_jumping(both: Joined, distance: int) -> None:
    both.edge._open_store = jumping(distance)
    await both.start(both.edge)


async def lose(both: Joined, distance: int, times: int = 1) -> MemoryDisk:
    """A copy of the edge's store, of which the root has heard more since: so many overrides. The edge has stopped."""
    both.cut()
    await both.override(97)
    await both.calm_here()
    old = both.backup(both.edge)
    await both.stop(both.edge)
    both.heal()
    await start_jumping(both, distance)
    await until(lambda: both.holder.ownership.held(PUMP))
    for value in range(99 - times, 99):
        await both.override(value)
        await both.applied(value)
    await both.calm(lambda: both.state(both.cloud) is None)
    both.cut()
    await both.stop(both.edge)
    return old


def shown(both: Joined) -> object:
    override = override_of(both.root.table, PUMP, SPEED)
    return None if override is None else (override.value, override.withdrawn)


async def settled(both: Joined) -> None:
    await until(lambda: both.holder.repair.repairs == 1)
    await until(lambda: both.holder.ownership.held(PUMP))
    await both.calm(lambda: both.state(both.cloud) is None and both.state(both.edge) is None)


@JUMPS
@pytest.mark.parametrize(
    ("times", "restarted"), [(1, False), (1, True), (MOST_BEFORE, True), (MOST_BEFORE + 1, False)]
)
async def test_what_is_set_before_the_restore_is_noticed_is_later_than_what_was_lost(
    lost: int, since: int, times: int, restarted: bool
) -> None:
    async with joined("edge-wins") as both:
        both.edge.disk = await lose(both, lost, times)
        await start_jumping(both, since)
        await both.override(99)
        await both.calm_here()
        if restarted:
            await both.stop(both.edge)
            await start_jumping(both, NEAR)
        both.heal()
        await both.applied(99)
        await settled(both)
        assert shown(both) == (99, None)
        assert both.written[-1] == 99
        await both.override(100)
        await both.applied(100)


@JUMPS
async def test_second_thoughts_before_the_restore_is_noticed_are_later_than_what_was_lost(
    lost: int, since: int
) -> None:
    """Of one line with what was lost, and accepted: its value is taken back."""
    async with joined("edge-wins") as both:
        both.edge.disk = await lose(both, lost)
        await start_jumping(both, since)
        await both.holder.overrides.withdraw(PUMP, SPEED, "ada")
        await until(lambda: both.written[-1] == 10)
        both.heal()
        await both.applied(10)
        await settled(both)
        assert shown(both) == (97, "ada")
        assert both.written[-1] == 10


@JUMPS
@pytest.mark.parametrize("times", [1, MOST_BEFORE + 1])
async def test_what_the_copy_brings_again_is_earlier_than_what_was_lost(lost: int, since: int, times: int) -> None:
    """Though it is said again how far that has come."""
    async with joined("edge-wins") as both:
        both.edge.disk = await lose(both, lost, times)
        await start_jumping(both, since)
        both.pump.say(flow=2.5)
        await both.calm_here()
        both.heal()
        await settled(both)
        await both.applied(98)
        assert shown(both) == (98, None)


@JUMPS
async def test_also_if_the_store_had_found_itself_put_back_before_in_what_was_lost(lost: int, since: int) -> None:
    """Then it had another identity, and nobody can tell it anything of numbers: it is just given back its word."""
    async with joined("edge-wins") as both:
        first, again = both.backup(both.edge), both.backup(both.edge)
        await both.desire(20)
        await both.applied(20)
        await both.stop(both.edge)
        both.edge.disk = first
        await start_jumping(both, lost)
        await until(lambda: both.holder.repair.repairs == 1 and both.holder.ownership.held(PUMP))
        await both.override(98)
        await both.applied(98)
        await both.calm(lambda: both.state(both.cloud) is None)
        both.cut()
        await both.stop(both.edge)
        both.edge.disk = again
        await start_jumping(both, since)
        await both.override(99)
        both.heal()
        await both.applied(99)
        await both.calm(lambda: both.state(both.cloud) is None and both.state(both.edge) is None)
        assert both.holder.repair.repairs == 0
        assert shown(both) == (99, None)


@JUMPS
async def test_what_a_former_store_brings_again_is_earlier_than_what_was_said_since_that_was_lost(
    lost: int, since: int
) -> None:
    """Nobody had been told of it, so what was said with the store between names it no more than what came later."""
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(97)
        await both.calm_here()
        old = both.backup(both.edge)
        await both.stop(both.edge)
        both.edge.disk = MemoryDisk()
        both.heal()
        await start_jumping(both, lost)
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.override(98)
        await both.applied(98)
        await both.calm(lambda: both.state(both.cloud) is None)
        await both.stop(both.edge)
        both.edge.disk = old
        await start_jumping(both, since)
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.calm(lambda: both.state(both.cloud) is None and both.state(both.edge) is None)
        assert shown(both) == (98, None)
        await both.applied(98)


async def under(stack: AsyncExitStack, node: MemoryNode, parent: MemoryNode, jump: int) -> AsyncExitStack:
    node._open_store = jumping(jump)
    life = await stack.enter_async_context(AsyncExitStack())
    await life.enter_async_context(node.running(parent, dict.fromkeys(node.machines, "pump@1")))
    return life


@JUMPS
async def test_a_region_that_forgot_as_well_changes_nothing_of_that(lost: int, since: int) -> None:
    """Nobody tells the edge so before it says something that the root takes for older than what it has."""
    both, region = Joined(), MemoryNode("region")
    both.edge.machines["pump"] = FakeMachine({"flow": 1.5}, frozenset({SPEED}))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(both.cloud.running())
        await both.root.commands.put_model("default", model("edge-wins"))
        between, below = await under(stack, region, both.cloud, NEAR), await under(stack, both.edge, region, NEAR)
        await until(
            lambda: both.holder.models.find("default", "pump@1") is not None and both.root.queries.exists(PUMP)
        )
        await both.desire(10)
        await both.applied(10)
        old = both.backup(both.edge)
        await below.aclose()
        below = await under(stack, both.edge, region, lost)
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.override(98)
        await both.applied(98)
        await until(
            lambda: both.state(both.cloud) is None and not any(len(p.session.outbox) for p in both.holder.peers)
        )
        await below.aclose()
        await between.aclose()
        both.edge.disk, region.disk = old, MemoryDisk()
        both.edge.path.cut = True
        await under(stack, both.edge, region, since)
        await both.override(99)
        await under(stack, region, both.cloud, NEAR)
        both.edge.path.cut = False
        await both.applied(99)
        await settled(both)
        assert shown(both) == (99, None)
        assert both.written[-1] == 99
