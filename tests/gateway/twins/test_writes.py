"""A patch anywhere in the tree is made at the root, once, and its answer comes back to where it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.workbench import bench, claim, turns
from twingateway.errors import (
    InvalidDocument,
    InvalidValue,
    NotAuthorized,
    OutcomeUnknown,
    Problem,
    ReadOnlyPath,
    RootUnreachable,
    StoreFull,
    TooLarge,
    TwinGatewayError,
    UnknownTwin,
    VersionMismatch,
    all_errors,
)
from twingateway.gateway.twins import writes
from twingateway.gateway.twins.remote_error import decode_error, encode_error
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.desired import Origin, Priority, Terms, terms_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, Version
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump")


def speed(value: Value) -> dict[str, Value]:
    return {"spec": {"desiredProperties": {"speed": value}}}


@asynccontextmanager
async def tree() -> AsyncIterator[tuple[MemoryNode, MemoryNode, MemoryNode]]:
    """Cloud, region and edge, all linked; the pump is the edge's."""
    cloud, region, edge = MemoryNode("cloud"), MemoryNode("region"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.5, "speed": 10}, frozenset({"speed"}))
    async with cloud.running(), region.running(cloud), edge.running(region):
        await until(lambda: all(node.gateway.peers.holder(PUMP) == "edge" for node in (cloud, region, edge)))
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")
        yield cloud, region, edge


def wanted(node: MemoryNode) -> Value:
    return node.gateway.table.values(PUMP, Section.DESIRED).get("speed")


@pytest.mark.parametrize("at", [1, 2])
async def test_a_patch_below_is_made_at_the_root_and_is_there_when_it_is_answered(at: int) -> None:
    async with tree() as nodes:
        cloud, node = nodes[0], nodes[at].gateway
        written = await node.writes.patch(PUMP, speed(20), None, Terms(60.0, Priority.HIGH), Origin("me"))
        assert wanted(nodes[at]) == 20
        stored = cloud.gateway.table.section(PUMP, Section.DESIRED)["speed"].register
        assert written.desired == {"speed": stored.version}
        assert written.warnings == ()
        terms = terms_of(stored.value)
        assert terms.priority is Priority.HIGH
        assert terms.ttl is not None
        assert 59 < terms.ttl <= 60
        assert isinstance(stored.value, dict)
        assert stored.value["actor"] == f"me via {nodes[at].name}"
        acks = await node.commands.settled(PUMP, written.desired, 5.0)
        assert acks["speed"].state == "applied"


async def test_what_the_root_refuses_is_the_error_below_and_changes_nothing() -> None:
    async with tree() as (cloud, _, edge):
        patch = edge.gateway.writes.patch
        with pytest.raises(VersionMismatch) as stale:
            await patch(PUMP, speed(1), Version(1, 9, 9))
        assert stale.value.detail["current"] == str(cloud.gateway.queries.version(PUMP))
        with pytest.raises(ReadOnlyPath) as touched:
            await patch(PUMP, {"spec": {"reportedProperties": {"flow": 1}}})
        assert touched.value.detail["path"] == "spec.reportedProperties"
        with pytest.raises(InvalidValue) as unnamed:
            await patch(PUMP, {"metadata": {"labels": {"site": 7}}})
        assert unnamed.value.problem.path == "metadata.labels.site"
        with pytest.raises(UnknownTwin):
            await patch(DeviceId("default", "nobody"), speed(1))
        assert wanted(cloud) is None


async def test_without_a_way_to_the_root_nothing_happens_and_both_ways_out_are_named() -> None:
    async with tree() as (cloud, region, edge):
        region.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: not region.gateway.peers.parent.is_reached)  # type: ignore[union-attr]
        for node, named in ((region, "from region"), (edge, "from region")):
            with pytest.raises(RootUnreachable, match="twingateway override") as caught:
                await node.gateway.writes.patch(PUMP, speed(1))
            assert named in caught.value.message
            assert caught.value.detail == {"root": "cloud"}


async def test_an_answer_that_does_not_come_is_told_as_that_and_a_retry_is_not_made_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writes, "ANSWER_TIME", 0.1)
    async with tree() as (cloud, region, edge):
        region.path.cut = True
        with pytest.raises(OutcomeUnknown, match="Idempotency-Key") as caught:
            await edge.gateway.writes.patch(PUMP, speed(20))
        write_id = caught.value.detail["write"]
        region.path.cut = False
        await until(lambda: wanted(cloud) == 20)
        monkeypatch.setattr(writes, "ANSWER_TIME", 5.0)
        await cloud.gateway.commands.patch(PUMP, speed(30))
        again = await edge.gateway.writes.patch(PUMP, speed(20), write_id=write_id)
        assert again.desired["speed"] < cloud.gateway.table.section(PUMP, Section.DESIRED)["speed"].register.version
        assert wanted(cloud) == 30, "the first one was made, and a newer one after it"


