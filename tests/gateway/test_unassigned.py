"""A device that the root deleted or moved is not run where it is still configured, and begins anew on its return."""

from __future__ import annotations

import asyncio

from tests.gateway.workbench import turns
from twingateway.errors import DeviceUnreachable
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.events import Listening, Notice
from twingateway.ports.store import Changes
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")


def pair() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    return cloud, edge


async def notice(listening: Listening, code: str) -> Notice:
    while True:
        for event in await listening.next_batch():
            if isinstance(event, Notice) and event.code == code:
                return event


def reported(node: MemoryNode) -> object:
    return node.gateway.table.value(PUMP, Section.REPORTED, "flow")


def stored_state(node: MemoryNode) -> object:
    stored = node.disk.registers.get(lifecycle_key(PUMP))
    return None if stored is None else fields(stored.register).get("state")


def is_run(node: MemoryNode) -> bool:
    return [health.devices for health in node.gateway.host.health()] == [1]


async def test_a_deleted_device_stops_at_its_edge_with_an_event() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud) == 1.0)
        heard = edge.gateway.events.listen()
        await cloud.gateway.commands.delete(PUMP)
        told = await notice(heard, "unassigned")
        assert told.device == PUMP
        assert "deleted" in told.message
        assert not is_run(edge)
        await until(lambda: edge.machines["pump"].closed)
        edge.machines["pump"].say(flow=2.0)
        assert reported(edge) is None
        assert not edge.gateway.peers.parent.session.outbox


async def test_a_device_that_was_deleted_while_its_edge_was_away_stops_when_it_is_back() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await until(lambda: reported(cloud) == 1.0)
        await cloud.gateway.commands.delete(PUMP)
        async with edge.running(cloud) as gateway:
            heard = gateway.events.listen()
            await notice(heard, "unassigned")
            assert not is_run(edge)
            assert not cloud.gateway.queries.exists(PUMP)


async def test_a_deleted_device_is_not_begun_again_by_a_restart_without_its_parent() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud) == 1.0)
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: not is_run(edge))
        await until(lambda: stored_state(edge) == "deleted")
    edge.machines["pump"].port = None
    async with edge.running(cloud) as gateway:
        assert not is_run(edge)
        assert edge.machines["pump"].port is None
        events = await gateway.events.listen(gateway.ledger.start, 2**62).next_batch()
        assert "unassigned" in [event.code for event in events if isinstance(event, Notice)]


async def test_a_device_that_is_created_again_is_run_again() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud) == 1.0)
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: not is_run(edge))
        document = {
            "apiVersion": "edge.iot.org/v1",
            "kind": "DeviceTwin",
            "metadata": {"name": "pump"},
            "spec": {"desiredProperties": {"speed": 4}},
        }
        await cloud.gateway.commands.put(document, "default")
        await until(lambda: edge.machines["pump"].written == [("speed", 4)])
        await until(lambda: reported(cloud) == 1.0)
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")


async def test_a_device_that_was_moved_away_and_back_is_stopped_and_run_again() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 5.0}, frozenset({"speed"}))
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud) == 1.0)
        async with other.running(cloud):
            await cloud.gateway.commands.move(PUMP, "other")
            await until(lambda: reported(cloud) == 5.0)
            await until(lambda: not is_run(edge))
            edge.machines["pump"].values["flow"] = 7.0
            await cloud.gateway.commands.move(PUMP, "edge")
            await until(lambda: reported(cloud) == 7.0)
            await until(lambda: not is_run(other))
            await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")


async def test_what_it_said_last_is_not_said_under_the_grant_of_the_node_that_was_given_it() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 5.0}, frozenset({"speed"}))
    async with cloud.running(), edge.running(cloud), other.running(cloud):
        await until(lambda: reported(cloud) == 1.0)
        commit, gate = edge.gateway.store.commit, asyncio.Event()

        async def slowly(changes: Changes) -> None:
            await gate.wait()
            await commit(changes)

        edge.gateway.store.commit = slowly  # type: ignore[method-assign]
        machine = edge.machines["pump"]
        assert machine.port is not None
        machine.port.offline(DeviceUnreachable("pump is off"))
        await turns()
        machine.say(flow=2.0)
        await cloud.gateway.commands.move(PUMP, "other")
        await until(lambda: reported(cloud) == 5.0)
        await until(lambda: not is_run(edge))
        gate.set()
        for _ in range(3):  # what waited for the first, and what waited for that
            await edge.gateway.committer.submit()
            await turns()
        assert reported(edge) is None
