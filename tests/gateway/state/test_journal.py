"""Events and history on their way: edge → region → root, over cuts, crashes and refusals, each exactly once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from twingateway.errors import StoreFull
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.state.events import Notice
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.ports.journal import Span
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Changes
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.entry import ALARM, EVENT, HISTORY, JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.parse_model import parse_model

PUMP = DeviceId("default", "pump")
EVERYTHING = JournalPolicy(history=WithHistory.ALL)
SERVING = JournalPolicy(history=WithHistory.ALL, serves=True)


def node(name: str, policy: JournalPolicy | None = EVERYTHING) -> MemoryNode:
    made = MemoryNode(name)
    made.journal = policy
    return made


def pair() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = node("cloud"), node("edge")
    edge.machines["pump"] = FakeMachine({"flow": 0})
    return cloud, edge


async def history(gateway: Gateway, name: str = "flow") -> list[object]:
    points = await gateway.store.points(Span(PUMP, name, 0, 1 << 60), (-1, 0), 100_000)
    return [point.value for point in points]


async def kept(gateway: Gateway, class_name: str = EVENT) -> list[tuple[str, str, object]]:
    placed = await gateway.store.kept_page(class_name, 0, 100_000)
    return [(each.entry.node, each.entry.name or each.entry.gap, each.entry.value) for each in placed]


def waiting(disk: MemoryDisk, class_name: str = HISTORY) -> int:
    queue = disk.journal.queues.get(class_name)
    return 0 if queue is None else len(queue.waiting)


async def eventually(disk: MemoryDisk, count: int, name: str = "flow") -> None:
    await until(lambda: len(disk.journal.history.get((PUMP, name), [])) >= count)


async def test_values_become_history_at_the_root_once_each_and_leave_the_edge() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud):
        await eventually(cloud.disk, 1)
        for flow in range(1, 6):
            edge.machines["pump"].say(flow=flow)
        await eventually(cloud.disk, 6)
        assert await history(root) == [0, 1, 2, 3, 4, 5]
        await until(lambda: waiting(edge.disk) == 0)
        assert await history(edge.gateway) == [], "an edge without an API keeps nothing"


async def test_what_happens_offline_arrives_later_and_touches_no_state() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud):
        await eventually(cloud.disk, 1)
        edge.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        for flow in range(1, 200):
            edge.machines["pump"].say(flow=flow)
        changes = root.events.listen()
        edge.path.cut = False
        await eventually(cloud.disk, 200)
        assert await history(root) == list(range(200))
        reported = [
            event.stored.register.value
            for event in await changes.next_batch()
            if not isinstance(event, Notice) and event.stored.register.key.name == "flow"
        ]
        assert reported in ([], [199]), "state is the newest value only"


@pytest.mark.parametrize("crashing", ["edge", "cloud"])
async def test_a_crash_of_either_side_loses_and_repeats_nothing(crashing: str) -> None:
    cloud, edge = pair()
    nodes = {"cloud": cloud, "edge": edge}
    said = 0
    for _ in range(4):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(cloud.running())
            await stack.enter_async_context(edge.running(cloud))
            await until(lambda: edge.machines["pump"].port is not None)
            for _ in range(50):
                said += 1
                await edge.gateway.journal.append(EVENT, PUMP, "counted", {"n": said})
            nodes[crashing].vanish()
    async with cloud.running() as root, edge.running(cloud):
        await until(lambda: waiting(edge.disk, EVENT) == 0)
        counted = [value["n"] for _, name, value in await kept(root) if name == "counted"]  # type: ignore[index]
        assert counted == list(range(1, said + 1))


async def test_a_full_root_says_so_once_and_takes_all_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("twingateway.gateway.peering.journal_relay.RETRY_SECONDS", 0.01)
    cloud, edge = node("cloud"), node("edge")
    with capture_logs() as logs:
        async with cloud.running() as root, edge.running(cloud) as leaf:
            cloud.disk.low = True
            await leaf.journal.append(EVENT, None, "counted", {"n": 1})
            refused = "the store refuses journal entries"
            await until(lambda: any(line["event"] == refused for line in logs))
            await asyncio.sleep(0.1)
            cloud.disk.low = False
            await until(lambda: waiting(edge.disk, EVENT) == 0)
            assert ("edge", "counted", {"n": 1}) in await kept(root)
    assert [line["event"] for line in logs].count(refused) == 1


async def test_a_region_passes_entries_on_under_their_own_keys() -> None:
    cloud, region, edge = node("cloud"), node("region"), node("edge")
    edge.machines["pump"] = FakeMachine({"flow": 0})
    async with region.running(cloud) as middle, edge.running(region) as leaf:
        for n in range(5):
            await leaf.journal.append(ALARM, PUMP, "hot", {"n": n})
        await middle.journal.append(ALARM, None, "fan", {"message": "the fan stopped"})
        await until(lambda: waiting(region.disk, ALARM) == 6)
        await until(lambda: waiting(edge.disk, ALARM) == 0)
    async with cloud.running() as root, region.running(cloud), edge.running(region):
        await until(lambda: waiting(region.disk, ALARM) == 0)
        found = await kept(root, ALARM)
        assert sorted(found, key=lambda each: each[:2]) == [
            *(("edge", "hot", {"n": n}) for n in range(5)),
            ("region", "fan", {"message": "the fan stopped"}),
        ]
        assert [name for name, *_ in found].count("edge") == 5
        journals = {placed.entry.journal_id for placed in await root.store.kept_page(ALARM, 0, 99)}
        assert len(journals) == 2


async def test_an_edge_that_moves_to_another_region_leaves_nothing_behind() -> None:
    cloud, first, second, edge = node("cloud"), node("first"), node("second"), node("edge")
    async with first.running(cloud), edge.running(first) as leaf:  # the root cannot be reached
        for n in range(3):
            await leaf.journal.append(EVENT, None, "counted", {"n": n})
        await until(lambda: waiting(first.disk, EVENT) == 3 and waiting(edge.disk, EVENT) == 0)
    async with cloud.running() as root, second.running(cloud), edge.running(second) as leaf:
        await leaf.journal.append(EVENT, None, "moved", {})
        await until(lambda: waiting(second.disk, EVENT) == 0 and waiting(edge.disk, EVENT) == 0)
        async with first.running(cloud):
            await until(lambda: waiting(first.disk, EVENT) == 0)
            counted = [value["n"] for _, name, value in await kept(root) if name == "counted"]  # type: ignore[index]
            assert counted == [0, 1, 2]


async def test_notices_of_an_edge_are_published_at_the_root_with_their_origin() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud) as leaf:
        await eventually(cloud.disk, 1)
        listening = root.events.listen()
        with capture_logs() as logs:
            leaf.ledger.notice("adapter-fault", "it broke", PUMP, adapter="fake")
        assert [(line["event"], line["code"], line["device"]) for line in logs] == [
            ("it broke", "adapter-fault", "default/pump")
        ], "in the log of the node it is about, too"
        found: list[Notice] = []
        while not found:
            batch = await listening.next_batch()
            found = [event for event in batch if isinstance(event, Notice) and event.code == "adapter-fault"]
        (notice,) = found
        assert (notice.message, notice.device) == ("it broke", PUMP)
        assert notice.detail == {"node": "edge", "adapter": "fake"}
        assert ("edge", "adapter-fault", {"adapter": "fake", "message": "it broke"}) in await kept(root)


async def test_a_node_that_serves_people_keeps_its_own_and_its_childrens_too() -> None:
    cloud, region, edge = node("cloud"), node("region", SERVING), node("edge", SERVING)
    edge.machines["pump"] = FakeMachine({"flow": 7})
    async with cloud.running() as root, region.running(cloud) as middle, edge.running(region) as leaf:
        await eventually(cloud.disk, 1)
        for gateway in (root, middle, leaf):
            assert await history(gateway) == [7]


def model() -> Model:
    properties = {"flow": {"type": "number", "retention": "1d"}, "level": {"type": "number"}}
    return parse_model(
        {
            "apiVersion": "edge.iot.org/v1",
            "kind": "DeviceModel",
            "metadata": {"name": "pump", "version": "1"},
            "spec": {"properties": properties},  # type: ignore[dict-item]
        }
    )


async def test_by_default_properties_with_retention_have_history() -> None:
    cloud, edge = node("cloud", None), node("edge", None)
    edge.machines["pump"] = FakeMachine({})
    async with cloud.running() as root, edge.running(cloud, {"pump": "pump@1"}) as leaf:
        await leaf.models.add("default", model())
        await until(lambda: leaf.queries.model_ref(PUMP) == "pump@1")
        edge.machines["pump"].say(flow=1.5, level=2)
        edge.machines["pump"].say(flow=2.5, level=2)
        await eventually(cloud.disk, 2)
        assert await history(root) == [1.5, 2.5]
        assert await history(root, "level") == []
        await until(lambda: root.models.find("default", "pump@1") and root.queries.model_ref(PUMP))
        points = cloud.disk.journal.history[PUMP, "flow"]
        points[0] = replace(points[0], time=points[0].time - 2 * 86_400_000)
        await root.relay.prune()
        assert await history(root) == [2.5]


async def test_an_edge_too_long_alone_gives_up_the_oldest_and_says_so() -> None:
    cloud, edge = pair()
    small = {name: replace(each, max_bytes=20_000) for name, each in EVERYTHING.classes.items()}
    edge.journal = JournalPolicy(classes=small, history=WithHistory.ALL)
    async with edge.running(cloud) as leaf:
        await until(lambda: waiting(edge.disk) == 2)  # its first value, and the mark that it is good
        for flow in range(1, 500):
            edge.machines["pump"].say(flow=flow)
        await until(lambda: waiting(edge.disk) == 501)
        await leaf.relay.evict()
        gone = leaf.relay.evicted[HISTORY]
        assert 200 < gone < 500
        assert waiting(edge.disk) == 502 - gone
    async with cloud.running() as root, edge.running(cloud):
        await until(lambda: waiting(edge.disk) == 0)
        flows = await history(root)
        assert flows[: 501 - gone] == list(range(gone - 1, 500))
        ((origin, reason, _),) = await kept(root, HISTORY)
        assert (origin, reason) == ("edge", "evicted")


async def test_entries_expire_by_the_time_a_node_runs_not_by_the_clock_on_the_wall() -> None:
    cloud, edge = pair()
    brief = {name: replace(each, ttl=0.0) for name, each in SERVING.classes.items()}
    edge.journal = JournalPolicy(classes=brief, history=WithHistory.ALL)
    async with edge.running(cloud) as leaf:
        await leaf.journal.append(EVENT, None, "old", {}, time=1)
        await until(lambda: leaf.journal.stamp() > edge.disk.journal.depths()[-1].newest_stamp)
        await leaf.relay.evict()
        assert leaf.relay.evicted[EVENT] == 1
    edge.journal = EVERYTHING
    async with edge.running(cloud) as leaf:
        await leaf.journal.append(EVENT, None, "ancient, says its clock", {}, time=1)
        await leaf.relay.evict()
        assert leaf.relay.evicted == {}


async def test_what_the_store_refuses_is_told_to_who_waits_and_kept_back_otherwise() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud) as leaf:
        await eventually(cloud.disk, 1)
        edge.disk.full = True
        with pytest.raises(StoreFull):
            await leaf.journal.append(ALARM, None, "hot", {})
        edge.machines["pump"].say(flow=9)
        edge.disk.full = False
        await eventually(cloud.disk, 2)
        assert await history(root) == [0, 9]
        assert await kept(root, ALARM) == []


async def test_a_full_root_takes_nothing_and_everything_arrives_once_it_has_room() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud) as leaf:
        await eventually(cloud.disk, 1)
        cloud.disk.full = True
        for n in range(20):
            await leaf.journal.append(EVENT, None, "counted", {"n": n})
        assert waiting(edge.disk, EVENT) >= 20
        cloud.disk.full = False
        await until(lambda: waiting(edge.disk, EVENT) == 0)
        assert [name for _, name, _ in await kept(root)].count("counted") == 20


async def test_an_entry_that_nobody_may_store_hinders_nothing_behind_it() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud) as leaf:
        await eventually(cloud.disk, 1)
        bad = JournalEntry(EVENT, "default", "edge", "no/device name", "bad", 1, {})
        await leaf.committer.submit(journal=[leaf.journal.placed(bad)])
        await leaf.journal.append(EVENT, None, "after", {})
        await until(lambda: waiting(edge.disk, EVENT) == 0)
        names = [name for _, name, _ in await kept(root)]
        assert names[-2:] == ["refused", "after"]


async def test_an_entry_written_while_another_is_being_committed_is_passed_on_too() -> None:
    cloud, edge = pair()
    async with cloud.running() as root, edge.running(cloud) as gateway:
        seen: list[str] = []
        listening = root.events.listen(0, 0)

        async def arrived(message: str) -> None:
            while message not in seen:
                seen.extend(e.message for e in await listening.next_batch() if isinstance(e, Notice))

        begun, go_on = asyncio.Event(), asyncio.Event()
        commit = gateway.store.commit

        async def slow(changes: Changes) -> None:
            begun.set()
            await go_on.wait()
            await commit(changes)

        await until(lambda: gateway.peers.parent is not None and not gateway.peers.parent.session.outbox)
        gateway.store.commit = slow  # type: ignore[method-assign]
        gateway.ledger.notice("test", "first")
        await begun.wait()
        gateway.ledger.notice("test", "second")
        go_on.set()
        async with asyncio.timeout(5):
            await arrived("second")


async def test_too_much_history_loses_what_came_first_and_says_so() -> None:
    cloud, edge = pair()
    cloud.journal = replace(EVERYTHING, max_history=2_000)
    async with cloud.running() as root, edge.running(cloud):
        await eventually(cloud.disk, 1)
        heard = root.events.listen()
        for flow in range(1, 100):
            edge.machines["pump"].say(flow=flow)
        points = cloud.disk.journal.history
        await until(lambda: points.get((PUMP, "flow"), [])[-1:] and points[PUMP, "flow"][-1].value == 99)
        filed = sum(map(len, points.values()))
        await root.relay.trim()
        left = await history(root)
        assert left == list(range(100 - len(left), 100))
        gone = filed - sum(map(len, points.values()))
        assert 1_500 < root.relay.history_bytes <= 1_800
        assert root.relay.trimmed == gone
        notices = [event for event in await heard.next_batch() if isinstance(event, Notice)]
        assert [n.detail["points"] for n in notices if n.code == "history-trimmed"] == [gone]
