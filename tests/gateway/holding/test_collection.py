"""Tombstones go, and what they removed stays away: from peers that were offline, restored, moved or crashed."""

from __future__ import annotations

import asyncio
import copy
from contextlib import AsyncExitStack
from secrets import token_bytes

import pytest

from tests.gateway.workbench import PUMP, Bench, bench, claim, register, turns
from twingateway.errors import VersionMismatch
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.holding.notes import draw_up
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Changes
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.kept import KEPT_NAME, LIFECYCLE_NAME, SLICES, Kept
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value


def pair(edge: MemoryNode | None = None) -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), edge or MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.0, "heat": 2.0}, frozenset({"speed", "mode"}))
    return cloud, edge


def backup(node: MemoryNode) -> MemoryDisk:
    disk = copy.deepcopy(node.disk)
    disk.in_use = False
    return disk


def names(node: MemoryNode, section: Section) -> set[str]:
    """Registers in memory, tombstones included."""
    return set(node.gateway.table.section(PUMP, section))


def stored_names(node: MemoryNode, section: Section) -> set[str]:
    return {key.name for key in node.disk.registers if key[:2] == (PUMP, section)}


async def linked(cloud: MemoryNode, edge: MemoryNode) -> None:
    await until(lambda: edge.gateway.ownership.held(PUMP))
    await quiet(cloud, edge)


async def quiet(*nodes: MemoryNode) -> None:
    await until(lambda: all(p.line and not p.session.outbox for n in nodes for p in n.gateway.peers))


async def patch(cloud: MemoryNode, labels: Value = None, **desired: Value) -> None:
    body: dict[str, Value] = {"spec": {"desiredProperties": dict(desired)}}
    if labels is not None:
        body["metadata"] = {"labels": labels}
    await cloud.gateway.commands.patch(PUMP, body)


async def collect(*nodes: MemoryNode) -> None:
    for node in nodes:
        await node.gateway.collection.collect()


async def test_a_removed_value_leaves_nothing_behind_on_either_side() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await linked(cloud, edge)
        await patch(cloud, {"site": "a"}, speed=5, mode="eco")
        await until(lambda: ("mode", "eco") in edge.machines["pump"].written)
        await patch(cloud, {"site": None}, mode=None)
        await until(lambda: edge.gateway.table.value(PUMP, Section.ACK, "mode") is None)
        await quiet(cloud, edge)
        await collect(cloud, edge)
        for node in (cloud, edge):
            await until(lambda node=node: names(node, Section.DESIRED) == names(node, Section.ACK) == {"speed"})
            await until(lambda node=node: names(node, Section.TAGS) == set())
            await until(lambda node=node: stored_names(node, Section.DESIRED) == {"speed"})
            await until(lambda node=node: stored_names(node, Section.ACK) == {"speed"})
            await until(lambda node=node: stored_names(node, Section.TAGS) == set())
        await patch(cloud, {"site": "b"}, mode="fast")
        await until(lambda: edge.machines["pump"].written[-1] == ("mode", "fast"))
        await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "b")


async def test_the_version_of_a_twin_never_goes_back() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await linked(cloud, edge)
        await patch(cloud, speed=5)
        await patch(cloud, mode="eco")
        before = cloud.gateway.queries.version(PUMP)
        await patch(cloud, mode=None)
        removed = cloud.gateway.queries.version(PUMP)
        await quiet(cloud, edge)
        await collect(cloud)
        assert names(cloud, Section.DESIRED) == {"speed"}
        assert cloud.gateway.queries.version(PUMP) == removed > before
        with pytest.raises(VersionMismatch):
            await cloud.gateway.commands.patch(PUMP, {"metadata": {"labels": {"x": "y"}}}, before)


async def test_of_a_deleted_device_only_its_end_waits_for_a_peer_that_is_away() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await patch(cloud, {"site": "a"}, speed=5)
            await quiet(cloud, edge)
        await until(lambda: all(not peer.lines for peer in cloud.gateway.peers))
        await cloud.gateway.commands.delete(PUMP)
        (peer,) = cloud.gateway.peers
        assert [entry.register.key for entry in peer.session.outbox] == [lifecycle_key(PUMP)]


