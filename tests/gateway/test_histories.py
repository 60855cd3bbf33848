"""A store that was put back to an older copy goes on with a history of its own. What it issues is told from what the
lost one did, however often it is started since, and though no node on the way remembers."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_bytes
from typing import Any

import pytest

from twingateway.gateway.holding.claims import Claim, fields, lifecycle_key
from twingateway.gateway.holding.restored import Restored
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import StoreIdentity
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, Version
from twingateway.twin.value import Value

PUMP, VALVE_ID = DeviceId("default", "pump"), DeviceId("default", "valve")
VALVE: dict[str, Value] = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "valve"}}


class Notices:
    """Implements Recorder."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def record(self, reported: object) -> None:
        pass

    def on_notice(self, code: str, *about: object) -> None:
        self.codes.append(code)


def tree() -> list[MemoryNode]:
    """A cloud, a region below it, and below that an edge with a pump."""
    nodes = [MemoryNode("cloud"), MemoryNode("region"), MemoryNode("edge")]
    nodes[-1].machines["pump"] = FakeMachine({"flow": 1.0}, frozenset({"speed"}))
    return nodes


def rival() -> MemoryNode:
    """Another node that has a pump."""
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 2.0}, frozenset({"speed"}))
    return other


@asynccontextmanager
async def running(*nodes: MemoryNode) -> AsyncIterator[None]:
    """Each below the one before; leaving crashes them."""
    async with AsyncExitStack() as stack:
        for parent, node in zip([None, *nodes], nodes, strict=False):
            await stack.enter_async_context(node.running(parent))
        yield


def backup(node: MemoryNode) -> MemoryDisk:
    disk = copy.deepcopy(node.disk)
    disk.in_use = False
    return disk


def value(node: MemoryNode, section: Section, name: str) -> Value:
    return node.gateway.table.value(PUMP, section, name)


async def quiet(*nodes: MemoryNode) -> None:
    await until(lambda: nodes[-1].gateway.ownership.held(PUMP))
    await until(lambda: all(peer.line and not peer.session.outbox for node in nodes for peer in node.gateway.peers))


def is_in_doubt(cloud: MemoryNode) -> bool:
    return "doubt" in fields(cloud.gateway.table.get(lifecycle_key(PUMP)).register)


def has_adopted(cloud: MemoryNode) -> bool:
    """Something of what it had lost when it was put back."""
    restored = Restored.of(fields(cloud.disk.registers[lifecycle_key(PUMP)].register))
    return restored is not None and restored.since is not None


async def apply(cloud: MemoryNode, edge: MemoryNode, speed: int) -> None:
    await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": speed}}})
    await until(lambda: edge.machines["pump"].values.get("speed") == speed)


async def test_a_holder_that_was_put_back_hears_so_from_the_root_though_the_node_between_lost_its_store() -> None:
    cloud, region, edge = nodes = tree()
    async with running(*nodes):
        await quiet(*nodes)
        old = backup(edge)
    async with running(*nodes):
        await quiet(*nodes)
        for speed in range(1, 20):
            await apply(cloud, edge, speed)
        await quiet(*nodes)
    region.disk, edge.disk = MemoryDisk(), old
    async with running(*nodes):
        await until(lambda: edge.gateway.repair.repairs == 1)
        await apply(cloud, edge, 20)
        edge.machines["pump"].say(flow=2.0)
        await until(lambda: value(cloud, Section.REPORTED, "flow") == 2.0)
        ack = cloud.gateway.queries.ack(PUMP, "speed")
        await until(lambda: cloud.gateway.queries.ack(PUMP, "speed") != ack or ack.observed == 20)
        assert edge.machines["pump"].written == [("speed", speed) for speed in range(1, 21)]


