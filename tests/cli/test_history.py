from __future__ import annotations

import json
from datetime import datetime

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode
from twingateway.cli.exit_codes import ExitCode

PATH = "/twins/hvac/history"
NOON = int(datetime(2026, 1, 31, 12).timestamp() * 1000)  # here


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_points_of_all_pages_as_a_table(ask: Run, node: FakeNode) -> None:
    node.answer("GET", PATH, {"items": [{"time": NOON, "value": 21.5, "quality": "good"}], "nextAfter": "1-2"})
    reason = {"code": "device-timeout", "message": "no answer", "since": NOON}
    bad = {"time": NOON + 250, "value": None, "quality": "bad", "reason": reason}
    off = {"time": NOON + 500, "value": "off", "quality": "good"}
    node.answer("GET", PATH, {"items": [bad, off], "nextAfter": None})
    result = ask("history", "hvac", "temperature", "--from", "2026-01-31T12:00:00Z")
    assert result.exit_code == 0
    assert _lines(result.stdout) == [
        ["TIME", "VALUE", "QUALITY"],
        ["2026-01-31", "12:00:00.000", "21.5", "good"],
        ["2026-01-31", "12:00:00.250", "bad,", "device-timeout:", "no", "answer"],
        ["2026-01-31", "12:00:00.500", "off", "good"],
    ]
    assert node.asked[0].query["property"] == ["temperature"]
    assert node.asked[0].query["from"] == ["2026-01-31T12:00:00Z"]
    assert node.asked[1].query["after"] == ["1-2"]


def test_steps_show_what_is_summed_up(ask: Run, node: FakeNode) -> None:
    items = [
        {"time": NOON, "count": 3, "min": 1, "mean": 2.5000000000000004, "max": 4, "bad": 0},
        {"time": NOON + 60_000, "count": 1, "min": None, "mean": None, "max": None, "bad": 1500},
    ]
    node.answer("GET", PATH, {"items": items, "nextAfter": None})
    result = ask("history", "hvac", "temperature", "--step", "1m")
    assert _lines(result.stdout) == [
        ["TIME", "COUNT", "MIN", "MEAN", "MAX", "BAD"],
        ["2026-01-31", "12:00:00.000", "3", "1", "2.5", "4"],
        ["2026-01-31", "12:01:00.000", "1", "1.5", "s"],
    ]
    result = ask("history", "hvac", "temperature", "--step", "1m", "-o", "json")
    assert json.loads(result.stdout) == items


def test_a_time_without_zone_is_meant_as_it_is_shown(ask: Run, node: FakeNode) -> None:
    node.answer("GET", PATH, {"items": [{"time": NOON, "value": 1, "quality": "good"}], "nextAfter": None})
    ask("history", "hvac", "temperature", "--from", "2026-01-31 12:00", "--to", str(NOON))
    sent = node.asked[0].query
    assert datetime.fromisoformat(sent["from"][0]).timestamp() * 1000 == NOON
    assert sent["to"] == [str(NOON)]


def test_that_there_is_nothing_has_a_reason(ask: Run, node: FakeNode) -> None:
    node.answer("GET", PATH, {"items": [], "nextAfter": None})
    result = ask("history", "hvac", "temperature", "-o", "json")
    assert json.loads(result.stdout) == []
    assert "retention" in result.stderr


def test_an_unknown_twin_is_named(ask: Run, node: FakeNode) -> None:
    node.problem("GET", PATH, 404, "No such twin", "there is no twin hvac", code="unknown-twin")
    result = ask("history", "hvac", "temperature")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "there is no twin hvac" in result.stderr
