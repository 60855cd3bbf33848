"""Devices that move between edges below one region: everybody on the way hears of it."""

from __future__ import annotations

import pytest

from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.ack import AckState
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")


def edge(name: str) -> MemoryNode:
    node = MemoryNode(name)
    node.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    return node


async def test_a_region_gives_the_new_holder_what_it_has_and_tells_the_former_one() -> None:
    cloud, region, first, second = MemoryNode("cloud"), MemoryNode("region"), edge("first"), edge("second")
    async with cloud.running(), region.running(cloud), first.running(region):
        await until(lambda: first.gateway.ownership.held(PUMP))
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 4}}})
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.APPLIED
        async with second.running(region):
            await cloud.gateway.commands.move(PUMP, "second")
            await until(lambda: second.gateway.ownership.held(PUMP))
            await until(lambda: second.gateway.table.value(PUMP, Section.DESIRED, "speed") == 4)
            await until(lambda: first.gateway.ownership.is_taken(PUMP))
            await cloud.gateway.commands.move(PUMP, "second")
            lifecycle = cloud.gateway.table.value(PUMP, Section.LIFECYCLE, "state")
            await until(lambda: second.gateway.table.value(PUMP, Section.LIFECYCLE, "state") != lifecycle)
            await until(lambda: second.gateway.ownership.held(PUMP))


@pytest.mark.parametrize("has_a_document", [True, False])
async def test_who_was_off_when_its_device_was_moved_hears_so_of_a_restarted_root(
    has_a_document: bool,
) -> None:
    cloud, first, second = MemoryNode("cloud"), edge("first"), edge("second")
    async with cloud.running(), first.running(cloud):
        await until(lambda: lifecycle_key(PUMP) in first.disk.registers)
    async with cloud.running(), second.running(cloud):
        await cloud.gateway.commands.move(PUMP, "second")
        await until(lambda: second.gateway.ownership.held(PUMP))
    if not has_a_document:
        first.machines.pop("pump")
    async with cloud.running(), first.running(cloud):
        await until(lambda: first.gateway.peers.holder(PUMP) == "second")
        assert first.gateway.ownership.abandoned() == []


async def test_who_was_off_hears_so_from_a_region_that_has_heard_it_before() -> None:
    cloud, region, first, second = MemoryNode("cloud"), MemoryNode("region"), edge("first"), edge("second")
    async with cloud.running(), region.running(cloud):
        async with first.running(region):
            await until(lambda: lifecycle_key(PUMP) in first.disk.registers)
        async with second.running(cloud):
            await cloud.gateway.commands.move(PUMP, "second")
            await until(lambda: "second" in str(region.disk.registers[lifecycle_key(PUMP)]))
    async with cloud.running(), region.running(cloud), first.running(region):
        await until(lambda: first.gateway.ownership.is_taken(PUMP))