async def test_a_holder_that_was_put_back_after_it_had_another_store_hears_so_from_the_node_between() -> None:
    """The root was away, and the region has met the other store since."""
    cloud, region, edge = nodes = tree()
    async with running(*nodes):
        await quiet(*nodes)
        old = backup(edge)
    async with running(*nodes):
        await quiet(*nodes)
    async with running(*nodes):
        await quiet(*nodes)
        for link in cloud.listener.links:
            link.drop()
        region.path.cut = True
        await edge.gateway.overrides.set(PUMP, "speed", 7, "olaf")
        await until(lambda: "applied" in str(region.gateway.queries.overrides(PUMP)))
        await region.gateway.committer.submit()
    edge.disk = MemoryDisk()
    async with region.running(cloud), edge.running(region):
        await until(lambda: "speed" in edge.gateway.table.section(PUMP, Section.OVERRIDE))
        store = edge.gateway.peers.store_id
        await until(lambda: region.disk.peers["edge"].store_id == store)
    edge.disk = old
    async with running(*nodes):
        await until(lambda: edge.gateway.repair.repairs == 1)
        region.path.cut = False
        await quiet(*nodes)
        await until(lambda: all(value(node, Section.DESIRED, "speed") is not None for node in nodes))
        await until(lambda: all(value(node, Section.OVERRIDE, "speed") is not None for node in nodes))
        assert edge.machines["pump"].written == [("speed", 7)]


async def deleted_since(cloud: MemoryNode, edge: MemoryNode, nodes: list[MemoryNode]) -> MemoryDisk:
    """The root's store as it was; the pump was deleted then, and the edge has heard of it."""
    await quiet(*nodes)
    old = backup(cloud)
    await cloud.gateway.commands.delete(PUMP)
    deleted = cloud.gateway.table.get(lifecycle_key(PUMP))
    await until(lambda: edge.disk.registers.get(lifecycle_key(PUMP)).register == deleted.register)
    return old


async def test_a_root_that_was_put_back_hears_so_from_a_holder_though_the_node_between_lost_its_store() -> None:
    cloud, region, edge = nodes = tree()
    async with running(*nodes):
        old = await deleted_since(cloud, edge, nodes)
    region.disk, cloud.disk = MemoryDisk(), old
    async with running(cloud):
        await cloud.gateway.commands.move(PUMP, "edge")
        async with region.running(cloud), edge.running(region):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: not cloud.gateway.queries.exists(PUMP))
            await until(lambda: edge.gateway.ownership.is_taken(PUMP))


async def test_what_a_former_holder_knows_of_the_lost_history_is_not_lost_on_its_way_up() -> None:
    """The region that it comes by has what the root wrote since, with a greater version."""
    cloud, region, edge = nodes = tree()
    other = rival()
    async with running(*nodes):
        old = await deleted_since(cloud, edge, nodes)
    region.disk, cloud.disk = MemoryDisk(), old
    async with running(cloud):
        await cloud.gateway.commands.move(PUMP, "other")
        async with region.running(cloud), other.running(region):
            await until(lambda: other.gateway.ownership.held(PUMP))
            assert cloud.gateway.repair.repairs == 0
            async with edge.running(region):
                await until(lambda: cloud.gateway.repair.repairs == 1)
                await until(lambda: not cloud.gateway.queries.exists(PUMP))
                await until(lambda: other.gateway.ownership.is_taken(PUMP))


async def test_who_tells_a_root_that_it_was_put_back_is_heard_before_the_holder_by_that_copy() -> None:
    cloud, edge, other = MemoryNode("cloud"), tree()[-1], rival()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        await apply(cloud, edge, 1)
    async with running(cloud):
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 2}}})
        old = backup(cloud)
        await cloud.gateway.commands.move(PUMP, "other")
        async with other.running(cloud):
            await apply(cloud, other, 3)
            await quiet(cloud, other)
    cloud.disk = old
    async with running(cloud):
        renew = cloud.gateway.peers.renew

        def renewing(identity: StoreIdentity) -> None:
            other.path.cut = True  # it is not back before the edge is
            renew(identity)

        cloud.gateway.peers.renew = renewing  # type: ignore[method-assign]
        async with other.running(cloud), edge.running(cloud):
            edge.path.cut = True
            await until(lambda: cloud.gateway.repair.repairs == 1)
            edge.path.cut = False
            await until(lambda: not edge.gateway.ownership.held(PUMP))
            assert cloud.gateway.table.value(PUMP, Section.DESIRED, "speed") == 3
    assert edge.machines["pump"].written == [("speed", 1)]


