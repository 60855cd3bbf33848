"""When the child's end of a connection looks whether what it says is answered."""

from __future__ import annotations

import asyncio

from tests.simulation.virtual_time import run
from twingateway.gateway.peering.uplink import LOOK_EVERY, UplinkCarrier
from twingateway.testing.joined import MemoryNode, until

MINUTE = 60.0


def test_a_connection_on_which_nothing_is_owed_does_not_wake_the_node(monkeypatch):
    wakings = []
    timer = UplinkCarrier.timer

    def noted(carrier, now):
        wakings.append(now)
        timer(carrier, now)

    monkeypatch.setattr(UplinkCarrier, "timer", noted)

    async def idle() -> list[float]:
        cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
        async with cloud.running(), edge.running(cloud):
            await until(lambda: edge.gateway.peers.parent is not None and edge.gateway.peers.parent.is_reached)
            await asyncio.sleep(5.0)
            wakings.clear()
            await asyncio.sleep(MINUTE)
            return list(wakings)

    questions = MINUTE / MemoryNode("edge").ping_every
    assert questions <= len(run(idle())) < 0.2 * MINUTE / LOOK_EVERY
