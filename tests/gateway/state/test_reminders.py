"""A node that was put back to an older copy has a gap record of the journal entries that it lacks, if none follow."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.gateway.state.test_journal import kept, node, waiting
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.state.events import Notice
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import MemoryNode, until
from twingateway.twin.entry import ALARM, LOST


def copied(of: MemoryNode) -> MemoryDisk:
    disk = copy.deepcopy(of.disk)
    disk.in_use = False
    return disk


async def alarms(gateway: Gateway, below: MemoryNode, *numbers: int) -> None:
    """They arrive one node above."""
    for number in numbers:
        await gateway.journal.append(ALARM, None, "hot", {"n": number})
    await until(lambda: waiting(below.disk, ALARM) == 0)


def lost(of: MemoryNode) -> list[tuple[str, int, int]]:
    """Of alarms: node, first and last."""
    entries = [placed.entry for placed in of.disk.journal.kept.get(ALARM, [])]
    return [(entry.node, entry.seq, entry.last) for entry in entries if entry.gap == LOST]


async def is_quiet(*nodes: MemoryNode) -> None:
    """No node is to remind its parent of anything any more."""

    def owed(each: MemoryNode) -> bool:
        parent = each.gateway.peers.parent
        return parent is None or any(sender.reminders._owed for sender in parent.journal._senders.values())

    await until(lambda: not any(map(owed, nodes)))


@asynccontextmanager
async def put_back(cloud: MemoryNode, disk: MemoryDisk) -> AsyncIterator[Gateway]:
    cloud.disk = disk
    async with cloud.running() as root:
        yield root


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_root_that_was_put_back_knows_what_it_lacks(is_restarted: bool) -> None:
    cloud, edge = node("cloud"), node("edge")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cloud.running())
        leaf = await stack.enter_async_context(edge.running(cloud))
        await alarms(leaf, edge, 1)
        backup = copied(cloud)
        await alarms(leaf, edge, 2, 3)
        cloud.vanish()
        if is_restarted:
            await stack.aclose()
            await stack.enter_async_context(edge.running(cloud))
        root = await stack.enter_async_context(put_back(cloud, backup))
        await until(lambda: lost(cloud))
        assert [name for _, name, _ in await kept(root, ALARM)] == ["hot", LOST]
    for _ in range(2):
        async with cloud.running(), edge.running(cloud):
            await is_quiet(edge)
    assert lost(cloud) == [("edge", 2, 3)], "and says it once"


async def test_a_region_tells_a_root_that_was_put_back_how_far_the_nodes_below_it_were_told() -> None:
    cloud, region, edge = node("cloud"), node("region"), node("edge")
    async with region.running(cloud) as middle:
        async with cloud.running():
            async with edge.running(region) as leaf:
                await alarms(leaf, edge, 1)
                await until(lambda: waiting(region.disk, ALARM) == 0)
                backup = copied(cloud)
                await alarms(leaf, edge, 2)
            await alarms(middle, region, 3)
            cloud.vanish()
        async with put_back(cloud, backup):
            await until(lambda: len(lost(cloud)) == 2)
            await is_quiet(region)
    assert sorted(lost(cloud)) == [("edge", 2, 2), ("region", 1, 1)]


async def test_what_a_region_lost_with_its_store_is_in_a_gap_record_at_the_root() -> None:
    cloud, region, edge = node("cloud"), node("region"), node("edge")
    async with edge.running(region) as leaf:
        async with region.running(cloud):
            async with cloud.running():
                await alarms(leaf, edge, 1)
                await until(lambda: waiting(region.disk, ALARM) == 0)
            await alarms(leaf, edge, 2, 3)
            assert waiting(region.disk, ALARM) == 2
            region.vanish()
        region.disk = MemoryDisk()
        async with cloud.running() as root, region.running(cloud):
            await until(lambda: lost(cloud))
            await is_quiet(region, edge)
            assert [value for _, _, value in await kept(root, ALARM)] == [{"n": 1}, None]
    assert lost(cloud) == [("edge", 2, 3)]


async def test_who_lacks_nothing_has_no_gap_whoever_is_restarted() -> None:
    cloud, region, edge = node("cloud"), node("region"), node("edge")
    for number in range(3):
        async with cloud.running(), region.running(cloud), edge.running(region) as leaf:
            await alarms(leaf, edge, number)
            await is_quiet(region, edge)
    async with cloud.running() as root, region.running(cloud), edge.running(region):
        await is_quiet(region, edge)
        assert [value for _, _, value in await kept(root, ALARM)] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_region_that_a_node_comes_to_does_not_say_that_what_went_another_way_is_lost() -> None:
    cloud, region, edge = node("cloud"), node("region"), node("edge")
    async with cloud.running() as root:
        async with edge.running(cloud) as leaf:
            await alarms(leaf, edge, 1, 2)
        async with region.running(cloud) as middle:
            heard = [root.events.listen(), middle.events.listen()]
            async with edge.running(region) as leaf:
                await is_quiet(region, edge)
                await alarms(leaf, edge, 3)
                await until(lambda: waiting(region.disk, ALARM) == 0)
            said = [event for each in heard for event in await each.next_batch() if isinstance(event, Notice)]
            assert "hot" in [notice.code for notice in said]
            assert "journal-gap" not in [notice.code for notice in said]
    assert lost(cloud) == []
