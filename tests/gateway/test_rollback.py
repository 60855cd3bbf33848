"""Stores lost, and stores restored from an old copy, on either side: noticed and made whole without a person."""

from __future__ import annotations

import asyncio
import copy
from contextlib import AsyncExitStack
from typing import Any

import pytest

from twingateway.errors import StoreFull
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.holding.restored import Restored
from twingateway.gateway.peering.peers import Peer
from twingateway.gateway.state.lifecycle import DOUBT
from twingateway.gateway.state.overridden import override_of
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Changes, StoreIdentity
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.ack import AckState
from twingateway.twin.desired import plain
from twingateway.twin.entry import EVENT
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, Section
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump")

Three = tuple[MemoryNode, MemoryNode, MemoryNode]


def pair() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed", "mode"}))
    return cloud, edge


def rival() -> MemoryNode:
    """Another node that has a pump."""
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 2.0}, frozenset({"speed", "mode"}))
    return other


@pytest.fixture
async def restored() -> Three:
    """None of them running: a cloud restored from before it set a speed, the edge that applied that, and a rival."""
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        old = backup(cloud)
        await apply(cloud, speed=10)
    cloud.disk = old
    return cloud, edge, rival()


def backup(node: MemoryNode) -> MemoryDisk:
    disk = copy.deepcopy(node.disk)
    disk.in_use = False
    return disk


def reported(node: MemoryNode, name: str) -> Value:
    return node.gateway.table.value(PUMP, Section.REPORTED, name)


def desired(node: MemoryNode, name: str) -> Value:
    return node.gateway.table.value(PUMP, Section.DESIRED, name)


def is_in_doubt(cloud: MemoryNode) -> bool:
    """The root does not know yet whether it has all that it wrote for the pump."""
    lifecycle = cloud.gateway.table.get(lifecycle_key(PUMP))
    return lifecycle is not None and DOUBT in fields(lifecycle.register)


def is_adoption(register: Register) -> bool:
    """Whether the root writes this because it was told of registers that it had lost."""
    restored = Restored.of(fields(register))
    return register.key == lifecycle_key(PUMP) and restored is not None and restored.since is not None


async def apply(cloud: MemoryNode, **values: Value) -> None:
    """Set desired values and see them applied."""
    patch: Value = {"spec": {"desiredProperties": dict(values)}}
    written = await cloud.gateway.commands.patch(PUMP, patch)
    acks = await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
    assert all(ack.state is AckState.APPLIED for ack in acks.values()), acks


async def settle(cloud: MemoryNode, edge: MemoryNode) -> None:
    """Until the edge has been granted its device with its present store, and nothing waits."""
    await until(lambda: edge.gateway.ownership.held(PUMP))
    await until(lambda: edge.gateway.peers.parent is not None and not edge.gateway.peers.parent.session.outbox)
    await until(lambda: all(not peer.session.outbox for peer in cloud.gateway.peers))


async def test_an_edge_restored_from_a_backup_does_no_finished_write_again() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await until(lambda: reported(cloud, "flow") == 1.0)
            await apply(cloud, mode="eco")
            old = backup(edge)
            await apply(cloud, speed=10)
            edge.machines["pump"].say(flow=2.0)
            await until(lambda: reported(cloud, "flow") == 2.0)
        edge.disk = old
        async with edge.running(cloud):
            await until(lambda: edge.gateway.repair.repairs == 1)
            await settle(cloud, edge)
            assert desired(edge, "speed") == 10
            assert edge.machines["pump"].written == [("mode", "eco"), ("speed", 10)]
            await until(lambda: reported(cloud, "flow") == 2.0)
            edge.machines["pump"].say(flow=3.0)
            await until(lambda: reported(cloud, "flow") == 3.0)
            await apply(cloud, speed=11)


async def test_a_repair_that_the_store_refuses_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        await until(lambda: reported(cloud, "flow") == 1.0)
        old = backup(cloud)
        await apply(cloud, speed=10)
    cloud.disk = old
    async with cloud.running():
        store, refused = cloud.gateway.store, []
        renew = store.renew_identity

        async def refuse_once() -> StoreIdentity:
            if not refused:
                refused.append(True)
                raise StoreFull("no space")
            return await renew()

        monkeypatch.setattr(store, "renew_identity", refuse_once)
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            assert refused
            await until(lambda: desired(cloud, "speed") == 10)
            await settle(cloud, edge)
            await apply(cloud, speed=12)
            assert edge.machines["pump"].written == [("speed", 10), ("speed", 12)]


