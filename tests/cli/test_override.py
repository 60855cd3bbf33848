"""`twingateway override` and `resolve`, against a node that plays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode, twin
from twingateway.cli.exit_codes import ExitCode

SPEED = "/twins/pump/overrides/speed"


def overridden(state: str = "applied", code: str = "") -> dict[str, Any]:
    ack = {"state": state, "version": "1.1.5", "time": 0, **({"code": code} if code else {})}
    return {
        "id": "6f0c-1.1",
        "value": 40,
        "actor": "olaf",
        "node": "edge",
        "since": 0,
        "state": "unjudged",
        "ack": ack,
    }


def test_each_property_is_an_override_of_its_own(ask: Run, node: FakeNode) -> None:
    node.answer("PUT", SPEED, overridden())
    node.answer("PUT", "/twins/pump/overrides/mode", overridden())
    result = ask("override", "pump", "speed=40", "mode=fast", "--actor", "olaf", "--wait", "2s")
    assert result.exit_code == 0, result.output
    assert [(asked.path, asked.body) for asked in node.asked] == [
        (SPEED, {"value": 40}),
        ("/twins/pump/overrides/mode", {"value": "fast"}),
    ]
    assert node.asked[0].query == {"actor": ["olaf"], "wait": ["2.000000s"]}
    assert "unjudged" in result.output
    assert "applied" in result.output


@pytest.mark.parametrize(
    ("state", "code", "exit_code"),
    [("applied", "", 0), ("delivered", "unconfirmed", 0), ("delivered", "", 10), ("rejected", "device-refused", 5)],
)
def test_the_exit_code_tells_what_became_of_it(
    ask: Run, node: FakeNode, state: str, code: str, exit_code: int
) -> None:
    node.answer("PUT", SPEED, overridden(state, code))
    assert ask("override", "pump", "speed=40", "--wait", "1s").exit_code == exit_code


def test_one_that_lost_says_to_what(ask: Run, node: FakeNode) -> None:
    ack = {"state": "superseded", "code": "lost", "message": "it lost to 5.0 by carol"}
    node.answer("PUT", SPEED, {**overridden(), "state": "lost", "ack": ack})
    result = ask("override", "pump", "speed=40", "--wait", "1s")
    assert result.exit_code == ExitCode.CONFLICT
    assert "superseded  lost: it lost to 5.0 by carol" in result.output


def test_one_of_which_nothing_was_said_yet_is_unfinished(ask: Run, node: FakeNode) -> None:
    silent = {key: each for key, each in overridden().items() if key != "ack"}
    node.answer("PUT", SPEED, silent, 202)
    node.answer("PUT", "/twins/pump/overrides/mode", overridden())
    assert ask("override", "pump", "speed=40", "mode=fast", "--wait", "1s").exit_code == ExitCode.UNFINISHED
    assert ask("override", "pump", "speed=40").exit_code == 0


def test_withdrawing_takes_names(ask: Run, node: FakeNode) -> None:
    node.answer("DELETE", SPEED, None, 200)
    result = ask("override", "pump", "speed", "--withdraw")
    assert result.exit_code == 0, result.output
    assert "follows the desired value again" in result.output


def test_another_node_s_device_is_a_conflict(ask: Run, node: FakeNode) -> None:
    node.problem("PUT", SPEED, 409, "Overrides are set at the holder", "pump is held by edge-2", code="not-holder")
    result = ask("override", "pump", "speed=40")
    assert result.exit_code == ExitCode.CONFLICT
    assert "edge-2" in result.output


@pytest.mark.parametrize("winner", ["cloud", "edge"])
def test_a_decision_is_about_the_override_that_was_seen(ask: Run, node: FakeNode, winner: str) -> None:
    node.answer("GET", SPEED, overridden())
    node.answer("POST", f"{SPEED}/resolution", twin("pump"))
    result = ask("resolve", "pump", "speed", f"--{winner}", "--actor", "dora")
    assert result.exit_code == 0, result.output
    decision = node.asked[1]
    assert decision.body == {"winner": winner}
    assert decision.query == {"actor": ["dora"]}
    assert decision.headers["if-match"] == '"6f0c-1.1"'


@pytest.mark.parametrize("options", [[], ["--cloud", "--edge"]])
def test_a_decision_is_for_one_side(ask: Run, node: FakeNode, options: list[str]) -> None:
    assert ask("resolve", "pump", "speed", *options).exit_code == ExitCode.USAGE
    assert not node.asked


def test_a_twin_shows_its_overrides(ask: Run, node: FakeNode) -> None:
    document = twin("pump")
    document["status"]["overrides"] = {"speed": overridden()}
    node.answer("GET", "/twins/pump", document)
    output = ask("get", "twin", "pump").output
    assert "speed=40 by olaf at edge" in output
    assert "unjudged" in output


def test_the_actor_goes_with_a_desired_value_too(ask: Run, node: FakeNode) -> None:
    node.answer("PATCH", "/twins/pump", twin("pump"))
    ask("set", "pump", "speed=4", "--actor", "carol")
    assert node.asked[0].query == {"actor": ["carol"]}
