"""Two running nodes with one name: one of them is kept out, which a person has to learn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.simulation.virtual_time import run
from twingateway.gateway.peering import namesakes
from twingateway.gateway.state.events import Listening, Notice
from twingateway.testing.joined import MemoryNode, until

AGAIN = 120.0


async def told(listening: Listening) -> list[Notice]:
    """What was published of it so far."""
    found: list[Notice] = []
    try:
        while True:
            async with asyncio.timeout(0.01):
                batch = await listening.next_batch()
            found += [each for each in batch if isinstance(each, Notice) and each.code == "name-shared"]
    except TimeoutError:
        return found


def test_two_nodes_of_one_name_are_told_at_their_parent_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namesakes, "TELL_AGAIN", AGAIN)

    async def together() -> list[Notice]:
        cloud, one, other = MemoryNode("cloud"), MemoryNode("edge"), MemoryNode("edge")
        async with cloud.running() as gateway, one.running(cloud):
            await until(lambda: one.gateway.peers.parent is not None and one.gateway.peers.parent.is_reached)
            listening = gateway.events.listen()
            async with other.running(cloud):
                await asyncio.sleep(AGAIN / 2)
                first = await told(listening)
                await asyncio.sleep(AGAIN)
                return [*first, *await told(listening)]

    notices = run(together())
    assert len(notices) == 2
    assert notices[0].message.startswith("two running nodes call themselves edge: ")
    assert notices[0].detail == {"node": "edge"}


def test_a_node_that_restarts_again_and_again_is_one() -> None:
    async def restarting() -> list[Notice]:
        cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
        async with cloud.running() as gateway, AsyncExitStack() as stack:
            listening = gateway.events.listen()
            for _ in range(8):
                async with edge.running(cloud):
                    await until(
                        lambda: edge.gateway.peers.parent is not None and edge.gateway.peers.parent.is_reached
                    )
                    edge.vanish()
            await stack.enter_async_context(edge.running(cloud))
            await asyncio.sleep(60.0)
            return await told(listening)

    assert run(restarting()) == []
