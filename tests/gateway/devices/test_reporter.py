from __future__ import annotations

import math
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.gateway.workbench import FULL, PUMP, Bench, bench, turns
from twingateway.errors import DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway.gateway.devices.models import read_model
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.holding.statements import Statements
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section
from twingateway.twin.value import Value

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {"properties": {"flow": {"type": "number", "minimum": 0, "maximum": 10}}},
}


def reporter(b: Bench, model: str | None = None, online: list[str] | None = None) -> Reporter:
    gateway = b.gateway
    statements = Statements(gateway.table, gateway.ledger, b.tasks)
    heard = [] if online is None else online
    return Reporter(
        PUMP, model, gateway.models, gateway.ledger, b.clock, statements, on_online=lambda: heard.append("online")
    )


def presence(b: Bench, name: str) -> Any:
    return b.value(Section.PRESENCE, name)


def version(b: Bench, name: str) -> object:
    stored = b.gateway.table.get(RegisterKey(PUMP, Section.REPORTED, name))
    return None if stored is None else stored.register.version


async def test_what_did_not_change_is_not_minted_again() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1, "on": True})
        await turns()
        first = version(b, "flow"), version(b, "on")
        port.report({"flow": 1.0, "on": True})
        assert (version(b, "flow"), version(b, "on")) == first
        port.report({"flow": 1, "on": 1})
        assert version(b, "flow") == first[0]
        assert version(b, "on") != first[1], "true is not 1"


async def test_the_first_report_after_a_start_is_minted_even_if_it_equals_the_stored_one() -> None:
    async with bench() as b:
        reporter(b).report({"flow": 1})
        await turns()
        before = version(b, "flow")
        reporter(b).report({"flow": 1})
        await turns()
        assert version(b, "flow") != before


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "finite"),
        (math.inf, "finite"),
        (10**30, "range"),
        ("x" * 70_000, "too-large"),
        (object(), "type"),
    ],
)
async def test_a_value_that_is_none_keeps_the_good_one_and_is_shown_with_its_rule(value: Any, rule: str) -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1, "level": 1})
        port.report({"flow": value, "level": 2})
        await turns()
        assert b.value(Section.REPORTED, "flow") == 1
        assert b.value(Section.REPORTED, "level") == 2, "its neighbour is not hindered"
        assert presence(b, "refused")["flow"]["rule"] == rule
        assert (await b.notice("value-refused")).detail["property"] == "flow"


async def test_a_value_too_deep_is_refused() -> None:
    deep: Value = 1
    for _ in range(17):
        deep = [deep]
    async with bench() as b:
        reporter(b).report({"flow": deep})
        await turns()
        assert presence(b, "refused")["flow"]["rule"] == "too-large"


async def test_a_refusal_is_cleared_when_the_property_reports_well_again() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": math.nan, "level": math.nan})
        port.report({"flow": 1})
        await turns()
        assert set(presence(b, "refused")) == {"level"}
        port.report({"level": 1})
        await turns()
        assert presence(b, "refused") is None


async def test_the_same_refusal_again_is_no_news() -> None:
    async with bench() as b:
        port = reporter(b)
        for value in (math.nan, math.nan, math.inf, -math.inf, 10**30):
            port.report({"flow": value})
            await turns()
        told = [event.detail["rule"] for event in await b.events() if getattr(event, "code", "") == "value-refused"]  # type: ignore[union-attr]
        assert told == ["finite", "range"], "once for each rule: what is too high goes up and down every second"
        assert presence(b, "refused")["flow"]["value"] == repr(10**30), "the newest one is shown"


async def test_a_model_bounds_what_its_devices_report_and_lets_other_names_pass() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", read_model(MODEL))
        port = reporter(b, "pump@1")
        port.report({"flow": 3, "other": "text"})
        port.report({"flow": 11})
        await turns()
        assert b.value(Section.REPORTED, "flow") == 3
        assert b.value(Section.REPORTED, "other") == "text"
        assert presence(b, "refused")["flow"]["rule"] == "maximum"


async def test_presence_says_since_when_and_why() -> None:
    async with bench() as b:
        online: list[str] = []
        port = reporter(b, online=online)
        port.report({"flow": 1})
        await turns()
        assert presence(b, "state") == {"state": "online", "since": b.clock.wall}
        since = b.clock.wall = b.clock.wall + 1000
        port.offline(DeviceTimeout("no answer", retry_in=2.5))
        await turns()
        assert presence(b, "state") == {
            "state": "offline", "since": since, "code": "device-timeout", "message": "no answer",
        }  # fmt: skip
        assert presence(b, "source") == {
            "code": "device-timeout", "message": "no answer", "time": since, "next_try": since + 2500,
        }  # fmt: skip
        b.clock.wall += 1000
        port.offline(DeviceUnreachable("cable out"))
        await turns()
        assert presence(b, "state")["since"] == since, "offline since the first error, whatever followed"
        port.online()
        await turns()
        assert presence(b, "state")["state"] == "online"
        assert presence(b, "source") is None
        assert online == ["online", "online"]


async def test_the_log_says_when_a_device_goes_and_why_and_when_it_is_back() -> None:
    async with bench() as b:
        with capture_logs() as told:
            port = reporter(b)
            port.report({"flow": 1})
            await turns()
            for error in (DeviceTimeout("no answer"), DeviceTimeout("no answer"), DeviceUnreachable("cable out")):
                port.offline(error)
                await turns()
            for _ in range(2):
                port.online()
                await turns()
    assert [(each["event"], each.get("reason")) for each in told if "device" in each] == [
        ("a device is offline", "no answer"),
        ("a device is offline", "cable out"),
        ("a device is online again", None),
    ]