async def test_a_peer_that_was_away_learns_of_the_removal_from_the_note() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await patch(cloud, {"site": "a"}, speed=5)
            await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a")
            await quiet(cloud, edge)
        await until(lambda: all(not peer.lines for peer in cloud.gateway.peers))
        await patch(cloud, {"site": None})
        await collect(cloud)
        assert names(cloud, Section.TAGS) == set(), "who is away keeps no tombstone alive"
        async with edge.running(cloud):
            assert edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a"
            await until(lambda: names(edge, Section.TAGS) == set())
            await linked(cloud, edge)
            await until(lambda: stored_names(edge, Section.TAGS) == set())


async def test_a_store_from_before_the_collection_brings_nothing_back() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await patch(cloud, {"site": "a"}, speed=5, mode="eco")
            await until(lambda: ("mode", "eco") in edge.machines["pump"].written)
            await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a")
            await quiet(cloud, edge)
            old = backup(edge)
            await patch(cloud, {"site": None}, mode=None)
            await quiet(cloud, edge)
            edge.machines["pump"].say(heat=None)
            await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "heat") is None)
            await quiet(cloud, edge)
            await collect(cloud, edge)
            await until(lambda: "heat" not in names(cloud, Section.REPORTED) | names(edge, Section.REPORTED))
            await quiet(cloud, edge)
        edge.disk = old
        del edge.machines["pump"].values["heat"]
        async with edge.running(cloud):
            await until(lambda: edge.gateway.repair.repairs == 1)
            await linked(cloud, edge)
            for node in (cloud, edge):
                await until(lambda node=node: names(node, Section.TAGS) == set())
                await until(lambda node=node: names(node, Section.DESIRED) == {"speed"})
                await until(lambda node=node: names(node, Section.REPORTED) == {"flow", "mode", "speed"})
            await until(lambda: cloud.gateway.table.value(PUMP, Section.ACK, "mode") is None)
            assert [name for name, _ in edge.machines["pump"].written].count("mode") == 1


async def test_a_store_whose_numbers_are_below_those_of_the_one_that_collected_brings_nothing_back() -> None:
    passed_over = 0xFF  # the first byte of the distance

    def open_store(disk: MemoryDisk) -> MemoryStore:
        first = bytes([passed_over])
        return MemoryStore(disk, entropy=lambda size: first + token_bytes(size - 1))

    cloud, edge = pair(MemoryNode("edge", open_store=open_store))
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            old = backup(edge)
        async with edge.running(cloud):
            await linked(cloud, edge)
            edge.machines["pump"].say(heat=None)
            await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "heat") is None)
            await quiet(cloud, edge)
            await collect(edge)
            await until(lambda: "heat" not in names(cloud, Section.REPORTED))
        edge.disk, passed_over = old, 0
        del edge.machines["pump"].values["heat"]
        async with edge.running(cloud):
            await until(lambda: edge.gateway.repair.repairs == 1)
            await linked(cloud, edge)
            for node in (cloud, edge):
                assert names(node, Section.REPORTED) == {"flow"}


async def test_a_root_from_before_the_collection_brings_nothing_back() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await linked(cloud, edge)
        await patch(cloud, {"site": "a"}, speed=5, mode="eco")
        await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a")
        await quiet(cloud, edge)
        old = backup(cloud)
        await patch(cloud, {"site": None}, mode=None)
        await quiet(cloud, edge)
        await collect(cloud)
        await quiet(cloud)
        await until(lambda: names(edge, Section.TAGS) == set())
    cloud.disk = old
    async with cloud.running(), edge.running(cloud):
        assert cloud.gateway.table.value(PUMP, Section.TAGS, "site") == "a"
        await until(lambda: cloud.gateway.repair.repairs == 1)
        await until(lambda: names(cloud, Section.TAGS) == set())
        await until(lambda: names(cloud, Section.DESIRED) == {"speed"})
        await linked(cloud, edge)
        assert names(edge, Section.DESIRED) == {"speed"}


