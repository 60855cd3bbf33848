"""Two real gateways joined in memory: reports up, desired values down, acknowledgements back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from twingateway.errors import DeviceUnreachable, NotAuthorized, TwinGatewayError, Unavailable, VersionMismatch
from twingateway.gateway.devices import host, reporter
from twingateway.gateway.peering import acceptor, route
from twingateway.gateway.state.events import Notice
from twingateway.ports.link import Knocking, Link, LinkHandler
from twingateway.ports.memory_dialing import MemoryDialer
from twingateway.testing.joined import FakeMachine, MemoryNode, NamedVerifier, until
from twingateway.twin.ack import AckState
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")


def pair() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.5, "speed": 10}, frozenset({"speed"}))
    return cloud, edge


def reported(node: MemoryNode, name: str) -> object:
    return node.gateway.table.value(PUMP, Section.REPORTED, name)


async def test_a_report_at_the_edge_becomes_a_twin_at_the_cloud() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        edge.machines["pump"].say(flow=2.5)
        await until(lambda: reported(cloud, "flow") == 2.5)
        twin = cloud.gateway.queries.twin(PUMP)
        assert twin["status"]["holder"] == "edge"
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")


async def test_a_desired_value_is_written_once_and_acknowledged() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 20}}})
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.APPLIED
        assert edge.machines["pump"].written == [("speed", 20)]


async def test_everything_is_right_again_after_both_restart() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 20}}})
        await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
    async with cloud.running(), edge.running(cloud):
        assert reported(cloud, "flow") == 1.5
        edge.machines["pump"].say(flow=9.0)
        await until(lambda: reported(cloud, "flow") == 9.0)
        assert edge.machines["pump"].written == [("speed", 20)], "a final acknowledgement is never acted on again"


async def test_a_device_that_is_off_leaves_the_value_delivered_until_it_is_back() -> None:
    cloud, edge = pair()
    pump = edge.machines["pump"]
    pump.error = DeviceUnreachable("nobody answers")
    async with cloud.running(), edge.running(cloud):
        await until(lambda: cloud.gateway.queries.exists(PUMP))
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 30}}})
        await until(lambda: cloud.gateway.queries.ack(PUMP, "speed").state is AckState.DELIVERED)
        assert cloud.gateway.queries.ack(PUMP, "speed").code == "device-unreachable"
        pump.error = None
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.APPLIED
        assert pump.written == [("speed", 30)]


async def test_a_parent_that_was_lost_is_asked_as_often_as_all_its_children_may(monkeypatch) -> None:
    told: list[Knocking | None] = []
    dial = MemoryDialer.dial

    async def noting(self: MemoryDialer, handler: LinkHandler, knocking: Knocking | None = None) -> Link:
        told.append(knocking)
        return await dial(self, handler, knocking)

    monkeypatch.setattr(MemoryDialer, "dial", noting)
    monkeypatch.setattr(acceptor, "MOST_KNOCKS", 4)
    cloud, edge, other = MemoryNode("cloud"), MemoryNode("edge"), MemoryNode("other")
    async with cloud.running(), other.running(cloud):
        await until(lambda: len(list(cloud.gateway.peers)) == 1)
        async with edge.running(cloud):
            await until(lambda: len(list(cloud.gateway.peers)) == 2)
            for _ in range(2):
                known = len(told)
                await until(lambda: all(peer.line is not None for peer in cloud.gateway.peers))
                for link in cloud.listener.links:
                    link.drop()
                await until(lambda known=known: len(told) >= known + 2)
    assert [one for one in told if one is None] == [None, None], "of a parent that was never met nothing is known"
    last = told[-1]
    assert last is not None
    assert last.every == 0.5, "two children, four first packets a second"
    assert last.rings
    assert last.end - last.begin == route.KNOCK[1] - route.KNOCK[0]


async def test_a_value_set_while_the_link_is_down_arrives_afterwards() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        edge.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "unreachable")
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 40}}})
        edge.machines["pump"].say(flow=7.0)
        edge.path.cut = False
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 10.0)
        assert acks["speed"].state is AckState.APPLIED
        await until(lambda: reported(cloud, "flow") == 7.0)


async def test_what_the_device_refuses_has_failed_with_its_reason_and_what_it_was_never_asked_is_rejected() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        patch = {"spec": {"desiredProperties": {"speed": "forbidden", "colour": "red"}}}
        written = await cloud.gateway.commands.patch(PUMP, patch)
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.FAILED
        assert acks["speed"].message == "the device says no"
        assert acks["colour"].state is AckState.REJECTED


async def test_without_confirmation_the_ack_stays_delivered() -> None:
    cloud, edge = pair()
    edge.machines["pump"].confirms = False
    async with cloud.running(), edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 50}}})
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert (acks["speed"].state, acks["speed"].code) == (AckState.DELIVERED, "unconfirmed")


async def test_of_two_writers_with_one_version_one_is_told() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: cloud.gateway.queries.exists(PUMP))
        _, version = cloud.gateway.queries.desired(PUMP)
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 1}}}, version)
        with pytest.raises(VersionMismatch):
            await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 2}}}, version)


async def test_a_node_whose_certificate_is_revoked_while_it_is_connected_is_let_in_no_longer(monkeypatch) -> None:
    monkeypatch.setattr(acceptor, "JUDGED_EVERY", 0.05)
    cloud, edge = pair()
    judged = 0
    outcome: TwinGatewayError | None = None
    verify = NamedVerifier.verify

    def verdict(self, chain, node, *proof):
        nonlocal judged
        judged += node == "edge"
        if outcome is not None:
            raise outcome
        return verify(self, chain, node, *proof)

    monkeypatch.setattr(NamedVerifier, "verify", verdict)
    async with cloud.running(), edge.running(cloud):
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")
        peer = cloud.gateway.peers.known_child("edge", "default")
        (line,) = peer.lines
        outcome, judged = Unavailable("the list cannot be read"), 0
        await until(lambda: judged >= 2)
        assert peer.lines == [line], "who is connected stays while nothing can be checked"
        outcome = NotAuthorized("the certificate was revoked")
        await until(lambda: not peer.lines)
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "unreachable")
        outcome = None
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")


async def test_a_second_node_with_the_same_device_is_refused() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 99.0})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cloud.running())
        await stack.enter_async_context(edge.running(cloud))
        await until(lambda: reported(cloud, "flow") == 1.5)
        gateway = await stack.enter_async_context(other.running(cloud))
        listening = gateway.events.listen(0, 0)
        codes: list[str] = []
        while "claim-refused" not in codes:
            codes += [event.code for event in await listening.next_batch() if hasattr(event, "code")]
        assert reported(cloud, "flow") == 1.5
        assert cloud.gateway.peers.holder(PUMP) == "edge"


async def test_a_refused_claim_is_one_event_for_each_link_and_told_at_the_claimant_too() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 99.0})
    async with cloud.running() as root, edge.running(cloud):
        await until(lambda: reported(cloud, "flow") == 1.5)
        async with other.running(cloud) as gateway:
            listening = gateway.events.listen(0, 0)
            codes: list[str] = []
            for link in range(1, 3):
                while codes.count("claim-refused") < link:
                    codes += [event.code for event in await listening.next_batch() if isinstance(event, Notice)]
                for node in (root, gateway):
                    node.ledger.notice("behind-it", "whatever was to come before this is there, too")
                kept: list[str] = []
                while kept.count("behind-it") < 2 * link:
                    await asyncio.sleep(0.002)
                    page = await root.store.kept_page("event", 0, 100)
                    kept = [placed.entry.name for placed in page if isinstance(placed.entry, JournalEntry)]
                assert kept.count("claim-refused") == link
                cloud.listener.links[-1].drop()


async def test_a_region_between_passes_everything_through() -> None:
    cloud, edge = pair()
    region = MemoryNode("region")
    async with cloud.running(), region.running(cloud), edge.running(region):
        await until(lambda: reported(cloud, "flow") == 1.5)
        assert reported(region, "flow") == 1.5
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 60}}})
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.APPLIED


async def test_an_edge_that_lost_its_store_gets_a_new_epoch_and_goes_on() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await until(lambda: reported(cloud, "flow") == 1.5)
        replacement = MemoryNode("edge")
        replacement.machines["pump"] = FakeMachine({"flow": 3.5})
        async with replacement.running(cloud):
            await until(lambda: reported(cloud, "flow") == 3.5)


async def test_a_moved_device_is_run_by_its_new_node_and_fenced_at_the_old_one() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 50.0}, frozenset({"speed"}))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cloud.running())
        await stack.enter_async_context(edge.running(cloud))
        await until(lambda: reported(cloud, "flow") == 1.5)
        await stack.enter_async_context(other.running(cloud))
        await until(lambda: other.gateway.peers.parent is not None)
        await cloud.gateway.commands.move(PUMP, "other")
        await until(lambda: reported(cloud, "flow") == 50.0)
        await until(lambda: not edge.gateway.ownership.held(PUMP))
        edge.machines["pump"].say(flow=2.0)
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 70}}})
        acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state is AckState.APPLIED
        assert other.machines["pump"].written == [("speed", 70)]
        assert edge.machines["pump"].written == []
        assert reported(cloud, "flow") == 50.0


async def test_a_device_that_falls_silent_is_stale_at_the_cloud_until_it_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(reporter, "STALE_LEAST", 0.7)
    cloud, edge = pair()
    edge.machines["pump"].period = 0.1
    async with cloud.running(), edge.running(cloud):
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "stale")
        assert cloud.gateway.queries.presence(PUMP).since > 0
        edge.machines["pump"].say(flow=1.5)
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")


async def test_a_process_that_is_killed_while_it_dials_says_nothing_more() -> None:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.path.delay = 0.05
    async with cloud.running(), edge.running(cloud):
        await until(lambda: edge._dialling)
        edge.vanish()
        await asyncio.sleep(0.3)
        assert not list(cloud.gateway.peers), "its link came to nothing"
