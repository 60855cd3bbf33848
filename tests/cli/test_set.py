from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode, twin
from twingateway.cli.exit_codes import ExitCode


def _ack(state: str, code: str = "", message: str = "") -> dict[str, Any]:
    optional = {name: text for name, text in (("code", code), ("message", message)) if text}
    return {"version": "1.1.6", "state": state, "time": 0, **optional}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("21.5", 21.5),
        ("3", 3),
        ("true", True),
        ("on", "on"),
        ("10s", "10s"),
        ("12:30", "12:30"),
        ("null", None),
        ('""', ""),
        ('"3"', "3"),
        ("a=b", "a=b"),
        ('{"low": 5, "high": [1, 2]}', {"low": 5, "high": [1, 2]}),
    ],
)
def test_values_are_read_as_yaml_1_2(ask: Run, node: FakeNode, text: str, value: Any) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac"))
    assert ask("set", "hvac", f"property={text}").exit_code == 0
    assert node.asked[0].body == {"spec": {"desiredProperties": {"property": value}}}
    assert node.asked[0].query == {}


def test_several_properties_are_one_patch(ask: Run, node: FakeNode) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac"))
    ask("set", "hvac", "a=1", "b=x")
    assert [asked.body for asked in node.asked] == [{"spec": {"desiredProperties": {"a": 1, "b": "x"}}}]


def test_terms_are_told_with_the_values(ask: Run, node: FakeNode) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac"))
    assert ask("set", "hvac", "a=1", "--ttl", "1.5m", "--priority", "high").exit_code == 0
    assert node.asked[0].query == {"ttl": ["90.000000s"], "priority": ["high"]}


@pytest.mark.parametrize("priority", ["urgent", "HIGH", ""])
def test_a_priority_that_there_is_not_is_a_usage_error_with_those_there_are(
    ask: Run, node: FakeNode, priority: str
) -> None:
    result = ask("set", "hvac", "a=1", "--priority", priority)
    assert result.exit_code == ExitCode.USAGE
    assert all(choice in result.stderr for choice in ("high", "normal", "low"))
    assert not node.asked


@pytest.mark.parametrize("assignment", ["setpoint", "=3", "setpoint="])
def test_what_is_no_assignment_is_a_usage_error(ask: Run, node: FakeNode, assignment: str) -> None:
    assert ask("set", "hvac", assignment).exit_code == ExitCode.USAGE
    assert not node.asked


@pytest.mark.parametrize("text", ["[1, 2", "@x", "1\n---\n2", "{a: 1, a: 2}"])
def test_what_is_no_value_names_the_property(ask: Run, node: FakeNode, text: str) -> None:
    result = ask("set", "hvac", f"setpoint={text}")
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr.startswith("error: setpoint: ")
    assert not node.asked


@pytest.mark.parametrize(
    ("ack", "exit_code", "shown"),
    [
        (_ack("applied"), ExitCode.OK, "applied"),
        (_ack("delivered", "unconfirmed", "nothing confirms it"), ExitCode.OK, "unconfirmed: nothing confirms it"),
        (_ack("delivered", "device-unreachable", "it is off"), ExitCode.UNFINISHED, "device-unreachable: it is off"),
        (_ack("pending"), ExitCode.UNFINISHED, "pending"),
        (_ack("rejected", "maximum", "above 35"), ExitCode.DEVICE_REFUSED, "maximum: above 35"),
        (_ack("failed", "write-mismatch", "it is 19"), ExitCode.DEVICE_REFUSED, "write-mismatch: it is 19"),
    ],
)
def test_with_wait_the_outcome_is_the_exit_code(
    ask: Run, node: FakeNode, ack: dict[str, Any], exit_code: ExitCode, shown: str
) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac", ack=ack), 202)
    result = ask("set", "hvac", "setpoint=21.5", "--wait", "1500ms")
    assert result.exit_code == exit_code
    assert node.asked[0].query == {"wait": ["1.500000s"]}
    assert shown in result.stdout
    assert ask("set", "hvac", "setpoint=21.5").exit_code == 0


def test_acknowledgements_as_json(ask: Run, node: FakeNode) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac", ack=_ack("applied")))
    result = ask("set", "hvac", "setpoint=21.5", "--wait", "1s", "-o", "json")
    assert json.loads(result.stdout) == {"setpoint": _ack("applied")}


def test_removing_waits_for_nothing(ask: Run, node: FakeNode) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac"))
    result = ask("set", "hvac", "setpoint=null", "--wait", "1s")
    assert result.exit_code == 0
    assert "removed" in result.stdout


def test_a_wrong_duration_is_a_usage_error(ask: Run, node: FakeNode) -> None:
    result = ask("set", "hvac", "setpoint=1", "--wait", "soon")
    assert result.exit_code == ExitCode.USAGE
    assert "not a duration" in result.stderr


def test_a_refused_value_shows_the_rule_once(ask: Run, node: FakeNode) -> None:
    problem = {"path": "setpoint", "message": "50 is above the maximum 35", "rule": "maximum"}
    detail = "setpoint: 50 is above the maximum 35"
    node.problem("PATCH", "/twins/hvac", 422, "A value was refused", detail, code="invalid-value", problems=[problem])
    result = ask("set", "hvac", "setpoint=50")
    assert (result.exit_code, result.stderr) == (ExitCode.INVALID, f"error: {detail}\n")


def test_who_writes_is_who_is_logged_in_unless_that_is_said_or_nobody_is(
    ask: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answer("PATCH", "/twins/hvac", twin("hvac", ack=_ack("pending")))
    ask("set", "hvac", "setpoint=21.5")
    monkeypatch.setattr("getpass.getuser", lambda: "olaf")
    ask("set", "hvac", "setpoint=21.5")
    ask("set", "hvac", "setpoint=21.5", "--actor", "dora")
    monkeypatch.setenv("TWINGATEWAY_ACTOR", "night shift")
    ask("set", "hvac", "setpoint=21.5")
    assert [each.query.get("actor") for each in node.asked] == [None, ["olaf"], ["dora"], ["night shift"]]


def test_what_an_option_may_be_is_said_without_the_words_of_a_library(ask: Run) -> None:
    for wrong in (("set", "hvac", "a=1", "--priority", "urgent"), ("watch", "--kind", "foo")):
        refused = ask(*wrong)
        assert refused.exit_code == ExitCode.USAGE
        assert f"'{wrong[-1]}' is not one of" in refused.stderr
        assert "Value error" not in refused.stderr
