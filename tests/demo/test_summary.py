"""What is said about a demo, and when it has succeeded."""

from __future__ import annotations

import json

from twingateway.demo.board import Board
from twingateway.demo.comparison import Mismatch
from twingateway.demo.documents import DemoDevice
from twingateway.demo.observer import Update
from twingateway.demo.script import Outcome
from twingateway.demo.summary import as_json, as_text, succeeded

LIE = Mismatch("pump", "flow", 9.5, 8.0)


def board() -> Board:
    shown = Board(
        [DemoDevice("lamp", "mqtt", {"power": 0.0}, stamped=True), DemoDevice("pump", "modbus", {"flow": 1.0})]
    )
    shown.latencies.begin(0)
    shown.at_cloud(Update("reported", "lamp", "power", 4, 100, 140))
    shown.at_cloud(Update("reported", "pump", "flow", 8.0, 100, 160))
    shown.at_cloud(Update("reported", "pump", "flow", 8.5, 900, 3000))
    shown.latencies.outage(1000, 2900)
    return shown


def test_success_is_no_mismatch_and_every_desired_value_applied() -> None:
    assert succeeded(Outcome(desired_set=2, desired_applied=2))
    assert not succeeded(Outcome(desired_set=2, desired_applied=1))
    assert not succeeded(Outcome(desired_set=2, desired_applied=2, mismatches=[LIE]))
    assert not succeeded(Outcome()), "nothing set proves nothing"


def test_the_outage_is_counted_apart() -> None:
    result = as_json(Outcome(desired_set=1, desired_applied=1, outage_seconds=1.9), board(), 12.0)
    assert json.loads(json.dumps(result)) == result
    assert (result["p50_ms"], result["p99_ms"], result["outage_p99_ms"]) == (40, 60, 2100)
    assert result["p99_ms_by_adapter"] == {"modbus": 60, "mqtt": 40}
    assert (result["devices"], result["adapters"], result["stamped_devices"]) == (2, 2, ["lamp"])


def test_a_run_without_an_outage_or_an_update_can_be_told() -> None:
    result = as_json(Outcome(desired_set=1, desired_applied=1), Board(board().devices), 5.0)
    assert (result["p99_ms"], result["outage_p99_ms"]) == (None, None)
    assert "cut for" not in as_text(result)
    assert "Everything agrees." in as_text(result)


def test_what_went_wrong_is_named() -> None:
    failure = "lamp.on = true: failed after 90 ms; the device itself says false"
    outcome = Outcome(desired_set=1, mismatches=[LIE], failures=[failure])
    text = as_text(as_json(outcome, board(), 5.0))
    assert "MISMATCH: pump.flow: the device says 9.5, its twin 8.0" in text
    assert f"NOT APPLIED: {failure}" in text
    assert "Everything agrees." not in text