async def test_a_problem_of_a_device_that_is_there_is_shown_until_the_next_good_report() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1})
        port.problem(DeviceReplyInvalid("not JSON"))
        await turns()
        assert presence(b, "source")["code"] == "device-reply-invalid"
        assert presence(b, "state")["state"] == "online"
        port.report({"flow": 1})
        await turns()
        assert presence(b, "source") is None


async def test_presence_that_finds_the_disk_full_is_written_when_there_is_room() -> None:
    async with bench() as b:
        port = reporter(b)
        b.store.error = FULL
        port.report({"flow": 1})
        port.fail(DeviceUnreachable("cable out"), None)
        await turns()
        assert presence(b, "state") is None
        b.store.error = None
        await until(lambda: presence(b, "state") is not None)
        assert presence(b, "state")["state"] == "offline"


async def test_a_device_clock_from_another_world_is_not_believed() -> None:
    async with bench() as b:
        reporter(b).report({"flow": 1}, time=2**70)
        await turns()
        stored = b.gateway.table.get(RegisterKey(PUMP, Section.REPORTED, "flow"))
        assert stored is not None
        assert stored.register.time == b.clock.wall


async def test_a_name_that_no_peer_could_be_told_is_refused() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"x" * 2000: 1, "": 2, "flow": 3})
        await turns()
        assert list(b.gateway.table.section(PUMP, Section.REPORTED)) == ["flow"]


def state_of(b: Bench) -> object:
    value = presence(b, "state")
    return None if value is None else value["state"]


async def test_three_silent_periods_make_a_device_stale_and_its_next_word_brings_it_back() -> None:
    async with bench() as b:
        online: list[str] = []
        port = reporter(b, online=online)
        port.report({"flow": 1})
        await until(lambda: state_of(b) == "online")
        for _ in range(3):
            b.clock.seconds += 29.9
            port.expect(10)
            port.online()
        await turns()
        assert state_of(b) == "online", "a word in time, also one without news"
        b.clock.seconds += 30
        b.clock.wall += 30_000
        port.expect(10)
        await until(lambda: state_of(b) == "stale")
        stale = presence(b, "state")
        assert (stale["since"], stale["code"]) == (b.clock.wall, "silent")
        b.clock.seconds += 60
        b.clock.wall += 60_000
        port.expect(10)
        await turns()
        assert presence(b, "state") == stale, "it is stale since then, however long"
        assert port.is_online, "desired values are tried still"
        port.online()
        await until(lambda: state_of(b) == "online")
        assert presence(b, "state")["since"] == b.clock.wall
        assert online == ["online", "online"]


async def test_a_short_period_does_not_make_a_busy_moment_a_silence() -> None:
    async with bench() as b:
        port = reporter(b)
        port.online()
        await until(lambda: state_of(b) == "online")
        b.clock.seconds += 2.9
        port.expect(0.1)
        await turns()
        assert state_of(b) == "online"


async def test_a_node_that_was_held_up_itself_blames_no_device() -> None:
    async with bench() as b:
        port = reporter(b)
        port.online()
        await until(lambda: state_of(b) == "online")
        b.clock.seconds += 3600
        port.excuse()
        b.clock.seconds += 29
        port.expect(10)
        await turns()
        assert state_of(b) == "online"


async def test_offline_stays_offline_however_long_and_a_stale_device_may_go_offline() -> None:
    async with bench() as b:
        port = reporter(b)
        port.online()
        b.clock.seconds += 30
        await until(lambda: presence(b, "state") is not None)
        port.expect(10)
        port.offline(DeviceUnreachable("nobody answers"))
        b.clock.seconds += 300
        port.expect(10)
        await until(lambda: state_of(b) == "offline")
        await turns()
        assert presence(b, "state")["code"] == "device-unreachable"


async def test_a_device_that_was_online_before_a_restart_and_says_nothing_after_it_is_stale() -> None:
    async with bench() as b:
        reporter(b).online()
        await until(lambda: state_of(b) == "online")
        again = reporter(b)
        for seconds, period in ((29, 10), (0.9, 3600), (0, None)):
            b.clock.seconds += seconds
            again.expect(period)
        await turns()
        assert state_of(b) == "online", "there was no time to hear it"
        b.clock.seconds += 0.1
        again.expect(period)
        await until(lambda: state_of(b) == "stale")
        assert presence(b, "state")["code"] == "unheard"
        again.online()
        await until(lambda: state_of(b) == "online")


async def test_a_device_without_a_period_may_be_silent_for_ever_once_it_was_heard() -> None:
    async with bench() as b:
        port = reporter(b)
        port.online()
        await until(lambda: state_of(b) == "online")
        b.clock.seconds += 1_000_000
        port.expect(None)
        await turns()
        assert state_of(b) == "online"


async def test_a_device_that_was_offline_before_a_restart_stays_so_until_it_is_heard() -> None:
    async with bench() as b:
        reporter(b).offline(DeviceUnreachable("nobody answers"))
        await until(lambda: state_of(b) == "offline")
        before = presence(b, "state")
        b.clock.seconds += 60
        reporter(b).expect(None)
        await turns()
        assert presence(b, "state") == before
