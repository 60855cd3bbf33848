"""Devices that move between edges below one region: everybody on the way hears of it."""

from __future__ import annotations

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
