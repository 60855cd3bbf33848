"""Overriding desired values at an edge over HTTP, and deciding conflicts at the root."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api.site import Site, in_process, node_with_pump, problem_of
from tests.gateway.overriding import PUMP, model
from twingateway.errors import DeviceError, DeviceRefused, DeviceTimeout, DeviceUnreachable
from twingateway.testing.joined import MemoryNode, until
from twingateway.twin.register import Section

pytestmark = pytest.mark.hurried

SPEED = "/twins/pump/overrides/speed"
DESIRE = {"spec": {"desiredProperties": {"speed": 10}}}


@asynccontextmanager
async def offline_edge(policy: str = "manual") -> AsyncIterator[tuple[Site, Site]]:
    """A cloud and an edge with a pump, each with its API; the link is down."""
    cloud = MemoryNode("cloud")
    async with in_process(cloud) as above:
        await above.gateway.commands.put_model("default", model(policy))
        edge = node_with_pump("edge")
        async with in_process(edge, parent=cloud, models={"pump": "pump@1"}) as below:
            await until(lambda: below.gateway.models.find("default", "pump@1") and above.gateway.queries.exists(PUMP))
            answer = await above.client.patch("/twins/pump?wait=5s&actor=carol", json=DESIRE)
            assert answer.status_code == 200
            edge.path.cut = True
            for link in list(cloud.listener.links):
                link.drop()
            yield above, below


async def put(site: Site, value: Any, **headers: str) -> Any:
    return await site.client.put(f"{SPEED}?actor=olaf&wait=5s", json={"value": value}, headers=headers)


async def test_an_override_is_durable_applied_and_shown() -> None:
    async with offline_edge() as (_, below):
        answer = await put(below, 40)
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["value"], shown["actor"], shown["node"], shown["state"]) == (40, "olaf", "edge", "unjudged")
        assert shown["ack"]["state"] == "applied"
        assert answer.headers["etag"] == f'"{shown["id"]}"'
        twin = (await below.client.get("/twins/pump")).json()
        assert twin["status"]["overrides"] == {"speed": shown}
        assert twin["status"]["properties"]["desired"]["speed"]["ack"]["code"] == "overridden"
        assert twin["status"]["properties"]["desired"]["speed"]["actor"] == "carol"
        assert (await below.client.get("/twins/pump/overrides")).json() == {"speed": shown}
        assert (await below.client.get(SPEED)).json() == shown
        assert below.pump.written == [("speed", 10), ("speed", 40)]


async def test_a_device_that_is_off_is_waited_for_and_said_so() -> None:
    async with offline_edge() as (_, below):
        assert below.pump.port is not None
        below.pump.port.offline(DeviceUnreachable("unplugged"))
        answer = await below.client.put(f"{SPEED}?wait=50ms", json={"value": 40})
        assert answer.status_code == 202
        assert (answer.json()["ack"]["state"], answer.json()["ack"]["message"]) == ("delivered", "unplugged")
        below.pump.port.online()
        await until(lambda: below.pump.written == [("speed", 10), ("speed", 40)])


@pytest.mark.parametrize(
    ("error", "status", "state", "code"),
    [
        (None, 200, "applied", None),
        (DeviceTimeout("it says nothing"), 202, "delivered", "device-timeout"),
        (DeviceRefused("too fast"), 200, "failed", "device-refused"),
    ],
)
async def test_one_that_the_root_accepted_at_once_is_waited_for_at_the_device(
    error: DeviceError | None, status: int, state: str, code: str | None
) -> None:
    async with offline_edge() as (_, below):
        assert below.pump.port is not None
        below.node.path.cut = False
        below.pump.port.offline(DeviceUnreachable("unplugged"))
        below.pump.error = error
        waiting = asyncio.ensure_future(below.client.put(f"{SPEED}?actor=olaf&wait=2s", json={"value": 40}))
        await until(lambda: below.gateway.table.values(PUMP, Section.DESIRED) == {"speed": 40})
        below.pump.port.online()
        answer = await waiting
        shown = answer.json()
        assert (answer.status_code, shown["state"]) == (status, "accepted")
        assert (shown["ack"]["state"], shown["ack"].get("code")) == (state, code)
        assert (shown["value"], shown["actor"], shown["node"]) == (40, "olaf", "edge")
        assert "etag" not in answer.headers, "nothing is overridden any more"


async def test_one_that_lost_is_answered_with_what_it_lost_to() -> None:
    async with offline_edge("cloud-wins") as (above, below):
        assert below.pump.port is not None
        below.pump.port.offline(DeviceUnreachable("unplugged"))
        waiting = asyncio.ensure_future(put(below, 40))
        await until(lambda: below.gateway.queries.overrides(PUMP))
        await above.client.patch("/twins/pump?actor=carol", json={"spec": {"desiredProperties": {"speed": 30}}})
        below.node.path.cut = False
        answer = await waiting
        shown = answer.json()
        assert (answer.status_code, shown["state"], shown["ack"]["state"]) == (200, "lost", "superseded")
        assert shown["ack"]["message"] == "it lost to 30 by carol"
        assert (shown["stands"]["value"], shown["stands"]["actor"]) == (30, "carol")


async def test_who_waits_hears_of_what_he_set_not_of_what_took_its_place() -> None:
    async with offline_edge() as (_, below):
        assert below.pump.port is not None
        below.pump.port.offline(DeviceUnreachable("unplugged"))
        waiting = asyncio.ensure_future(put(below, 40))
        await until(lambda: below.gateway.queries.overrides(PUMP))
        second = await below.client.put(SPEED, json={"value": 41})
        first = (await waiting).json()
        assert (first["value"], first["state"], first["ack"]["state"]) == (40, "replaced", "superseded")
        assert first["id"] != second.json()["id"]


async def test_withdrawing_returns_to_the_desired_value() -> None:
    async with offline_edge() as (_, below):
        await put(below, 40)
        assert (await below.client.delete(SPEED)).status_code == 204
        await until(lambda: below.pump.written[-1] == ("speed", 10))
        problem_of(await below.client.get(SPEED), 404, "not-found")
        problem_of(await below.client.delete(SPEED), 404, "not-found")


async def test_if_match_takes_the_override_or_the_twin_that_has_none() -> None:
    async with offline_edge() as (_, below):
        twin = (await below.client.get("/twins/pump")).headers["etag"]
        problem_of(await put(below, 40, **{"If-Match": '"1.1.1"'}), 412, "version-mismatch")
        problem_of(await put(below, 40, **{"If-Match": "*"}), 412, "version-mismatch")
        first = await put(below, 40, **{"If-Match": twin})
        assert first.status_code == 200
        refused = await put(below, 50, **{"If-Match": twin})
        problem_of(refused, 412, "version-mismatch")
        assert refused.headers["etag"] == first.headers["etag"]
        second = await put(below, 50, **{"If-Match": first.headers["etag"]})
        assert second.status_code == 200
        gone = await below.client.delete(SPEED, headers={"If-Match": first.headers["etag"]})
        problem_of(gone, 412, "version-mismatch")
        assert (await below.client.delete(SPEED, headers={"If-Match": "*"})).status_code == 204
        problem_of(await put(below, 40, **{"If-Match": "nonsense"}), 422, "invalid-document")


async def test_what_cannot_be_overridden_says_why() -> None:
    async with offline_edge() as (above, below):
        problem_of(await put(below, 2000), 422, "invalid-value")
        problem_of(await put(below, None), 422, "invalid-value")
        problem_of(await below.client.put(SPEED, json={"speed": 4}), 422, "invalid-document")
        problem_of(await below.client.put("/twins/pump/overrides/colour", json={"value": 1}), 422, "invalid-value")
        problem_of(await below.client.put("/twins/nobody/overrides/a", json={"value": 1}), 404, "unknown-twin")
        problem_of(await below.client.get("/twins/nobody/overrides"), 404, "unknown-twin")
        at_the_root = problem_of(await put(above, 40), 409, "not-holder")
        assert "root" in at_the_root["detail"]
        assert at_the_root["holder"] == "edge"
        assert below.pump.written == [("speed", 10)]


async def test_a_patch_at_the_edge_names_both_ways() -> None:
    async with offline_edge() as (_, below):
        problem = problem_of(await below.client.patch("/twins/pump", json=DESIRE), 503, "root-unreachable")
        assert "cloud" in problem["detail"]
        assert "twingateway override" in problem["detail"]


async def test_a_person_decides_a_conflict_at_the_root() -> None:
    async with offline_edge() as (above, below):
        first = await put(below, 40)
        answer = await above.client.patch(
            "/twins/pump?actor=carol", json={"spec": {"desiredProperties": {"speed": 30}}}
        )
        assert answer.status_code == 200
        below.node.path.cut = False
        await until(lambda: above.gateway.queries.overrides(PUMP).get("speed", {}).get("state") == "undecided")
        metrics = (await above.client.get("/metrics")).text
        assert "twingateway_overrides_open 1.0" in metrics
        assert "twingateway_conflicts_total 1.0" in metrics
        resolution = f"{SPEED}/resolution"
        problem_of(await below.client.post(resolution, json={"winner": "edge"}), 409, "not-root")
        problem_of(await above.client.post(resolution, json={"winner": "nobody"}), 422, "invalid-document")
        stale = {"If-Match": '"other-1.1"'}
        problem_of(
            await above.client.post(resolution, json={"winner": "edge"}, headers=stale), 412, "version-mismatch"
        )
        seen = await above.client.get(SPEED)
        assert seen.headers["etag"] == first.headers["etag"]
        decided = await above.client.post(
            f"{resolution}?actor=dora", json={"winner": "edge"}, headers={"If-Match": seen.headers["etag"]}
        )
        assert decided.status_code == 200
        twin = decided.json()
        assert twin["spec"]["desiredProperties"]["speed"] == 40
        assert twin["status"]["properties"]["desired"]["speed"]["actor"] == "olaf"
        assert "overrides" not in twin["status"]
        problem_of(await above.client.post(resolution, json={"winner": "edge"}), 404, "not-found")
        events = (await above.client.get("/journal/event")).json()["items"]
        [conflict] = [each for each in events if each["name"] == "conflict"]
        assert conflict["value"]["by"] == "dora"
        assert (conflict["value"]["cloud"]["actor"], conflict["value"]["edge"]["actor"]) == ("carol", "olaf")


async def test_without_a_name_the_actor_is_where_the_request_came_from() -> None:
    async with in_process() as site:
        await site.client.patch("/twins/pump", json=DESIRE)
        twin = (await site.client.get("/twins/pump")).json()
        assert twin["status"]["properties"]["desired"]["speed"]["actor"] == "api@127.0.0.1"


async def test_a_property_may_have_any_name() -> None:
    cloud = MemoryNode("cloud")
    async with in_process(cloud):
        edge = node_with_pump("edge")
        edge.machines["pump"].writable = frozenset({"a/b c"})
        async with in_process(edge, parent=cloud) as below:
            await until(lambda: below.gateway.ownership.held(PUMP))
            answer = await below.client.put(
                "/twins/pump/overrides/a%2Fb%20c?wait=5s", json={"value": [1, {"x": None}]}
            )
            assert answer.status_code == 200
            assert below.pump.written == [("a/b c", [1, {"x": None}])]