async def test_a_restored_root_collects_nothing_before_it_has_heard_the_holder() -> None:
    cloud, edge = pair()
    async with cloud.running(), edge.running(cloud):
        await linked(cloud, edge)
        await patch(cloud, {"site": "a", "row": "1"})
        await quiet(cloud, edge)
        old = backup(cloud)
        await patch(cloud, {"site": None, "zone": "z"})
        await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "zone") == "z")
        await quiet(cloud, edge)
        await collect(cloud)
        await until(lambda: "site" not in names(edge, Section.TAGS))
        await quiet(cloud)
    cloud.disk = old
    async with cloud.running():
        await patch(cloud, {"row": None})
        await collect(cloud)
        assert names(cloud, Section.TAGS) == {"site", "row"}
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.repair.repairs == 1)
            await until(lambda: cloud.gateway.table.value(PUMP, Section.TAGS, "zone") == "z")
            await until(lambda: "site" not in names(cloud, Section.TAGS))
            await linked(cloud, edge)
            await until(lambda: cloud.gateway.table.value(PUMP, Section.TAGS, "row") is None)
            await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "row") is None)
            async with asyncio.timeout(5):
                while names(cloud, Section.TAGS) != {"zone"}:
                    await collect(cloud)
                    await asyncio.sleep(0.01)
            await until(lambda: names(edge, Section.TAGS) == {"zone"})


async def test_a_former_holder_with_an_old_copy_takes_the_note_when_the_device_returns() -> None:
    cloud, edge = pair()
    other = MemoryNode("other")
    other.machines["pump"] = FakeMachine({"flow": 9.0}, frozenset({"speed", "mode"}))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cloud.running())
        await stack.enter_async_context(edge.running(cloud))
        await linked(cloud, edge)
        await patch(cloud, {"site": "a"}, mode="eco")
        await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a")
        await stack.enter_async_context(other.running(cloud))
        await cloud.gateway.commands.move(PUMP, "other")
        await until(lambda: other.gateway.ownership.held(PUMP))
        await patch(cloud, {"site": None}, mode=None)
        await quiet(cloud, other)
        await collect(cloud, other)
        await until(lambda: names(other, Section.TAGS) == set())
        assert edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a", "it is none of its business now"
        await cloud.gateway.commands.move(PUMP, "edge")
        await linked(cloud, edge)
        await until(lambda: names(edge, Section.TAGS) == names(edge, Section.DESIRED) == set())
        assert names(cloud, Section.TAGS) == names(cloud, Section.DESIRED) == set()


async def test_a_region_between_obeys_and_passes_on_the_note() -> None:
    cloud, edge = pair()
    region = MemoryNode("region")
    async with cloud.running(), region.running(cloud), edge.running(region):
        await until(lambda: edge.gateway.ownership.held(PUMP))
        await patch(cloud, {"site": "a", "row": "1"})
        await until(lambda: edge.gateway.table.value(PUMP, Section.TAGS, "site") == "a")
        await patch(cloud, {"site": None})
        edge.machines["pump"].say(heat=None)
        await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "heat") is None)
        await quiet(cloud, region, edge)
        await collect(cloud, region, edge)
        for node in (cloud, region, edge):
            await until(lambda node=node: names(node, Section.TAGS) == {"row"})
            await until(lambda node=node: names(node, Section.REPORTED) == {"flow"})


async def test_a_deleted_device_costs_one_register_and_its_incarnation_stays_refused() -> None:
    cloud, edge = pair()
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await patch(cloud, {"site": "a"}, speed=5)
            await until(lambda: "speed" in names(cloud, Section.ACK))
            await quiet(cloud, edge)
            old = backup(edge)
            await cloud.gateway.commands.delete(PUMP)
            await until(lambda: names(edge, Section.TAGS) == names(edge, Section.DESIRED) == set())
            await until(lambda: {key for key in cloud.disk.registers if key.device == PUMP} == {lifecycle_key(PUMP)})
        edge.disk = old
        del edge.machines["pump"]
        async with edge.running(cloud):
            await until(lambda: {key for key in edge.disk.registers if key.device == PUMP} == {lifecycle_key(PUMP)})
            assert {s.register.key for s in cloud.gateway.table.device(PUMP)} == {lifecycle_key(PUMP)}