async def test_an_edge_that_lost_its_store_does_no_finished_write_again() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await until(lambda: reported(cloud, "flow") == 1.0)
            await apply(cloud, speed=10)
        edge.disk = MemoryDisk()
        async with edge.running(cloud):
            await settle(cloud, edge)
            assert desired(edge, "speed") == 10
            assert edge.machines["pump"].written == [("speed", 10)]
            await apply(cloud, speed=12)


async def test_a_root_restored_from_a_backup_gets_its_own_writes_back_from_the_edge() -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        await apply(cloud, mode="eco")
        old = backup(cloud)
        await apply(cloud, speed=10)
    cloud.disk = old
    async with edge_and(cloud, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await until(lambda: desired(cloud, "speed") == 10)
        await settle(cloud, edge)
        assert cloud.gateway.queries.ack(PUMP, "speed").state is AckState.APPLIED
        await apply(cloud, speed=11)
        assert edge.machines["pump"].written == [("mode", "eco"), ("speed", 10), ("speed", 11)]


async def test_what_a_restored_root_acknowledged_before_it_knew_is_not_lost() -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        await apply(cloud, mode="eco")
        old = backup(cloud)
        await apply(cloud, speed=10)
    cloud.disk = old
    async with cloud.running():
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 99}}})
        async with edge.running(cloud):
            await until(lambda: edge.machines["pump"].written[-1] == ("speed", 99))
            assert desired(cloud, "speed") == 99
            assert desired(edge, "speed") == 99


async def test_a_restored_root_hears_of_a_deletion_that_it_lost() -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        await apply(cloud, mode="eco")
        old = backup(cloud)
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: edge.gateway.ownership.is_taken(PUMP))
        deleted = cloud.gateway.table.get(lifecycle_key(PUMP))
        await until(lambda: edge.disk.peers["cloud"].lsn >= deleted.lsn)
    cloud.disk = old
    async with edge_and(cloud, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await until(lambda: not cloud.gateway.queries.exists(PUMP))
        assert not edge.gateway.ownership.held(PUMP)


async def test_a_move_after_a_restore_counts_more_than_what_the_holder_knows_from_before(restored: Three) -> None:
    cloud, edge, other = restored
    async with cloud.running():
        await cloud.gateway.commands.move(PUMP, "other")
        async with edge.running(cloud), other.running(cloud):
            await until(lambda: other.gateway.ownership.held(PUMP))
            await until(lambda: desired(other, "speed") == 10)
            await until(lambda: not edge.gateway.ownership.held(PUMP))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_the_former_holder_knows_is_taken_also_if_the_new_one_is_asked_first(
    when: str, restored: Three
) -> None:
    """The new holder knows what the root wrote since the restore, with greater versions than the lost ones; that says
    nothing of how far the lost history went. `when` it was given the device: before the restore was noticed."""
    cloud, edge, other = restored
    async with cloud.running():
        await cloud.gateway.commands.move(PUMP, "other")
        async with AsyncExitStack() as nodes:
            if when == "before":
                await nodes.enter_async_context(other.running(cloud))
                await until(lambda: other.gateway.ownership.held(PUMP))
            async with edge.running(cloud):
                await until(lambda: cloud.gateway.repair.repairs == 1)
            if when == "after":
                await nodes.enter_async_context(other.running(cloud))
            await until(lambda: not is_in_doubt(cloud))
            await settle(cloud, other)
            async with edge.running(cloud):
                await until(lambda: desired(other, "speed") == 10)
                await until(lambda: not edge.gateway.ownership.held(PUMP))
                await apply(cloud, speed=11)
                assert edge.machines["pump"].written == [("speed", 10)]


async def test_who_is_given_a_device_since_a_restore_waits_for_nobody_whom_the_lost_history_gave_it_to() -> None:
    """That one may never come back. It is known of by a former holder, who is the one given the device."""
    cloud, edge = pair()
    other = rival()
    async with edge_and(cloud, edge):
        old = backup(cloud)
        await cloud.gateway.commands.move(PUMP, "other")
        async with other.running(cloud):
            await until(lambda: fields(edge.disk.registers[lifecycle_key(PUMP)].register).get("holder") == "other")
            await apply(cloud, speed=10)
            await settle(cloud, other)
    cloud.disk = old
    async with cloud.running():
        await cloud.gateway.commands.move(PUMP, "edge")
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await settle(cloud, edge)
            assert not is_in_doubt(cloud)
            lifecycle = cloud.gateway.table.get(lifecycle_key(PUMP))
            assert lifecycle is not None
            assert lifecycle.register.version.epoch == 2, "it was asked once"
            async with other.running(cloud):
                await until(lambda: edge.machines["pump"].written == [("speed", 10)])


async def test_a_move_after_a_restore_brings_no_deleted_device_back() -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        old = backup(cloud)
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: edge.gateway.ownership.is_taken(PUMP))
        deleted = cloud.gateway.table.get(lifecycle_key(PUMP))
        await until(lambda: (known := edge.disk.peers.get("cloud")) is not None and known.lsn >= deleted.lsn)
    cloud.disk = old
    async with cloud.running():
        await cloud.gateway.commands.move(PUMP, "edge")
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: not cloud.gateway.queries.exists(PUMP))
            await until(lambda: edge.gateway.ownership.is_taken(PUMP))
            assert not edge.gateway.ownership.held(PUMP)