async def test_of_what_a_claimant_and_the_node_between_know_of_a_lost_move_the_later_counts() -> None:
    cloud, region, edge = tree()
    other = rival()

    def told(node: MemoryNode) -> Register:
        return node.disk.registers[lifecycle_key(PUMP)].register

    async with running(cloud, region), AsyncExitStack() as beside:
        async with edge.running(region):
            await quiet(cloud, region, edge)
            old = backup(cloud)
            await beside.enter_async_context(other.running(region))
            before = told(edge)
            await cloud.gateway.commands.move(PUMP, "edge")
            await until(lambda: told(edge).version > before.version)
        await cloud.gateway.commands.move(PUMP, "other")
        await until(lambda: fields(told(region))["holder"] == "other")
    cloud.disk = old
    async with running(cloud, region, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await until(lambda: has_adopted(cloud))
        assert cloud.gateway.peers.holder(PUMP) == "other"


@pytest.mark.parametrize("below", ["cloud", "region"])
async def test_of_two_lost_moves_the_later_counts_also_if_the_earlier_is_heard_of_first(below: str) -> None:
    """The later one was back to the holder by the copy, which is there, and has not claimed yet."""
    cloud, region, edge = tree()
    other = rival()
    parent = region if below == "region" else cloud
    async with running(cloud, region), edge.running(parent):
        await quiet(cloud, edge)
        old = backup(cloud)
        async with other.running(cloud):
            await cloud.gateway.commands.move(PUMP, "other")
            await quiet(cloud, other)
        await cloud.gateway.commands.move(PUMP, "edge")
        await until(lambda: edge.gateway.ownership.held(PUMP))
        granted = cloud.gateway.table.get(lifecycle_key(PUMP)).register
        await until(lambda: edge.disk.registers[lifecycle_key(PUMP)].register == granted)
    cloud.disk = old
    late: list[Claim] = []
    async with running(cloud, region):
        grants = cloud.gateway.repair._grants
        assert grants is not None
        judge = grants.on_claims

        def on_claims(claims: list[Claim]) -> None:
            if claims[0].holder == "edge":
                late.extend(claims)
            else:
                judge(claims)

        grants.on_claims = on_claims  # type: ignore[method-assign]
        async with edge.running(parent):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            late.clear()  # they went with the link
            await until(lambda: late != [])
            async with other.running(cloud):
                await until(lambda: has_adopted(cloud))
                await quiet(cloud, other)
                judge(late)
                await until(lambda: edge.gateway.ownership.held(PUMP))
                await until(lambda: other.gateway.ownership.is_taken(PUMP))
                assert cloud.gateway.peers.holder(PUMP) == "edge"


async def test_whose_device_another_wrote_meanwhile_by_the_copy_asks_it_what_it_holds() -> None:
    cloud, _, edge = tree()
    other = rival()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        await apply(cloud, edge, 1)
        old = backup(cloud)
        async with other.running(cloud):
            await cloud.gateway.commands.move(PUMP, "other")
            await apply(cloud, other, 2)
            await until(lambda: cloud.gateway.queries.ack(PUMP, "speed").settled)
            await quiet(cloud, other)
    cloud.disk, edge.disk = old, MemoryDisk()
    edge.machines["pump"].values["speed"] = 2
    async with running(cloud, edge):
        await until(lambda: edge.machines["pump"].values["speed"] == 1)
        await quiet(cloud, edge)
        other.machines["pump"].values["speed"] = 1
        async with other.running(cloud):
            await until(lambda: other.machines["pump"].values["speed"] == 2)
            assert cloud.gateway.peers.holder(PUMP) == "other"


@pytest.mark.parametrize("had", ["its document", "no document any more", "no store any more"])
async def test_who_was_given_a_device_by_the_copy_hears_of_a_lost_move_when_it_claims(had: str) -> None:
    cloud, _, edge = nodes = tree()
    other = rival()
    async with running(*nodes):
        await quiet(*nodes)
        old = backup(cloud)
    async with running(cloud, other):
        await cloud.gateway.commands.move(PUMP, "other")
        await quiet(cloud, other)
    cloud.disk = old
    if had == "no document any more":
        edge.machines.pop("pump")
    if had == "no store any more":
        edge.disk = MemoryDisk()
    async with running(*nodes), other.running(cloud):
        await until(lambda: all(node.gateway.peers.holder(PUMP) == "other" for node in [*nodes, other]))
        await quiet(cloud, other)


async def test_a_root_that_was_put_back_to_a_copy_from_before_it_was_repaired_hears_so_from_a_holder() -> None:
    """Nobody knows its former identity any more, and what it lost may have numbers above all that it issues."""
    distance = b""

    def entropy(count: int) -> bytes:
        """Also of how far the numbers of an opening are from those before."""
        return distance + token_bytes(count - len(distance))

    cloud, edge = MemoryNode("cloud", open_store=lambda disk: MemoryStore(disk, entropy)), tree()[-1]
    async with running(cloud, edge):
        await quiet(cloud, edge)
        old = backup(cloud)
        await apply(cloud, edge, 1)
    for distance in (b"\xff", b"\x00"):
        cloud.disk, speed = copy.deepcopy(old), 2 + distance[0]
        async with running(cloud):
            await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": speed}}})
            async with edge.running(cloud):
                await until(lambda: cloud.gateway.repair.repairs == 1)
                await until(lambda: not is_in_doubt(cloud))
                await quiet(cloud, edge)
                assert value(cloud, Section.DESIRED, "speed") == speed


@pytest.mark.parametrize("starts", [1, 2, 3])
async def test_a_move_since_a_restore_brings_no_deleted_device_back_however_often_the_root_is_started(
    starts: int,
) -> None:
    cloud, _, edge = tree()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        old = backup(cloud)
        await cloud.gateway.commands.delete(PUMP)
        deleted = cloud.gateway.table.get(lifecycle_key(PUMP))
        await until(lambda: edge.disk.registers.get(lifecycle_key(PUMP)).register == deleted.register)
        await until(lambda: (known := edge.disk.peers.get("cloud")) is not None and known.lsn >= deleted.lsn)
    cloud.disk = old
    async with running(cloud):
        await cloud.gateway.commands.move(PUMP, "edge")
    for _ in range(starts - 1):
        async with running(cloud):
            pass
    async with running(cloud, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await until(lambda: not cloud.gateway.queries.exists(PUMP))
        await until(lambda: edge.gateway.ownership.is_taken(PUMP))


async def test_what_a_restored_root_granted_before_it_knew_is_not_taken_for_the_lost_history() -> None:
    """Its device was moved in the lost history; who had it before lost its store, and was granted it once more."""
    cloud, _, edge = tree()
    other = rival()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        old = backup(cloud)
        await cloud.gateway.commands.move(PUMP, "other")
        async with other.running(cloud):
            await until(lambda: other.gateway.ownership.held(PUMP))
            await until(lambda: edge.gateway.ownership.is_taken(PUMP))
    cloud.disk, edge.disk = old, MemoryDisk()
    async with running(cloud):
        async with edge.running(cloud):
            await until(lambda: edge.gateway.ownership.held(PUMP))
            granted = cloud.gateway.table.get(lifecycle_key(PUMP))
            await until(lambda: edge.disk.registers.get(lifecycle_key(PUMP)).register == granted.register)
        async with other.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: other.gateway.ownership.held(PUMP))
            refused = Notices()
            cloud.gateway.ledger.record(refused)
            async with edge.running(cloud):
                await until(lambda: "claim-refused" in refused.codes)
                assert other.gateway.ownership.held(PUMP)


async def test_what_a_former_holder_knows_from_before_the_copy_is_no_news() -> None:
    cloud, _, edge = tree()
    other = rival()
    async with running(cloud, edge):
        await quiet(cloud, edge)
    async with running(cloud):
        await cloud.gateway.commands.move(PUMP, "other")
        old = backup(cloud)
        await cloud.gateway.commands.put(VALVE, "default")
        async with edge.running(cloud):
            lost = cloud.gateway.table.get(lifecycle_key(VALVE_ID))
            await until(lambda: edge.disk.peers["cloud"].lsn >= lost.lsn)
    cloud.disk = old
    async with running(cloud):
        async with other.running(cloud):
            await until(lambda: other.gateway.ownership.held(PUMP))
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: not edge.gateway.ownership.held(PUMP))
            assert cloud.gateway.peers.holder(PUMP) == "other"
            async with other.running(cloud):
                await until(lambda: not is_in_doubt(cloud))
                assert other.gateway.ownership.held(PUMP)


