"""The event stream over a real socket: from now on, from where one was, and not for those who do not read."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.api.site import Event, follow, node_with_pump, problem_of, served
from tests.fair_time import PATIENCE
from twingateway.api import events as stream_module
from twingateway.api import server as server_module
from twingateway.errors import DeviceReplyInvalid, DeviceTimeout
from twingateway.gateway.state import events as bus_module
from twingateway.gateway.state.events import EventBus
from twingateway.testing.joined import MemoryNode, until
from twingateway.twin.event_kind import EventKind
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

pytestmark = pytest.mark.hurried

PUMP = DeviceId("default", "pump")


async def flows(stream, last) -> list[Event]:
    """The events of the pump's flow, up to the one with the value `last`."""
    found = []
    async with asyncio.timeout(5):
        async for event in stream:
            if event.kind == "reported" and event.data["property"] == "flow":
                found.append(event)
                if event.value == last:
                    return found
    raise AssertionError(f"the stream ended before {last}")


async def first(stream) -> Event:
    async with asyncio.timeout(5):
        return await anext(stream)


async def test_changes_are_told_from_now_on():
    async with served() as (site, _), follow(site.client) as stream:
        site.pump.say(flow=2.5)
        (event,) = await flows(stream, 2.5)
        assert event.data["twin"] == "pump"
        assert event.data["namespace"] == "default"
        assert event.data["version"].count(".") == 2


async def test_the_stream_says_what_it_is():
    async with served() as (site, _), site.client.stream("GET", "/events") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"


async def test_the_token_is_no_hindrance_to_a_stream():
    async with served(token="secret") as (site, _):
        problem_of(await site.client.get("/events"), 401, "no-token")
        site.client.headers["Authorization"] = "Bearer secret"
        async with follow(site.client) as stream:
            site.pump.say(flow=2.5)
            await flows(stream, 2.5)


async def test_one_who_comes_back_gets_what_was_missed_and_nothing_before():
    async with served() as (site, _):
        async with follow(site.client) as stream:
            site.pump.say(flow=2.5)
            seen = (await flows(stream, 2.5))[-1]
        for value in (3.5, 4.5):
            site.pump.say(flow=value)
        async with follow(site.client, seen.id) as stream:
            assert [event.value for event in await flows(stream, 4.5)] == [3.5, 4.5]


async def test_one_cut_before_its_first_event_misses_nothing():
    async with served() as (site, _):
        async with follow(site.client) as stream:
            begin = (await first(stream)).id
        site.pump.say(flow=2.5)
        async with follow(site.client, begin) as stream:
            again = await first(stream)
            assert again.id == begin, "resuming must not skip over what is about to come"
        async with follow(site.client, again.id) as stream:
            assert [event.value for event in await flows(stream, 2.5)] == [2.5]


async def test_after_a_restart_the_newest_values_follow():
    node = node_with_pump()
    async with served(node) as (site, _), follow(site.client) as stream:
        site.pump.say(flow=2.5)
        seen = (await flows(stream, 2.5))[-1]
        for value in (3.5, 4.5):
            site.pump.say(flow=value)
        await flows(stream, 4.5)
        await site.gateway.committer.submit()
    node.machines["pump"].values["flow"] = 5.5
    async with served(node) as (site, _):
        await until(lambda: site.gateway.queries.twin(PUMP)["spec"]["reportedProperties"]["flow"] == 5.5)
        async with follow(site.client, seen.id) as stream:
            assert [event.value for event in await flows(stream, 5.5)][-1] == 5.5
        async with follow(site.client, seen.id) as stream:
            old = {event.value for event in await flows(stream, 5.5)}
            assert 1.5 not in old, "what was seen before does not come again"


@pytest.mark.parametrize("stranger", ["0badcafe-1", "", "-", "²-²", "future", "0-" + "9" * 5000])
async def test_an_id_of_another_store_or_none_at_all_gets_everything(stranger):
    async with served() as (site, _):
        site.pump.say(flow=2.5)
        identity = site.gateway.store.identity.store_id.hex()[:8]
        last = f"{identity}-999999999999" if stranger == "future" else stranger
        async with follow(site.client, last.encode("latin-1")) as stream:
            assert (await flows(stream, 2.5))[-1].value == 2.5