async def test_a_write_whose_link_broke_goes_over_the_next_one_and_is_made_once() -> None:
    async with tree() as (cloud, region, _):
        region.path.cut = True
        line = region.gateway.peers.parent.line  # type: ignore[union-attr]
        writing = asyncio.create_task(region.gateway.writes.patch(PUMP, speed(20)))
        await turns()
        for link in cloud.listener.links:
            link.drop()
        region.path.cut = False
        written = await writing
        assert region.gateway.peers.parent.line is not line  # type: ignore[union-attr]
        assert wanted(cloud) == 20
        assert cloud.gateway.queries.desired_version(PUMP, "speed") == written.desired["speed"]


def message(**change: object) -> dict[str, object]:
    return {"node": "edge", "number": "1", "id": "w", "device": "pump", "patch": speed(5), **change}


async def test_a_node_writes_only_what_is_held_below_it() -> None:
    async with bench() as site:
        edge, line = site.child("edge")
        _, stranger = site.child("other")
        site.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        site.gateway.sessions.control(site.gateway.peers.child("other", "default"), "claim", claim("other", "lamp"))
        await turns()
        site.gateway.sessions.control(edge, "write", message(device="lamp"))
        site.gateway.sessions.control(edge, "write", message(device="nobody"))
        site.gateway.sessions.control(edge, "write", message(node="other"))
        await turns()
        codes = [answer["error"]["code"] for answer in line.of("written")]
        assert codes == [NotAuthorized.code, NotAuthorized.code]
        assert stranger.of("written") == []


@pytest.mark.parametrize(
    "change",
    [{"device": "a/b"}, {"patch": {"x": float("nan")}}, {"if-match": [1, 2]}, {"ttl": -1}, {"priority": "urgent"}],
)
async def test_a_write_that_makes_no_sense_is_answered_and_harms_nobody(change: dict[str, object]) -> None:
    async with bench() as site:
        edge, line = site.child("edge")
        site.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        site.gateway.sessions.control(edge, "write", message(**change))
        await turns()
        [answer] = line.of("written")
        assert answer["error"]["code"] in ("invalid-document", "invalid-value")


async def test_the_same_id_again_is_answered_the_same_and_what_failed_may_be_tried_again() -> None:
    async with bench() as site:
        edge, line = site.child("edge")
        site.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        site.full()
        site.gateway.sessions.control(edge, "write", message())
        await turns(50)
        [refused] = line.of("written")
        assert refused["error"]["code"] == StoreFull.code
        site.full(False)
        async with asyncio.timeout(5):
            while "desired" not in line.of("written")[-1]:
                site.gateway.sessions.control(edge, "write", message())
                await asyncio.sleep(0.05)
        first = line.of("written")[-1]
        site.gateway.sessions.control(edge, "write", message(number="2"))
        await turns()
        assert line.of("written")[-1] == {**first, "number": "2"}


async def test_the_root_forgets_the_oldest_ids_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "MAX_REMEMBERED", 2)
    async with bench() as site:
        edge, _ = site.child("edge")
        site.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        for number in range(4):
            await site.gateway.writes.patch(PUMP, speed(number), write_id=f"w{number}")
        assert [write_id for _, write_id in site.gateway.writes._remembered] == ["w2", "w3"]


def test_an_error_is_the_same_after_its_way() -> None:
    problem = Problem("too fast", "speed", "maximum")
    assert str(decode_error(encode_error(InvalidValue(problem)))) == str(InvalidValue(problem))
    document = decode_error(encode_error(InvalidDocument("wrong", [problem], line=3)))
    assert isinstance(document, InvalidDocument)
    assert (document.problems, document.detail) == ((problem,), {"line": 3})
    told = decode_error(encode_error(VersionMismatch("no", current="1.1.4", secret=object())))
    assert (type(told), told.detail) == (VersionMismatch, {"current": "1.1.4"})
    for kind in all_errors():
        if kind is not InvalidValue:
            back = decode_error(encode_error(kind("why")))
            assert back.message == "why"
    assert type(decode_error({"code": "of-the-future", "message": "x"})) is TwinGatewayError
    assert isinstance(decode_error(encode_error(TooLarge("big"))), TooLarge)