async def test_a_device_that_was_made_and_granted_since_the_restore_is_not_deleted_by_the_lost_history() -> None:
    cloud, edge = pair()
    other = rival()
    twin: Value = {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": "pump"},
        "spec": {"desiredProperties": {"speed": 99}},
    }
    async with edge_and(cloud, edge):
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: edge.gateway.ownership.is_taken(PUMP))
        old = backup(cloud)
        await cloud.gateway.commands.put(twin, "default")
        await until(lambda: edge.gateway.ownership.held(PUMP))
        await cloud.gateway.commands.delete(PUMP)
        await until(lambda: edge.gateway.ownership.is_taken(PUMP))
        deleted = cloud.gateway.table.get(lifecycle_key(PUMP))
        await until(lambda: (known := edge.disk.peers.get("cloud")) is not None and known.lsn >= deleted.lsn)
    cloud.disk = old
    async with cloud.running(), other.running(cloud):
        await cloud.gateway.commands.put(twin, "default")
        await until(lambda: other.gateway.ownership.held(PUMP))
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await settle(cloud, other)
            await until(lambda: desired(other, "speed") == 99)
            assert desired(cloud, "speed") == 99
            assert not edge.gateway.ownership.held(PUMP)


async def test_an_override_of_a_device_that_was_made_and_granted_since_the_restore_stays() -> None:
    """Its holder knows nothing of the lost history: the device is not made once more."""
    cloud, edge, other = MemoryNode("cloud"), MemoryNode("edge"), MemoryNode("other")
    edge.machines["valve"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    other.machines["pump"] = FakeMachine({"flow": 2.0}, frozenset({"speed", "mode"}))
    twin: Value = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "pump"}}
    valve = DeviceId("default", "valve")
    async with cloud.running(), edge.running(cloud):
        await until(lambda: edge.gateway.ownership.held(valve))
        old = backup(cloud)
        await cloud.gateway.commands.patch(valve, {"spec": {"desiredProperties": {"speed": 1}}})
        await until(lambda: edge.machines["valve"].written == [("speed", 1)])
    cloud.disk = old
    async with cloud.running(), other.running(cloud):
        await cloud.gateway.commands.put(twin, "default")
        await until(lambda: other.gateway.ownership.held(PUMP))
        await other.gateway.overrides.set(PUMP, "speed", 7, "olaf")
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: cloud.gateway.table.value(valve, Section.DESIRED, "speed") == 1)
            await until(lambda: cloud.gateway.collection._grants.has_heard_holder(PUMP))
            await settle(cloud, other)
            for node in (cloud, other):
                override = override_of(node.gateway.table, PUMP, "speed")
                assert override is not None
                assert override.value == 7


async def test_what_was_overridden_since_the_restore_outlasts_a_claimant_who_knows_of_a_former_twin() -> None:
    cloud, edge = pair()
    other = rival()
    async with edge_and(cloud, edge):
        old = backup(cloud)
        await cloud.gateway.commands.move(PUMP, "edge")
        await apply(cloud, speed=10)
    cloud.disk = old
    twin: Value = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "pump"}}
    async with cloud.running(), other.running(cloud):
        await cloud.gateway.commands.delete(PUMP)
        await cloud.gateway.commands.put(twin, "default")
        await until(lambda: other.gateway.ownership.held(PUMP))
        await other.gateway.overrides.set(PUMP, "speed", 7, "olaf")
        await until(lambda: plain(desired(cloud, "speed")) == 7)
        await apply(cloud, mode="eco")
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: is_adoption(cloud.gateway.table.get(lifecycle_key(PUMP)).register))
            await settle(cloud, other)
            for node in (cloud, other):
                override = override_of(node.gateway.table, PUMP, "speed")
                assert override is not None
                assert override.value == 7
                assert node.gateway.table.values(PUMP, Section.DESIRED) == {"speed": 7, "mode": "eco"}
            assert other.machines["pump"].written == [("speed", 7), ("mode", "eco")]
            await apply(cloud, speed=8)
            await until(lambda: not edge.gateway.ownership.held(PUMP))