async def test_what_the_ring_forgot_comes_from_the_table(monkeypatch):
    monkeypatch.setattr(bus_module, "RING", 4)
    monkeypatch.setattr(EventBus, "__init__", _with_small_ring(EventBus.__init__))
    async with served() as (site, _):
        async with follow(site.client) as stream:
            begin = (await first(stream)).id
        for value in range(10, 30):
            site.pump.say(flow=float(value))
        async with follow(site.client, begin) as stream:
            assert [event.value for event in await flows(stream, 29.0)] == [29.0]


def _with_small_ring(original):
    def init(self, *arguments):
        original(self, *arguments)
        self._ring = bus_module.deque(maxlen=bus_module.RING)

    return init


async def test_only_what_was_asked_for():
    node = MemoryNode("cloud")
    async with served(node) as (site, _):
        for name in ("a", "b"):
            for namespace in ("default", "acme"):
                twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": name}, "spec": {}}
                await site.client.put(f"/twins/{name}?namespace={namespace}", json=twin)

        async def told(**params):
            found = set()
            async with follow(site.client, **params) as stream:
                await first(stream)
                for path in ("a?namespace=acme", "a", "b"):
                    for value in (1, None):
                        await site.client.patch(f"/twins/{path}", json={"spec": {"desiredProperties": {"x": value}}})
                last = DeviceId(params.get("namespace", "default"), "a")
                site.gateway.ledger.notice("end", "that was all", last)
                async for event in stream:
                    if event.data.get("code") == "end":
                        break
                    found.add((event.data["namespace"], event.data["twin"]))
            return found

        async with asyncio.timeout(60):
            assert await told(twin="a") == {("default", "a")}
            assert await told() == {("default", "a"), ("default", "b")}
            assert await told(namespace="acme") == {("acme", "a")}


async def test_silence_is_broken_by_a_sign_of_life(monkeypatch):
    monkeypatch.setattr(stream_module, "HEARTBEAT", 0.05)
    async with served(MemoryNode("cloud")) as (site, _), follow(site.client) as stream:
        comments = [event.comments async for event in _some(stream, 3)]
        assert comments[1:] == [["still here"], ["still here"]]


async def test_what_was_not_asked_for_is_no_sign_of_life_and_moves_the_id_all_the_same(monkeypatch):
    monkeypatch.setattr(stream_module, "HEARTBEAT", 0.05)
    async with served() as (site, _):

        async def chatter():
            for value in range(100_000):
                site.pump.say(flow=float(value))
                await asyncio.sleep(0.005)

        talking = asyncio.create_task(chatter())
        async with follow(site.client, twin="quiet") as stream:
            begin, *signs = [event async for event in _some(stream, 3)]
        talking.cancel()
        assert [sign.comments for sign in signs] == [["still here"], ["still here"]]
        assert _position(begin) < _position(signs[0]) < _position(signs[1])
        async with follow(site.client, signs[1].id) as stream:
            site.pump.say(flow=-1.0)
            known = [event.value for event in await flows(stream, -1.0)]
        assert 0.0 not in known, "what was passed over is not looked through again"


def _position(event: Event) -> int:
    return int(event.id.partition("-")[2])


async def test_only_the_kinds_that_were_asked_for():
    async with served() as (site, _):
        async with follow(site.client, kind=["desired", "notice"]) as stream:
            await first(stream)
            site.pump.say(flow=2.5)
            await site.client.patch("/twins/pump", json={"spec": {"desiredProperties": {"speed": 3}}})
            site.gateway.ledger.notice("end", "that was all", PUMP)
            told = [event.kind async for event in _some(stream, 2)]
        assert told == ["desired", "notice"]
        problem_of(await site.client.get("/events", params={"kind": "weather"}), 422, "invalid-parameter")


