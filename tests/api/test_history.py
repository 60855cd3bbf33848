"""History and the journal over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.site import Site, in_process, node_with_pump, problem_of
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.ports.journal import Filing
from twingateway.ports.store import Changes
from twingateway.testing.joined import until
from twingateway.twin.entry import ALARM, HISTORY, JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.parse_model import parse_model
from twingateway.twin.quality import MARKS, Quality, Reason

pytestmark = pytest.mark.hurried

NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)


async def remember(site: Site, *points: tuple[int, Any], name: str = "level") -> None:
    entries = [JournalEntry(HISTORY, "default", "cloud", "pump", name, time, value) for time, value in points]
    await site.gateway.store.commit(Changes(journal=[Filing(entry, 0, False, True) for entry in entries]))


async def ask(site: Site, **params: Any) -> Any:
    response = await site.client.get("/twins/pump/history", params={"property": "level", **params})
    assert response.status_code == 200, response.text
    return response.json()


AWAY = Reason("device-timeout", "no answer", NOON + 1_000)
NO_NUMBER = Reason("device-reply-invalid", "no number", NOON + 5_000)


async def mark(site: Site, *marks: tuple[int, Quality]) -> None:
    await remember(site, *((time, quality.to_value()) for time, quality in marks), name=MARKS)


def bad(time: int, reason: Reason) -> dict[str, Any]:
    return {"time": time, "value": None, "quality": "bad", "reason": reason.to_value()}


def good(time: int, value: Any) -> dict[str, Any]:
    return {"time": time, "value": value, "quality": "good"}


async def test_points_come_in_order_and_page_by_page() -> None:
    async with in_process() as site:
        await remember(site, *((NOON + n // 2, n) for n in range(7)))
        found: list[Any] = []
        after = None
        pages = 0
        while True:
            params = {} if after is None else {"after": after}
            page = await ask(site, limit=3, **{"from": NOON, "to": NOON + 3}, **params)
            found += page["items"]
            pages += 1
            after = page["nextAfter"]
            if after is None:
                break
        assert found == [good(NOON + n // 2, n) for n in range(6)], "`to` is not included"
        assert pages == 2


async def test_times_may_be_written_both_ways() -> None:
    async with in_process() as site:
        await remember(site, (NOON, "at noon"), (NOON + 60_000, "later"))
        for start, end in [
            (str(NOON), str(NOON + 1)),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"),
            ("2026-01-31T13:00:00+01:00", "2026-01-31T12:00:30"),
        ]:
            page = await ask(site, **{"from": start, "to": end})
            assert page["items"] == [{"time": NOON, "value": "at noon", "quality": "good"}]
            assert page["from"] == NOON


async def test_without_times_it_is_the_last_hour() -> None:
    async with in_process() as site:
        now = site.gateway.clock.wall_ms()
        await remember(site, (now - 3_700_000, 1), (now - 60_000, 2), (now, 3))
        assert [item["value"] for item in (await ask(site))["items"]] == [2, 3]


async def test_steps_sum_up() -> None:
    async with in_process() as site:
        await remember(site, (NOON, 1), (NOON + 4_000, 2), (NOON + 9_999, 6), (NOON + 20_000, "off"))
        window = {"from": NOON, "to": NOON + 60_000, "step": "10s"}
        page = await ask(site, **window)
        assert page["step"] == 10_000
        assert page["items"] == [
            {"time": NOON, "count": 3, "min": 1.0, "mean": 3.0, "max": 6.0, "bad": 0},
            {"time": NOON + 20_000, "count": 1, "min": None, "mean": None, "max": None, "bad": 0},
        ]
        first = await ask(site, **window, limit=1)
        assert first["items"] == page["items"][:1]
        second = await ask(site, **window, limit=1, after=first["nextAfter"])
        assert second["items"] == page["items"][1:]
        assert second["nextAfter"] is None
        unsaid = await ask(site, step="10s", to=NOON + 27_123)
        assert [item["time"] for item in unsaid["items"]] == [NOON, NOON + 20_000], "multiples of the step"


async def test_where_a_value_was_not_to_be_relied_on_there_is_none_but_the_reason() -> None:
    async with in_process() as site:
        await remember(site, (NOON, 1))
        await mark(site, (NOON, Quality()), (NOON + 1_000, Quality(AWAY)), (NOON + 2_000, Quality()))
        await mark(site, (NOON + 5_000, Quality(None, {"level": NO_NUMBER, "flow": AWAY})))
        await mark(site, (NOON + 6_000, Quality(None, {"level": NO_NUMBER})))
        await remember(site, (NOON + 7_000, 2))
        await mark(site, (NOON + 7_000, Quality()))
        expected = [
            good(NOON, 1),
            bad(NOON + 1_000, AWAY),
            good(NOON + 2_000, 1),
            bad(NOON + 5_000, NO_NUMBER),
            good(NOON + 7_000, 2),
        ]
        window = {"from": NOON, "to": NOON + 60_000}
        assert (await ask(site, **window))["items"] == expected
        for limit in (1, 2, 3):
            page = await ask(site, limit=limit, **window)
            found = page["items"]
            while page["nextAfter"] is not None:
                page = await ask(site, limit=limit, after=page["nextAfter"], **window)
                assert len(page["items"]) <= limit
                found += page["items"]
            assert found == expected, "in pages of any size"


async def test_a_window_in_which_nothing_was_reported_begins_with_what_is_bad() -> None:
    async with in_process() as site:
        await remember(site, (NOON, 1))
        await mark(site, (NOON + 1_000, Quality(AWAY)))
        window = {"from": NOON + 10_000, "to": NOON + 60_000}
        assert (await ask(site, **window))["items"] == [bad(NOON + 10_000, AWAY)]
        assert (await ask(site, property="torque", **window))["items"] == [], "it never had a value"


async def test_steps_say_how_much_of_them_was_bad() -> None:
    async with in_process() as site:
        await remember(site, (NOON, 4), (NOON + 35_000, 6))
        await mark(site, (NOON + 8_000, Quality(AWAY)), (NOON + 35_000, Quality()))
        await mark(site, (NOON + 37_000, Quality(AWAY)), (NOON + 38_000, Quality()), (NOON + 99_000, Quality(AWAY)))
        window = {"from": NOON, "to": NOON + 60_000, "step": "10s"}
        page = await ask(site, **window)
        shown = [(item["time"] - NOON, item["count"], item["mean"], item["bad"]) for item in page["items"]]
        assert shown == [
            (0, 1, 4.0, 2_000),
            (10_000, 0, None, 10_000),
            (20_000, 0, None, 10_000),
            (30_000, 1, 6.0, 6_000),
        ]
        found: list[Any] = []
        for rest in (3, 2, 1, 0):
            after = {"after": found[-1]["time"]} if found else {}
            part = await ask(site, limit=1, **window, **after)
            assert (part["nextAfter"] is None) == (rest == 0)
            found += part["items"]
        assert found == page["items"]


async def test_what_is_bad_now_is_not_bad_beforehand() -> None:
    async with in_process() as site:
        now = site.gateway.clock.wall_ms()
        await remember(site, (now - 5_000, 1))
        await mark(site, (now - 2_000, Quality(AWAY)))
        (step,) = (await ask(site, step="1d", **{"from": now - 10_000, "to": now + 80_000_000}))["items"]
        assert 2_000 <= step["bad"] < 60_000


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "noon"}, "to"),
        ({"step": "ten"}, "step"),
        ({"step": "0s"}, "step"),
        ({"after": "x"}, "after"),
        ({"limit": "0"}, "query.limit"),
        ({"limit": "10001"}, "query.limit"),
        ({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T11:59:59Z"}, "from"),
        ({"property": ["level", "flow"]}, "query.property"),
    ],
)
async def test_what_makes_no_sense_is_refused(params: dict[str, Any], path: str) -> None:
    async with in_process() as site:
        response = await site.client.get("/twins/pump/history", params={"property": "level", **params})
        assert response.status_code == 422
        assert response.json()["problems"][0]["path"] == path


async def test_what_is_beyond_its_retention_is_not_shown_though_it_is_not_deleted_yet() -> None:
    node = node_with_pump()
    node.journal = JournalPolicy(retention=60.0)
    async with in_process(node) as site:
        now = site.gateway.clock.wall_ms()
        await remember(site, (now - 90_000, 1), (now - 30_000, 2), (now - 20_000, 4))
        assert [item["value"] for item in (await ask(site, **{"from": 0}))["items"]] == [2, 4]
        (step,) = (await ask(site, **{"from": now - 100_000, "step": "100s"}))["items"]
        assert (step["time"], step["count"], step["min"]) == (now - 100_000, 2, 2.0)


async def test_each_property_has_history_for_as_long_as_its_model_says() -> None:
    spec = {"level": {"type": "number", "retention": "60s"}, "flow": {"type": "number", "retention": "1h"}}
    document = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceModel", "metadata": {"name": "pump", "version": "1"}}
    async with in_process(models={"pump": "pump@1"}) as site:
        await site.gateway.models.add("default", parse_model({**document, "spec": {"properties": spec}}))
        now = site.gateway.clock.wall_ms()
        for name in (*spec, "torque"):
            await remember(site, (now - 4_000_000, 1), (now - 99_000, 2), (now - 30_000, 3), name=name)

        async def shown() -> dict[str, list[int]]:
            asked = {name: await ask(site, property=name, **{"from": 0}) for name in (*spec, "torque")}
            return {
                name: [item["value"] for item in page["items"] if item["time"] < now] for name, page in asked.items()
            }

        before = await shown()
        assert before == {"level": [3], "flow": [2, 3], "torque": [1, 2, 3]}, "of torque no model says it: 30 days"
        await site.gateway.relay.prune()
        assert await shown() == before
        kept = {name: points for (_, name), points in site.node.disk.journal.history.items()}
        assert [len([p for p in kept[name] if p.time < now]) for name in (*spec, "torque")] == [1, 2, 3], "deleted"


async def test_a_property_that_the_model_does_not_have_is_a_misspelt_one_unless_something_is_known_of_it() -> None:
    head = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceModel", "metadata": {"name": "pump", "version": "1"}}
    spec = {"properties": {"level": {"type": "number"}, "speed": {"type": "number"}}}
    async with in_process(models={"pump": "pump@1"}) as site:
        await remember(site, (NOON, 1), name="torque")
        window = {"from": NOON, "to": NOON + 1}
        assert (await ask(site, property="levle", **window))["items"] == [], "the model is not here: who can know?"
        await site.gateway.models.add("default", parse_model({**head, "spec": spec}))
        response = await site.client.get("/twins/pump/history", params={"property": "levle", **window})
        problem = problem_of(response, 422, "invalid-document")
        assert problem["detail"] == 'pump@1 has no property "levle" (did you mean "level"?)'
        assert problem["problems"][0]["path"] == "property"
        assert (await ask(site, property="speed", **window))["items"] == [], "it has no history yet"
        assert (await ask(site, property="flow", **window))["items"] == [], "the device reports it all the same"
        kept = await ask(site, property="torque", **window)
        assert kept["items"] == [good(NOON, 1)], "an earlier version of the model had it"


async def test_a_series_that_a_wrong_clock_wrote_is_shown_by_its_own_time() -> None:
    node = node_with_pump()
    node.journal = JournalPolicy(retention=60.0)
    async with in_process(node) as site:
        await remember(site, (1_000, 1), (50_000, 2), (70_000, 3))
        assert [item["value"] for item in (await ask(site, **{"from": 0}))["items"]] == [2, 3]


async def test_an_unknown_twin_has_none() -> None:
    async with in_process() as site:
        response = await site.client.get("/twins/nobody/history?property=level")
        assert (response.status_code, response.json()["code"]) == (404, "unknown-twin")
        assert (await site.client.get("/twins/pump/history")).status_code == 422, "which property?"


async def test_what_a_device_reports_becomes_history() -> None:
    node = node_with_pump()
    node.journal = JournalPolicy(history=WithHistory.ALL)
    async with in_process(node) as site:
        site.pump.say(level=5)
        await until(lambda: {name for _, name in node.disk.journal.history} == {"flow", "level", MARKS})
        assert [item["value"] for item in (await ask(site))["items"]] == [5]


async def test_the_journal_tells_what_waits() -> None:
    node = node_with_pump("edge")
    parent = node_with_pump("cloud")
    async with in_process(node, parent=parent) as site:
        await site.gateway.journal.append(ALARM, None, "hot", {"message": "too hot"}, NOON)
        body = (await site.client.get("/journal")).json()
        assert [item["class"] for item in body["items"]] == ["alarm", "event", "history", "raw"]
        alarm = body["items"][0]
        assert (alarm["entries"], alarm["oldest"], alarm["peer"]) == (1, NOON, None)
        assert alarm["bytes"] > 0
        assert body["appended"] >= 0
        await site.gateway.relay.evict()
        metrics = (await site.client.get("/metrics")).text
        assert 'twingateway_journal_entries{class="alarm"} 1.0' in metrics


async def test_what_was_told_can_be_read_page_by_page() -> None:
    async with in_process() as site:
        for n in range(3):
            await site.gateway.journal.append(ALARM, None, "hot", {"n": n}, NOON)
        first = (await site.client.get("/journal/alarm", params={"limit": 2})).json()
        rest = (await site.client.get("/journal/alarm", params={"after": first["nextAfter"]})).json()
        items = first["items"] + rest["items"]
        assert [(item["seq"], item["value"], item["node"]) for item in items] == [
            (1, {"n": 0}, "cloud"),
            (2, {"n": 1}, "cloud"),
            (3, {"n": 2}, "cloud"),
        ]
        assert rest["nextAfter"] is None
        assert (await site.client.get("/journal/event")).json() == {"items": [], "nextAfter": None}
        unknown = problem_of(await site.client.get("/journal/alarms"), 404, "not-found")
        assert unknown["detail"] == "nothing is kept of a class 'alarms' (did you mean \"alarm\"?)"


async def test_what_was_told_can_be_read_from_the_end() -> None:
    async with in_process() as site:
        for n in range(5):
            await site.gateway.journal.append(ALARM, None, "hot", n, NOON)
        asked: dict[str, Any] = {"first": "newest", "limit": 2}
        pages = [(await site.client.get("/journal/alarm", params=asked)).json()]
        while pages[-1]["nextAfter"] is not None:
            asked["after"] = pages[-1]["nextAfter"]
            pages.append((await site.client.get("/journal/alarm", params=asked)).json())
        assert [[item["value"] for item in page["items"]] for page in pages] == [[4, 3], [2, 1], [0]]

        pump = DeviceId("default", "pump")
        for device, n in ((pump, 5), (DeviceId("acme", "pump"), 6), (DeviceId("default", "fan"), 7), (pump, 8)):
            await site.gateway.journal.append(ALARM, device, "hot", n, NOON)
        for params, expected in (
            ({"twin": "pump", "first": "newest"}, [8, 6, 5]),
            ({"twin": "pump", "namespace": "default"}, [5, 8]),
            ({"namespace": "acme"}, [6]),
        ):
            page = (await site.client.get("/journal/alarm", params=params)).json()
            assert [item["value"] for item in page["items"]] == expected
        assert (await site.client.get("/journal/alarm", params={"first": "latest"})).status_code == 422
