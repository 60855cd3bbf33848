"""Presence as both ends show it: where the device is, and at the root; each state with its since-when."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from copy import deepcopy
from typing import Any

import pytest

from tests.gateway.workbench import bench, turns
from twingateway.errors import DeviceTimeout, DeviceUnreachable
from twingateway.gateway.devices import host, reporter
from twingateway.gateway.peering.reach import reach_key
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import Presence
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")


def nodes() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.0})
    return cloud, edge


def presence(node: MemoryNode) -> Presence:
    return node.gateway.queries.presence(PUMP)


def at_both(cloud: MemoryNode, edge: MemoryNode, state: str) -> Callable[[], bool]:
    """Both show this state, and the same since-when."""
    return lambda: presence(cloud).state == state and presence(cloud) == presence(edge)


async def test_a_device_that_goes_and_comes_is_shown_so_at_both_ends() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "online"))
        since = presence(cloud).since
        port = edge.machines["pump"].port
        assert port is not None
        port.offline(DeviceTimeout("no answer in 2 s"))
        await until(at_both(cloud, edge, "offline"))
        gone = presence(cloud)
        assert (gone.code, gone.message) == ("device-timeout", "no answer in 2 s")
        assert gone.since >= since
        port.offline(DeviceTimeout("no answer in 2 s"))
        port.online()
        await until(at_both(cloud, edge, "online"))
        assert presence(cloud).since >= gone.since


async def test_an_adapter_that_fails_takes_its_device_offline_at_both_ends() -> None:
    cloud, edge = nodes()
    edge.machines["pump"].error = DeviceUnreachable("nobody answers")
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "offline"))
        assert presence(cloud).code == "device-unreachable"
        edge.machines["pump"].error = None
        await until(at_both(cloud, edge, "online"))


async def test_a_silent_device_is_stale_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(reporter, "STALE_LEAST", 0.5)
    cloud, edge = nodes()
    edge.machines["pump"].period = 0.1
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "online"))
        await until(at_both(cloud, edge, "stale"))
        stale = presence(cloud)
        edge.machines["pump"].say(flow=1.0)
        await until(at_both(cloud, edge, "online"))
        assert presence(cloud).since >= stale.since


async def test_what_was_not_heard_since_its_node_began_is_stale_at_both_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(reporter, "FIRST_WORD", 0.5)
    cloud, edge = nodes()
    async with cloud.running():
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "online"))
        edge.machines["pump"].mute = True
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "stale"))
            reason = cloud.gateway.queries.quality(PUMP).of("flow")
            assert reason is not None
            assert reason.code == "unheard"
            edge.machines["pump"].say(flow=1.0)
            await until(at_both(cloud, edge, "online"))


async def test_behind_a_region_that_is_cut_off_it_is_unreachable_above_and_online_below() -> None:
    cloud, edge = nodes()
    region = MemoryNode("region")
    async with cloud.running(), region.running(cloud), edge.running(region):
        await until(at_both(cloud, edge, "online"))
        await until(at_both(region, edge, "online"))
        region.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: presence(cloud).state == "unreachable")
        assert presence(cloud).message == "the node region is not heard by cloud"
        assert presence(region).state == presence(edge).state == "online"
        since = presence(cloud).since
        edge.machines["pump"].say(flow=2.0)
        assert presence(cloud).since == since, "since the hop broke, whatever is said behind it"
        region.path.cut = False
        await until(at_both(cloud, edge, "online"))


async def test_behind_an_edge_that_its_region_lost_it_is_unreachable_at_both_above() -> None:
    cloud, edge = nodes()
    region = MemoryNode("region")
    async with cloud.running(), region.running(cloud):
        async with edge.running(region):
            await until(at_both(cloud, edge, "online"))
        await until(lambda: presence(region).state == "unreachable")
        await until(lambda: presence(cloud) == presence(region))
        assert presence(cloud).message == "the node edge is not heard by region"
        async with edge.running(region):
            await until(at_both(cloud, edge, "online"))


async def test_an_edge_that_goes_to_another_region_is_reached_there() -> None:
    cloud, edge = nodes()
    first, second = MemoryNode("first"), MemoryNode("second")
    async with cloud.running(), first.running(cloud), second.running(cloud):
        for region in (first, second, first):
            async with edge.running(region):
                await until(at_both(cloud, edge, "online"))
                edge.machines["pump"].say(flow=region.name)
                await until(
                    lambda name=region.name: cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == name
                )
            await until(lambda: presence(cloud).state == "unreachable")


async def test_an_edge_that_comes_by_another_region_before_the_first_has_missed_it_is_not_shut_out() -> None:
    cloud, edge = nodes()
    edge.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    first, second = MemoryNode("first"), MemoryNode("second")
    async with cloud.running(), first.running(cloud), second.running(cloud):
        async with edge.running(first):
            await until(at_both(cloud, edge, "online"))
            edge.vanish()
        async with edge.running(second) as gateway:
            await until(lambda: not gateway.ownership.held(PUMP))
            for link in first.listener.links:
                link.drop()
            await until(lambda: gateway.ownership.held(PUMP))
            await until(at_both(cloud, edge, "online"))
            await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 4}}})
            await until(lambda: edge.machines["pump"].written == [("speed", 4)])


async def test_a_device_whose_document_was_taken_away_goes_offline_until_it_is_back() -> None:
    cloud, edge = nodes()
    async with cloud.running():
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "online"))
        machine = edge.machines.pop("pump")
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "offline"))
            gone = presence(cloud)
            assert gone.code == "not-configured"
        async with edge.running(cloud):
            await until(lambda: presence(cloud) == presence(edge) == gone)
        edge.machines["pump"] = machine
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "online"))


@pytest.mark.parametrize("lost", ["everything", "what came after a backup"])
@pytest.mark.parametrize("way", ["direct", "by a region"])
async def test_a_device_whose_document_went_together_with_its_nodes_store_goes_offline(way: str, lost: str) -> None:
    cloud, edge, region = *nodes(), MemoryNode("region")
    edge.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    edge.machines["other"] = FakeMachine({"level": 1.0})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cloud.running())
        parent = cloud
        if way == "by a region":
            parent = region
            await stack.enter_async_context(region.running(cloud))
        async with edge.running(parent) as gateway:
            await until(at_both(cloud, edge, "online"))
            await gateway.committer.submit()
            backup = deepcopy(edge.disk)
        backup.in_use = False
        async with edge.running(parent):
            edge.machines["pump"].say(flow=7.0)
            await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 7.0)
        machine = edge.machines.pop("pump")
        edge.disk = MemoryDisk() if lost == "everything" else backup
        for _ in range(2):
            async with edge.running(parent):
                await until(at_both(cloud, edge, "offline"))
                assert presence(cloud).code == "not-configured"
                assert cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 7.0, "what it said last stays"
        edge.machines["pump"] = machine
        async with edge.running(parent):
            await until(at_both(cloud, edge, "online"))
            await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 4}}})
            await until(lambda: machine.written == [("speed", 4)])


async def test_nobody_speaks_for_a_device_that_was_moved_to_a_node_which_has_not_claimed_it() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "online"))
        await cloud.gateway.commands.move(PUMP, "other")
        await until(lambda: presence(cloud).state == presence(edge).state == "unknown")
        unclaimed = presence(cloud)
        assert unclaimed.code == "unclaimed"
        assert "other" in unclaimed.message
        assert presence(edge).code == "elsewhere"
        other = MemoryNode("other")
        other.machines["pump"] = FakeMachine({"flow": 2.0})
        async with other.running(cloud):
            await until(at_both(cloud, other, "online"))
            assert presence(edge).message == "it was given to other: ask that node, or the root", "it hears no claim"


async def test_a_node_shows_no_values_of_a_device_that_was_given_to_a_node_which_it_does_not_lead_to() -> None:
    """Nobody tells it what is desired of the device now, nor what came of that."""
    cloud, region, edge, other = map(MemoryNode, ("cloud", "region", "edge", "other"))
    for node in (edge, other):
        node.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    async with cloud.running(), region.running(cloud), edge.running(region):
        await until(at_both(cloud, edge, "online"))
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 4}}})
        await until(lambda: edge.machines["pump"].written == [("speed", 4)])
        async with other.running(cloud):
            await cloud.gateway.commands.move(PUMP, "other")
            await until(at_both(cloud, other, "online"))
            await until(lambda: presence(region).code == presence(edge).code == "elsewhere")
            for node in (region, edge):
                twin: Any = node.gateway.queries.twin(PUMP)
                assert twin["spec"].get("desiredProperties", {}) == twin["spec"].get("reportedProperties", {}) == {}
                assert twin["status"]["properties"] == {"reported": {}, "desired": {}}
                assert twin["status"]["holder"] == "other"
            shown: Any = cloud.gateway.queries.twin(PUMP)
            assert shown["spec"]["desiredProperties"] == {"speed": 4}


async def test_a_link_from_before_a_repair_that_ends_late_does_not_make_its_node_unreachable() -> None:
    async with bench() as b:
        former, _ = b.child("edge")
        b.gateway.peers.renew(await b.gateway.store.renew_identity())
        present, _ = b.child("edge")
        b.unlink(former)
        await turns()
        assert b.gateway.table.value(*reach_key("edge", b.gateway.name))["state"] == "up"
        b.unlink(present)
        await turns()
        assert b.gateway.table.value(*reach_key("edge", b.gateway.name))["state"] == "down"