def test_each_section_is_a_kind_of_event():
    assert {kind.value for kind in EventKind} == {section.value for section in Section} | {"notice", "quality"}


async def test_values_that_become_bad_and_good_are_one_event_of_the_twin():
    async with served() as (site, _):
        site.pump.say(flow=2.5, level=1)
        async with follow(site.client, twin="pump", kind="quality") as stream:
            begin = (await first(stream)).id
            site.pump.port.offline(DeviceTimeout("no answer"))
            gone = await first(stream)
            assert (gone.data["twin"], gone.data["quality"]) == ("pump", "bad")
            assert gone.data["reason"]["code"] == "device-timeout"
            site.pump.port.offline(DeviceTimeout("no answer"))
            site.pump.say(flow=2.5, level=1)
            site.pump.port.quality({"level": DeviceReplyInvalid("level: no number")})
            site.gateway.ledger.notice("end", "that was all", PUMP)
            back = await first(stream)
            assert back.data["quality"] == "good"
            if "bad" not in back.data:
                back = await first(stream)
            assert back.data["bad"]["level"]["message"] == "level: no number"
        async with follow(site.client, begin, twin="pump", kind="quality") as stream:
            await first(stream)
            again = await first(stream)
            assert again.data["quality"] == "good", "as it is now"
            assert set(again.data["bad"]) == {"level"}


async def test_a_reported_value_says_whether_it_is_good():
    async with served() as (site, _), follow(site.client) as stream:
        site.pump.say(flow=2.5)
        assert (await flows(stream, 2.5))[-1].data["quality"] == "good"


async def test_who_follows_one_twin_is_told_that_its_node_is_not_heard_any_more():
    edge = node_with_pump("edge")
    async with served(MemoryNode("cloud")) as (site, _), edge.running(site.node):
        await until(lambda: site.gateway.queries.exists(PUMP) and site.gateway.queries.presence(PUMP).code == "")
        async with follow(site.client, twin="pump", kind="quality") as stream:
            await first(stream)
            edge.path.cut = True
            for link in site.node.listener.links:
                link.drop()
            while (told := await first(stream)).data["quality"] == "good":
                pass
            assert told.data["reason"]["message"] == "the node edge is not heard by cloud"
            edge.path.cut = False
            while (await first(stream)).data["quality"] == "bad":
                pass


async def _some(source, count):
    async with asyncio.timeout(5):
        async for item in source:
            yield item
            count -= 1
            if not count:
                return


async def test_a_client_that_leaves_is_forgotten():
    async with served() as (site, _):
        async with follow(site.client) as stream:
            await first(stream)
            assert len(site.gateway.events._listeners) == 1
        await until(lambda: not site.gateway.events._listeners)


async def test_one_who_reads_too_slowly_is_cut_and_can_go_on(monkeypatch):
    monkeypatch.setattr(bus_module, "QUEUE", 50)
    async with served() as (site, _):
        async with follow(site.client) as stream:
            await first(stream)
            for value in range(200):
                site.pump.say(flow=float(value))  # without giving the server a turn
            got = [event async for event in _some(stream, 10_000) if event.kind == "reported"]
            assert len(got) <= 50, "the stream ended"
        async with follow(site.client, got[-1].id) as stream:
            assert (await flows(stream, 199.0))[-1].value == 199.0


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no such time-out")
async def test_one_who_reads_nothing_is_dropped_by_the_kernel(monkeypatch):
    monkeypatch.setattr(server_module, "UNREAD", 300)
    async with served() as (site, server):
        _, writer = await asyncio.open_connection(*server.address, limit=1)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.gateway.events._listeners)
        writer.transport.pause_reading()
        async with asyncio.timeout(PATIENCE):
            while site.gateway.events._listeners:
                site.pump.say(note="x" * 50_000)
                site.pump.say(note="y" * 50_000)
                await asyncio.sleep(0.01)
        writer.transport.abort()