class _Dying:
    """A store whose process dies between the note and the removal."""

    def __init__(self, of: Bench) -> None:
        self._commit = of.store.commit
        of.store.commit = self.commit  # type: ignore[method-assign]

    async def commit(self, changes: Changes) -> None:
        changes.forget.clear()
        await self._commit(changes)


async def twin_with_a_tombstone(of: Bench) -> None:
    document = {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": "pump", "labels": {"site": "a", "row": "1"}},
    }
    await of.gateway.commands.put(document, "default")
    await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {"site": None}}})


def site_key() -> RegisterKey:
    return RegisterKey(PUMP, Section.TAGS, "site")


async def test_a_crash_between_the_note_and_the_removal_is_finished_at_the_next_start() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as of:
        await twin_with_a_tombstone(of)
        _Dying(of)
        await of.gateway.collection.collect()
    assert site_key() in disk.registers
    assert RegisterKey(PUMP, Section.LIFECYCLE, KEPT_NAME) in disk.registers
    async with bench(disk=disk) as of:
        assert of.gateway.table.get(site_key()) is None
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {"row": "2"}}})
        assert site_key() not in disk.registers


async def test_a_crash_before_the_note_leaves_the_tombstone() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as of:
        await twin_with_a_tombstone(of)
        of.store.gate.clear()
        of.tasks.start(of.gateway.collection.collect(), "collection")
        await turns()
    async with bench(disk=disk) as of:
        stored = of.gateway.table.get(site_key())
        assert stored is not None
        assert stored.register.value is None
        await of.gateway.collection.collect()
        assert of.gateway.table.get(site_key()) is None


async def test_a_linked_peer_gets_the_tombstone_itself_first() -> None:
    async with bench() as of:
        edge, _ = of.child("edge")
        of.gateway.ownership.passage.on_claim(edge, claim("edge", "pump"))
        await turns()
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {"site": "a"}}})
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {"site": None}}})
        await of.gateway.collection.collect()
        assert of.outbox(edge)[site_key()] is None
        of.unlink(edge)
        await of.gateway.collection.collect()
        assert site_key() not in of.outbox(edge), "the note goes in its stead"
        assert RegisterKey(PUMP, Section.LIFECYCLE, KEPT_NAME) in of.outbox(edge)


async def test_few_tombstones_among_many_names_wait() -> None:
    async with bench() as of:
        await twin_with_a_tombstone(of)
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {f"l{n}": "x" for n in range(20)}}})
        await of.gateway.collection.collect()
        assert of.gateway.table.get(site_key()) is not None
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": {f"l{n}": None for n in range(3)}}})
        await of.gateway.collection.collect()
        assert of.gateway.table.get(site_key()) is None
        assert of.gateway.collection.collected == 4


async def test_an_older_copy_of_what_was_collected_is_not_applied() -> None:
    async with bench() as of:
        await twin_with_a_tombstone(of)
        await of.gateway.collection.collect()
        listed = of.gateway.table.section(PUMP, Section.TAGS)["row"].register.version
        late = Register(site_key(), Version(1, 1, listed.seq), "a", 0)
        of.gateway.ledger.apply([late], origin="edge", then=lambda: None)
        assert of.gateway.table.get(site_key()) is None
        new = Register(site_key(), Version(1, 9, 1), "b", 0)
        of.gateway.ledger.apply([new], origin="edge", then=lambda: None)
        assert of.value(Section.TAGS, "site") == "b"


async def test_names_too_many_for_one_note_are_told_in_slices_to_who_is_linked_and_who_was_away() -> None:
    cloud, edge = pair()
    labels = [f"{n:03}-{'long' * 31}" for n in range(600)]
    gone, left = set(labels[:90]), set(labels[90:])
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await patch(cloud, dict.fromkeys(labels, "here"))
            await until(lambda: names(edge, Section.TAGS) == set(labels))
            await quiet(cloud, edge)
            old = backup(edge)
            await patch(cloud, dict.fromkeys(gone, None))
            await quiet(cloud, edge)
            await collect(cloud)
            for node in (cloud, edge):
                await until(lambda node=node: stored_names(node, Section.TAGS) == names(node, Section.TAGS) == left)
            assert names(cloud, Section.LIFECYCLE) == {LIFECYCLE_NAME, *SLICES}
            version = cloud.gateway.queries.version(PUMP)
        edge.disk = old
        async with edge.running(cloud):
            assert gone < names(edge, Section.TAGS)
            await until(lambda: names(edge, Section.TAGS) == left)
            await linked(cloud, edge)
            assert names(cloud, Section.TAGS) == left
            assert cloud.gateway.queries.version(PUMP) == version


