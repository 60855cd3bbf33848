"""Polling: one answer feeds many values, and what did not change costs nothing."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from twingateway_http.poll import Poll
from twingateway_http.reading import Reading
from twingateway_http.settings import Names, RequestSettings

from tests.adapters_http.http_plant import Asked, Plant, reply
from twingateway.errors import DeviceRefused, DeviceReplyInvalid, DeviceTimeout

POWER = {"pick": "meter.power"}


async def test_one_answer_feeds_many_values(plant: Plant) -> None:
    answer = {"meter": {"power": 1200, "phases": [1.5, 2.5]}, "state": "on", "kilo": 1.25, "at": 1_700_000_000_000}
    server = await plant.serve(lambda asked: reply(answer))
    driver, recorder = plant.driver(
        server,
        {
            "power": POWER,
            "second": {"pick": "meter.phases[1]"},
            "running": {"pick": "state == 'on'"},
            "scaled": {"pick": "kilo", "scale": 1000},
            "absent": {"pick": "nowhere", "optional": True},
        },
    )
    expected = {"power": 1200, "second": 2.5, "running": True, "scaled": 1250}
    assert await driver.read() == expected
    assert len(server.asked) == 1
    assert recorder.problems == []
    assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_named_requests_have_their_own_path_period_body_and_time(plant: Plant) -> None:
    def answer(asked: Asked) -> bytes:
        return reply({"value": asked.path, "at": "2026-01-02T03:04:05Z"})

    server = await plant.serve(answer)
    driver, recorder = plant.run(
        server,
        {"fast": {"request": "live", "pick": "value"}, "slow": {"request": "rare", "pick": "value"}},
        requests={
            "live": {"path": "/live/{device}", "time": "at"},
            "rare": {"path": "/rpc?x=1", "method": "POST", "body": {"call": "get"}, "period": "1h"},
            "unused": {"path": "/unused"},
        },
    )
    assert driver.period == 3600, "the slowest decides when silence is too long"
    await server.until(lambda s: len(s.asked) >= 4)
    assert recorder.values == {"fast": "/live/device-1", "slow": "/rpc?x=1"}
    rare = [asked for asked in server.asked if asked.path == "/rpc?x=1"]
    assert [(asked.method, asked.json) for asked in rare] == [("POST", {"call": "get"})]
    assert {report.time for report in recorder.reports if "fast" in report.values} == {1_767_323_045_000}
    assert {report.time for report in recorder.reports if "slow" in report.values} == {None}
    assert not any(asked.path == "/unused" for asked in server.asked)


async def test_not_modified_means_online_and_nothing_new(plant: Plant) -> None:
    state = {"tag": '"one"', "power": 1}

    def answer(asked: Asked) -> bytes:
        if asked.headers.get("if-none-match") == state["tag"]:
            return reply(status=304)
        return reply({"meter": {"power": state["power"]}}, etag=str(state["tag"]))

    server = await plant.serve(answer)
    _, recorder = plant.run(server, {"power": POWER})
    await server.until(lambda s: len(s.asked) >= 4)
    tags = [asked.headers.get("if-none-match") for asked in server.asked]
    assert tags[0] is None
    assert set(tags[1:]) == {'"one"'}
    assert (recorder.presence, recorder.values, recorder.problems) == (True, {"power": 1}, [])

    state.update(tag='"two"', power=2)
    await recorder.until(lambda r: r.values["power"] == 2)


async def test_not_modified_that_nobody_asked_for_is_an_invalid_reply(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply(status=304))
    driver, _ = plant.driver(server, {"power": POWER})
    with pytest.raises(DeviceRefused, match="304 Not Modified"):
        await driver.read()


async def test_a_change_smaller_than_the_deadband_is_not_reported(plant: Plant) -> None:
    readings = iter([10, 14, 9, 15, 15])
    server = await plant.serve(lambda asked: reply({"meter": {"power": next(readings, 15)}}))
    _, recorder = plant.run(server, {"power": {**POWER, "deadband": 5}})
    await server.until(lambda s: len(s.asked) > 5)
    assert [report.values["power"] for report in recorder.reports] == [10, 15]


def test_the_schedule_never_leaves_its_grid_and_slows_down_while_nothing_answers() -> None:
    poll = Poll(RequestSettings.model_validate({}), 0.5, (), Names("device", "default"))
    poll.due = 10.0
    times = []
    for lateness in (0.02, 0.4, 0.5, 1.3):
        poll.advance(poll.due + lateness, -inf)
        times.append(poll.due)
    assert times == [10.5, 11.0, 12.0, 13.5]

    poll.advance(13.6, 15.2)
    assert poll.due == 15.5  # asked to wait until 15.2

    pauses = []
    for _ in range(7):
        before = poll.due
        poll.failed(DeviceTimeout("no answer"))
        poll.advance(before + 0.1, -inf)
        pauses.append(poll.due - before)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    poll.succeeded(Reading())
    poll.advance(poll.due, -inf)
    assert poll.due == 38.5


async def test_the_next_request_is_due_a_period_after_the_last_was(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply({"meter": {"power": 1}}))
    driver, _ = plant.run(server, {"power": POWER}, period="60ms")
    await server.until(lambda s: len(s.asked) >= 1)
    first = driver._polls[0].due
    await server.until(lambda s: len(s.asked) >= 4)
    periods = (driver._polls[0].due - first) / 0.06
    assert periods == pytest.approx(round(periods))


async def test_one_bad_pick_marks_only_itself(plant: Plant) -> None:
    body: dict[str, Any] = {"meter": {"power": 5}, "text": "x"}
    server = await plant.serve(lambda asked: reply(body))
    picks = {"power": POWER, "scaled": {"pick": "text", "scale": 10}, "gone": {"pick": "no.such"}}
    _, recorder = plant.run(server, picks)
    await recorder.until(lambda r: bool(r.problems))
    assert recorder.values == {"power": 5}
    assert recorder.presence is True
    problem = recorder.problems[0]
    assert isinstance(problem, DeviceReplyInvalid)
    assert problem.message == "GET /: scaled: 'x' is not a number, so it cannot be scaled"
    assert problem.detail["property"] == "scaled"

    body.update(text=4, no={"such": 1})
    await recorder.until(lambda r: r.values.get("gone") == 1)
    assert recorder.values == {"power": 5, "scaled": 40, "gone": 1}


async def test_a_problem_that_ends_is_followed_by_a_report(plant: Plant) -> None:
    # Only a report takes `status.source` off the screen, even if no value changed by more than its deadband.
    fails = False

    def answer(asked: Asked) -> bytes:
        return reply(status=403) if fails else reply({"meter": {"power": 5}})

    server = await plant.serve(answer)
    _, recorder = plant.run(server, {"power": {**POWER, "deadband": 100}})
    await recorder.until(lambda r: len(r.reports) == 1)
    fails = True
    await recorder.until(lambda r: len(r.problems) == 1)
    fails = False
    await recorder.until(lambda r: len(r.reports) == 2)
    assert recorder.presence is True


async def test_values_are_passed_on_whatever_their_type(plant: Plant) -> None:
    # Whether they fit is for the host to say, which knows the model.
    server = await plant.serve(lambda asked: reply({"power": "a lot", "list": [1, {"a": None}], "no": False}))
    driver, _ = plant.driver(server, {"power": {"pick": "power"}, "list": {"pick": "list"}, "no": {"pick": "no"}})
    assert await driver.read() == {"power": "a lot", "list": [1, {"a": None}], "no": False}


async def test_a_pick_that_cannot_be_used_on_the_answer_is_a_fault(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply({"power": "many"}))
    driver, _ = plant.driver(server, {"power": {"pick": "abs(power)"}})
    with pytest.raises(DeviceReplyInvalid, match="abs"):
        await driver.read()


async def test_read_back_asks_again_in_full(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply({"meter": {"power": len(server.asked)}}, etag='"same"'))
    driver, _ = plant.driver(server, {"power": POWER, "blind": {"command": {"body": "$value"}}})
    assert [await driver.read_back("power"), await driver.read_back("power")] == [1, 2]
    with pytest.raises(DeviceRefused, match="cannot be read back"):
        await driver.read_back("blind")