async def test_what_was_lost_is_no_news_of_another_restore_once_it_is_known() -> None:
    """While registers of the lost history are taken back they say nothing of the restore themselves."""
    cloud, _, edge = tree()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        old = backup(cloud)
        await apply(cloud, edge, 1)
        lost = cloud.gateway.table.get(RegisterKey(PUMP, Section.DESIRED, "speed"))
        await until(lambda: edge.disk.peers["cloud"].lsn >= lost.lsn)
    cloud.disk = old
    async with running(cloud, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await quiet(cloud, edge)
        await cloud.gateway.commands.put(VALVE, "default")
        (peer,) = cloud.gateway.peers
        claim = {"node": "edge", "store": "00", "devices": [["valve", 0, list(lost.register.version), False]]}
        cloud.gateway.sessions.control(peer, "claim", claim)
        assert not cloud.gateway.repair.running


async def test_what_was_made_since_one_restore_is_as_doubtful_as_all_else_after_the_next() -> None:
    cloud, _, edge = tree()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        first = backup(cloud)
        await apply(cloud, edge, 1)
    cloud.disk = first
    async with cloud.running():
        await cloud.gateway.commands.delete(PUMP)
        made: Value = {**VALVE, "metadata": {"name": "pump"}, "spec": {"desiredProperties": {"speed": 20}}}
        await cloud.gateway.commands.put(made, "default")
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: edge.machines["pump"].values.get("speed") == 20)
            await quiet(cloud, edge)
            second = backup(cloud)
            await apply(cloud, edge, 54)
    cloud.disk = second
    async with running(cloud, edge):
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await quiet(cloud, edge)
        await until(lambda: value(cloud, Section.DESIRED, "speed") == value(edge, Section.DESIRED, "speed") == 54)
        assert edge.machines["pump"].values["speed"] == 54