async def test_what_is_left_of_a_device_of_many_names_is_told_under_a_new_grant() -> None:
    said = {f"{n:03}-{'long' * 31}": n for n in range(600)}
    cloud, edge = pair()
    edge.machines["pump"].values = dict(said)
    async with cloud.running():
        async with edge.running(cloud):
            await linked(cloud, edge)
            await until(lambda: names(cloud, Section.REPORTED) == set(said))
        edge.disk = MemoryDisk()
        async with edge.running(cloud):
            await linked(cloud, edge)
            await until(lambda: set(SLICES) < names(cloud, Section.PRESENCE))
            assert names(cloud, Section.REPORTED) == set(said)


async def test_tombstones_among_names_too_many_even_for_slices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twingateway.twin.kept.SLICES", SLICES[:1])
    monkeypatch.setattr("twingateway.twin.kept.slice_of", lambda name: SLICES[0])
    labels = [f"{n:03}-{'long' * 31}" for n in range(600)]
    async with bench() as of:
        await twin_with_a_tombstone(of)
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": dict.fromkeys(labels, "here")}})
        await of.gateway.commands.patch(PUMP, {"metadata": {"labels": dict.fromkeys(labels[:90], None)}})
        await of.gateway.collection.collect()
        assert of.gateway.collection.collected == 0
        assert of.gateway.table.get(site_key()) is not None
        assert of.gateway.ledger.report(draw_up(of.gateway.table, of.gateway.ledger, PUMP, Section.LIFECYCLE)) == []


def test_each_slice_speaks_of_its_names_alone() -> None:
    labels = frozenset(f"label-{n}" for n in range(200))
    whole = Kept(Version(1, 1, 6), {Section.DESIRED: frozenset(), Section.TAGS: labels})
    parts = whole.sliced()
    assert [part.part for part in parts] == list(SLICES)
    assert sorted(name for part in parts for name in part.names[Section.TAGS]) == sorted(labels)
    for part in parts:
        assert part.part is not None
        assert Kept.of(register(part.part, part.to_value(), 7, section=Section.LIFECYCLE)) == part
    for name in ("label-7", "gone"):
        key = RegisterKey(PUMP, Section.TAGS, name)
        for version in (Version(1, 1, 6), Version(1, 1, 7)):
            assert any(part.is_gone(key, version) for part in parts) == whole.is_gone(key, version)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1.1.1",
        {"floor": "1.1", "desired": [], "tags": []},
        {"floor": "1.1.1", "desired": [], "tags": 3},
        {"floor": "1.1.7", "desired": [], "tags": []},
    ],
)
def test_a_note_that_makes_no_sense_or_speaks_of_the_future_says_nothing(value: Value) -> None:
    note = register(KEPT_NAME, value, 7, section=Section.LIFECYCLE)
    assert Kept.of(note) is None


def test_a_note_speaks_only_of_the_sections_that_it_lists() -> None:
    note = Kept.of(register(KEPT_NAME, {"floor": "1.1.1", "reported": [], "ack": []}, 7, section=Section.PRESENCE))
    assert note is not None, "a node of an earlier version lists no overrides"
    gone, old = RegisterKey(PUMP, Section.REPORTED, "flow"), RegisterKey(PUMP, Section.OVERRIDE, "speed")
    assert note.is_gone(gone, Version(1, 1, 1))
    assert not note.is_gone(old, Version(1, 1, 1))


def test_the_note_says_what_it_was_made_of() -> None:
    kept = Kept(Version(1, 1, 6), {Section.DESIRED: frozenset({"b", "a"}), Section.TAGS: frozenset()})
    assert Kept.of(register(KEPT_NAME, kept.to_value(), 7, section=Section.LIFECYCLE)) == kept