async def test_a_claimant_whose_word_came_on_a_former_link_hears_the_judgement_on_the_present_one(
    monkeypatch: pytest.MonkeyPatch, restored: Three
) -> None:
    """The root takes the claimants' word, slowly, and both are back by then: what follows from that word is judged
    last, and is said on the link that there is then. A former holder that did not hear it would go on as holder."""
    cloud, edge, other = restored
    came_back: list[str] = []
    async with cloud.running():
        await cloud.gateway.commands.move(PUMP, "other")
        store, adopting, renewed = cloud.gateway.store, asyncio.Event(), asyncio.Event()
        commit, renew = store.commit, store.renew_identity
        on_claim = cloud.gateway.ownership.passage.on_claim

        async def commit_slowly(changes: Changes) -> None:
            if any(is_adoption(stored.register) for stored in changes.registers):
                adopting.set()
                await until(lambda: came_back == ["other", "edge"])
            await commit(changes)

        async def renew_meanwhile() -> StoreIdentity:
            await adopting.wait()
            edge.path.cut = other.path.cut = True
            renewed.set()
            return await renew()

        def claimed(peer: Peer, body: Any) -> None:
            on_claim(peer, body)
            if renewed.is_set() and peer.name not in came_back:
                came_back.append(peer.name)

        monkeypatch.setattr(store, "commit", commit_slowly)
        monkeypatch.setattr(store, "renew_identity", renew_meanwhile)
        monkeypatch.setattr(cloud.gateway.ownership.passage, "on_claim", claimed)
        async with edge.running(cloud), other.running(cloud):
            await until(renewed.is_set)
            other.path.cut = False
            await until(lambda: came_back == ["other"])
            edge.path.cut = False
            await until(lambda: other.gateway.ownership.held(PUMP))
            await until(lambda: desired(other, "speed") == 10)
            await until(lambda: not edge.gateway.ownership.held(PUMP))


async def test_a_root_that_lost_its_store_is_made_whole_from_its_edges() -> None:
    cloud, edge = pair()
    async with edge_and(cloud, edge):
        await apply(cloud, speed=10)
    cloud.disk = MemoryDisk()
    async with edge_and(cloud, edge):
        await until(lambda: desired(cloud, "speed") == 10)
        await until(lambda: reported(cloud, "flow") == 1.0)
        await apply(cloud, speed=11)
        assert edge.machines["pump"].written == [("speed", 10), ("speed", 11)]


def edge_and(cloud: MemoryNode, edge: MemoryNode):
    return _Both(cloud, edge)


class _Both:
    """Both nodes running, the first report at the cloud; leaving crashes both."""

    def __init__(self, cloud: MemoryNode, edge: MemoryNode) -> None:
        self._cloud, self._edge = cloud, edge

    async def __aenter__(self) -> None:
        self._first = self._cloud.running()
        await self._first.__aenter__()
        self._second = self._edge.running(self._cloud)
        await self._second.__aenter__()
        await until(lambda: reported(self._cloud, "flow") is not None)

    async def __aexit__(self, *error: object) -> None:
        await self._second.__aexit__(*error)  # type: ignore[arg-type]
        await self._first.__aexit__(*error)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["edge", "edge-2"])
async def test_a_node_that_begins_with_another_nodes_store_says_so(name: str) -> None:
    """`restore --force` may have put it there: that a copy is of another store does not say whose it is."""
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await until(lambda: lifecycle_key(PUMP) in edge.disk.registers)
    async with cloud.running(), MemoryNode(name, disk=edge.disk).running(cloud) as gateway:
        gateway.ledger.notice("begun", "and nothing more")
        events: list[str] = []
        async with asyncio.timeout(30):
            while "begun" not in events:
                await asyncio.sleep(0.1)
                events = [placed.entry.name for placed in await cloud.gateway.store.kept_page(EVENT, 0, 1000)]
        assert ("store-of-another" in events) is (name != "edge")