async def put_back_once(cloud: MemoryNode, edge: MemoryNode, other: MemoryNode) -> MemoryDisk:
    """Both edges know of what was lost, and the cloud, on the copy that this returns, wrote 20 and knows nothing."""
    async with running(cloud, edge):
        await quiet(cloud, edge)
        first = backup(cloud)
        async with other.running(cloud):
            await apply(cloud, edge, 1)
            lost = cloud.gateway.table.get(lifecycle_key(VALVE_ID))
            await until(lambda: (known := other.disk.peers.get("cloud")) is not None and known.lsn >= lost.lsn)
    cloud.disk = first
    async with cloud.running():
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 20}}})
        return backup(cloud)


@pytest.mark.parametrize("copied", ["before it was noticed", "before anything was adopted"])
async def test_what_who_was_there_since_one_restore_knows_is_newer_than_what_it_knew_before_the_next(
    copied: str,
) -> None:
    cloud, _, edge = tree()
    other = MemoryNode("other")
    other.machines["valve"] = FakeMachine({"flow": 2.0}, frozenset({"speed"}))
    second = await put_back_once(cloud, edge, other)
    cloud.disk = copy.deepcopy(second)
    async with running(cloud):
        grants = cloud.gateway.repair._grants
        assert grants is not None
        doubt = grants.doubt

        async def doubting(since: int) -> None:
            nonlocal second
            await doubt(since)
            second = backup(cloud)

        if copied == "before anything was adopted":
            grants.doubt = doubting  # type: ignore[method-assign]
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: edge.machines["pump"].values.get("speed") == 20)
            await quiet(cloud, edge)
            await apply(cloud, edge, 54)
    cloud.disk = second
    async with running(cloud):
        if copied == "before it was noticed":
            async with other.running(cloud):  # which knows only what was lost the first time
                await until(lambda: cloud.gateway.repair.repairs == 1)
        assert is_in_doubt(cloud)
        async with edge.running(cloud):
            await until(lambda: not is_in_doubt(cloud))
            await quiet(cloud, edge)
            assert value(cloud, Section.DESIRED, "speed") == value(edge, Section.DESIRED, "speed") == 54
            assert edge.machines["pump"].values["speed"] == 54


async def apply_to_valve(cloud: MemoryNode, other: MemoryNode, speed: int) -> None:
    await cloud.gateway.commands.patch(VALVE_ID, {"spec": {"desiredProperties": {"speed": speed}}})
    await until(lambda: other.machines["valve"].values.get("speed") == speed)
    await until(lambda: all(peer.line and not peer.session.outbox for peer in cloud.gateway.peers))


@pytest.mark.parametrize("lost", ["made anew", "written after a repair"])
async def test_what_was_written_between_two_restores_is_newer_than_what_was_lost_the_first_time(lost: str) -> None:
    """Who tells the root of the second one knows nothing of the pump, and its holder nothing of the second one."""
    cloud, _, edge = tree()
    other = MemoryNode("other")
    other.machines["valve"] = FakeMachine({"flow": 2.0}, frozenset({"speed"}))
    async with running(cloud, edge), other.running(cloud):
        await quiet(cloud, edge)
        await until(lambda: other.gateway.ownership.held(VALVE_ID))
        first = backup(cloud)
        await apply(cloud, edge, 1)
        if lost == "made anew":
            await cloud.gateway.commands.delete(PUMP)
            made: Value = {**VALVE, "metadata": {"name": "pump"}, "spec": {"desiredProperties": {"speed": 9}}}
            await cloud.gateway.commands.put(made, "default")
            await until(lambda: edge.machines["pump"].values.get("speed") == 9)
        await apply_to_valve(cloud, other, 1)
    if lost == "written after a repair":
        cloud.disk = first
        async with running(cloud):
            first = backup(cloud)
            async with edge.running(cloud), other.running(cloud):
                await until(lambda: not is_in_doubt(cloud) and has_adopted(cloud))
                await apply(cloud, edge, 9)
                await apply_to_valve(cloud, other, 2)
    cloud.disk = first
    async with running(cloud):
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 20}}})
        second = backup(cloud)
        async with other.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: not cloud.gateway.repair.running and other.gateway.ownership.held(VALVE_ID))
            await apply_to_valve(cloud, other, 3)
    cloud.disk = second
    async with running(cloud):
        async with other.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
        assert is_in_doubt(cloud)
        async with edge.running(cloud):
            await until(lambda: not is_in_doubt(cloud))
            await quiet(cloud, edge)
            assert value(cloud, Section.DESIRED, "speed") == value(edge, Section.DESIRED, "speed") == 20
            await until(lambda: edge.machines["pump"].values["speed"] == 20)


async def test_a_move_since_one_restore_does_not_undo_the_next_move_after_another() -> None:
    cloud, _, edge = tree()
    other = rival()
    async with running(cloud, edge):
        await quiet(cloud, edge)
        first = backup(cloud)
        await apply(cloud, edge, 1)
    cloud.disk = first
    async with running(cloud):
        await cloud.gateway.commands.move(PUMP, "edge")
        second = backup(cloud)
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await quiet(cloud, edge)
            await cloud.gateway.commands.move(PUMP, "other")
            async with other.running(cloud):
                await apply(cloud, other, 54)
                await quiet(cloud, other)
    cloud.disk = second
    async with running(cloud):
        since: Any = fields(cloud.gateway.table.get(lifecycle_key(PUMP)).register)["moved_in"]
        cloud.gateway.repair.begin("another", since)  # who knows only what was lost the first time
        await until(lambda: cloud.gateway.repair.repairs == 1)
        async with edge.running(cloud), other.running(cloud):
            await until(lambda: not is_in_doubt(cloud))
            await quiet(cloud, other)
            assert cloud.gateway.peers.holder(PUMP) == "other"
            assert value(cloud, Section.DESIRED, "speed") == 54


@pytest.mark.parametrize(
    ("seq", "version", "is_issued", "is_since"),
    [
        (50, Version(1, 2, 60), True, True),
        (50, Version(1, 1, 60), True, True),  # before it was noticed
        (50, Version(1, 2, 40), True, False),
        (50, Version(2, 1, 60), False, False),  # made anew in the lost history, which went on as well
        (0, Version(1, 1, 60), True, False),  # the store was lost: its numbers say nothing
        (0, Version(1, 2, 60), True, True),
    ],
)
def test_what_a_root_wrote_since_it_was_put_back(seq: int, version: Version, is_issued: bool, is_since: bool) -> None:
    restored = Restored(seq, (1, 2), ZERO)
    assert restored.is_since(version, is_issued=is_issued) is is_since
