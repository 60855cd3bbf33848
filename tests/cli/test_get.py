from __future__ import annotations

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode, twin
from twingateway.cli.exit_codes import ExitCode


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_twins_as_a_table(ask: Run, node: FakeNode) -> None:
    pending = {"state": "pending", "version": "1.1.6", "time": 0}
    items = [twin("hvac", temperature=21.5, ack=pending), twin("meter", state="offline")]
    node.answer("GET", "/twins", {"items": items, "nextAfter": None})
    result = ask("get", "twins")
    assert result.exit_code == 0
    assert _lines(result.stdout) == [
        ["NAME", "PRESENCE", "MODEL", "HOLDER", "REPORTED", "WAITING"],
        ["hvac", "online", "hvac@1", "edge-1", "temperature=21.5", "1"],
        ["meter", "offline", "hvac@1", "edge-1"],
    ]


def test_all_pages_are_read(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/twins", {"items": [twin("a")], "nextAfter": "a"})
    node.answer("GET", "/twins", {"items": [twin("b")], "nextAfter": None})
    result = ask("get", "twins", "-o", "json")
    assert [each["metadata"]["name"] for each in json.loads(result.stdout)] == ["a", "b"]
    assert [asked.query.get("after") for asked in node.asked] == [None, ["a"]]


def test_filters_are_passed_on(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/twins", {"items": [], "nextAfter": None})
    ask("get", "twins", "--label", "a=1", "--label", "b=2", "--model", "m@1", "--presence", "offline")
    assert node.asked[0].query == {"label": ["a=1", "b=2"], "model": ["m@1"], "presence": ["offline"]}


def test_one_twin_shows_its_acknowledgements(ask: Run, node: FakeNode) -> None:
    ack = {"state": "failed", "code": "write-mismatch", "message": "it is 19", "version": "1.1.6", "time": 0}
    document = twin("hvac", temperature=20, ack=ack)
    document["status"]["source"] = {"code": "device-timeout", "message": "no reply", "time": 1700000000000}
    node.answer("GET", "/twins/hvac", document)
    text = ask("get", "twin", "hvac").stdout
    rows = _lines(text)
    assert ["setpoint", "21.5", "failed", "write-mismatch:", "it", "is", "19"] in rows
    assert any(row[:2] == ["temperature", "20"] for row in rows)
    assert "source:    device-timeout: no reply, at 20" in text
    assert text.startswith("name:      hvac\n")


def test_one_twin_shows_which_values_are_good(ask: Run, node: FakeNode) -> None:
    document = twin("hvac", temperature=20, level=3)
    reason = {"code": "device-refused", "message": "level: refused", "since": 1700000000000}
    document["status"]["quality"] = {"level": reason}
    document["status"]["properties"]["reported"] = {
        "temperature": {"version": "1.1.5", "time": 0, "quality": "good"},
        "level": {"version": "1.1.6", "time": 0, "quality": "bad", "reason": reason},
    }
    node.answer("GET", "/twins/hvac", document)
    text = ask("get", "twin", "hvac").stdout
    assert ["temperature", "20", "good"] in _lines(text)
    assert ["level", "3", "bad,", "device-refused"] in _lines(text)
    assert "bad:       level, since 20" in text
    assert "device-refused: level: refused" in text


def test_one_twin_shows_the_units_of_its_model(ask: Run, node: FakeNode) -> None:
    properties = {
        "temperature": {"type": "number", "unit": "Celsius"},
        "mode": {"type": "string"},
        "levels": {"type": "array", "items": {"type": "number", "unit": "m"}},
        "setpoint": {"type": "number", "unit": "K"},
    }
    ack = {"state": "applied", "version": "1.1.6", "time": 0}
    node.answer("GET", "/twins/hvac", twin("hvac", temperature=20, mode="on", levels=[1, 2], ack=ack))
    node.answer("GET", "/models/hvac/versions/1", {"kind": "DeviceModel", "spec": {"properties": properties}})
    rows = _lines(ask("get", "twin", "hvac", "--namespace", "acme").stdout)
    assert ["PROPERTY", "REPORTED", "UNIT", "AT", "QUALITY", "DESIRED", "ACK"] in rows
    begun = {" ".join(row).partition("2023-11-")[0].rstrip() for row in rows}
    assert begun >= {"temperature 20 Celsius", "mode on", "levels [1, 2] m", "setpoint K 21.5 applied"}
    assert node.asked[1].query == {"namespace": ["acme"]}


def test_one_twin_is_shown_though_its_model_is_not_there(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/twins/hvac", twin("hvac", temperature=20))
    node.problem("GET", "/models/hvac/versions/1", 404, "No such model", "it has not come", code="unknown-model")
    result = ask("get", "twin", "hvac")
    assert result.exit_code == 0
    assert any(row[:2] == ["temperature", "20"] for row in _lines(result.stdout))


def test_one_twin_as_yaml_is_the_document(ask: Run, node: FakeNode) -> None:
    document = twin("hvac", temperature=20.5, mode="on", text="10:30")
    node.answer("GET", "/twins/hvac", document)
    text = ask("get", "twin", "hvac", "-o", "yaml").stdout
    assert YAML(typ="safe", pure=True).load(text) == document
    assert text.startswith("apiVersion: ")


def test_an_unknown_twin(ask: Run, node: FakeNode) -> None:
    node.problem("GET", "/twins/nope", 404, "No such twin", "there is no twin nope", code="unknown-twin")
    result = ask("get", "twin", "nope")
    assert (result.exit_code, result.stderr) == (ExitCode.NOT_FOUND, "error: there is no twin nope\n")


def test_events_of_a_twin_that_is_not_there_are_those_of_its_past_or_its_name_is_wrong(
    ask: Run, node: FakeNode
) -> None:
    node.problem("GET", "/twins/nope", 404, "No such twin", "there is no twin nope", code="unknown-twin")
    node.answer("GET", "/journal/event", {"items": [], "nextAfter": None})
    result = ask("get", "events", "nope")
    assert (result.exit_code, result.stderr) == (ExitCode.NOT_FOUND, "error: there is no twin nope\n")
    node.answer("GET", "/twins/hvac", twin("hvac"))
    assert ask("get", "events", "hvac").exit_code == 0
    deleted = _told(1, twin="nope", name="deleted", value={"message": "for good"})
    node.answer("GET", "/journal/alarm", {"items": [deleted], "nextAfter": None})
    assert "for good" in ask("get", "events", "nope", "--class", "alarm").stdout


def test_a_name_cannot_leave_its_place_in_the_url(ask: Run, node: FakeNode) -> None:
    ask("get", "twin", "../nodes?x=")
    assert node.asked[0].path == "/twins/..%2Fnodes%3Fx%3D"


def test_what_a_terminal_would_act_on_is_escaped(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/twins", {"items": [twin("a", text="\x1b[2Jgone", more="[red]x[/red]")], "nextAfter": None})
    text = ask("get", "twins").stdout
    assert "\x1b" not in text
    assert 'text="\\u001b[2Jgone"' in text
    assert "more=[red]x[/red]" in text


def test_nodes(ask: Run, node: FakeNode) -> None:
    quality = {"rtt": 0.1034, "rtt_variation": 0.01, "loss": 0.123, "burst": 1.5, "copies": 2, "redundancy": 2.25}
    child = {"name": "edge-1", "role": "child", "namespace": "default", "state": "up", "since": 0, "devices": 8}
    own = {"name": "cloud-1", "role": "root", "namespace": "default", "state": "up", "devices": 0}
    extra = {"transport": "quic", "address": "10.0.0.7:4242", "waiting": 3, "quality": quality}
    rates = {"goodput": 12345.6, "queue_age": 0.25}
    parent = {"name": "region", "role": "parent", "state": "up", "transport": "tls", "address": "10.0.0.1:4"}
    parents = {**parent, "url": "quic://region:14567"}
    node.answer("GET", "/nodes", {"items": [own, {**child, **extra, **rates}, parents]})
    rows = _lines(ask("get", "nodes").stdout)
    assert rows[1] == ["cloud-1", "root", "up", "0"]
    measured = ["0.2", "s", "103", "ms", "12.3%", "1.5", "2", "2.25x", "12.3", "kB/s"]
    assert rows[2] == ["edge-1", "child", "up", "8", "3", *measured, "quic", "10.0.0.7:4242"]
    assert rows[3] == ["region", "parent", "up", "tls", "quic://region:14567"]


def test_adapters_and_models(ask: Run, node: FakeNode) -> None:
    adapter = {"name": "modbus", "summary": "Modbus", "devices": 3, "online": 2, "error": ""}
    model = {"name": "hvac", "version": "1", "digest": "ab" * 32, "description": "An air handler", "properties": 9}
    node.answer("GET", "/adapters", {"items": [adapter]})
    node.answer("GET", "/models", {"items": [model]})
    assert _lines(ask("get", "adapters").stdout)[1] == ["modbus", "3", "2", "Modbus"]
    assert _lines(ask("get", "models").stdout)[1] == ["hvac", "1", "9", "ab" * 6, "An", "air", "handler"]
    assert json.loads(ask("get", "models", "-o", "json").stdout) == [model]


def test_one_model_in_its_highest_version_unless_one_is_named(ask: Run, node: FakeNode) -> None:
    properties = {
        "setpoint": {"type": "number", "access": "read-write", "unit": "Celsius", "minimum": 5, "step": 0.5}
    }
    document = {
        "kind": "DeviceModel",
        "metadata": {"name": "hvac", "version": "1.10"},
        "spec": {"description": "An air handler", "properties": properties},
    }
    versions = [{"name": "hvac", "version": version} for version in ("1.9", "1.10", "1.10-rc", "0.7")]
    node.answer("GET", "/models", {"items": [*versions, {"name": "meter", "version": "7"}]})
    node.answer("GET", "/models/hvac/versions/1.10", document)
    lines = ask("get", "model", "hvac").stdout.splitlines()
    assert lines[0] == "hvac@1.10  An air handler"
    assert lines[2].split() == ["PROPERTY", "TYPE", "ACCESS", "UNIT", "VALUES", "DESCRIPTION"]
    assert lines[3].split() == ["setpoint", "number", "read-write", "Celsius", "minimum=5", "step=0.5"]
    node.answer("GET", "/models/hvac/versions/1.9", document)
    assert json.loads(ask("get", "model", "hvac@1.9", "-o", "json").stdout) == document
    node.answer("GET", "/models", {"items": []})
    missing = ask("get", "model", "nothing")
    assert missing.exit_code == ExitCode.NOT_FOUND
    assert "twingateway get models" in missing.stderr


def _told(number: int, **more: Any) -> dict[str, Any]:
    return {"journal": "ab", "seq": number, "node": "edge-1", "namespace": "default", "time": 1700000000000, **more}


_ALL = ["claim-refused", "unassigned", "gap", "hot"]


@pytest.mark.parametrize(
    ("options", "shown", "asked"),
    [
        ([], _ALL, {"limit": ["100"]}),
        (["--last", "3"], ["unassigned", "gap", "hot"], {"limit": ["3"]}),
        (["hvac", "--namespace", "acme"], _ALL, {"limit": ["100"], "twin": ["hvac"], "namespace": ["acme"]}),
        (["--last", "100000"], _ALL, {"limit": ["10000"]}),
    ],
)
def test_events_are_asked_for_from_the_newest_until_there_are_enough(
    ask: Run, node: FakeNode, options: list[str], shown: list[str], asked: dict[str, list[str]]
) -> None:
    refused = _told(1, twin="hvac", name="claim-refused", value={"message": "held by edge-2", "node": "edge-1"})
    moved = _told(2, twin="fan", name="unassigned", value={"message": "given to edge-2"})
    alarm = _told(4, twin="hvac", name="hot", value=91.5)
    node.answer("GET", "/journal/event", {"items": [alarm, _told(3, gap="ttl", count=7)], "nextAfter": 3})
    node.answer("GET", "/journal/event", {"items": [moved, refused], "nextAfter": None})
    told = json.loads(ask("get", "events", *options, "-o", "json").stdout)
    assert [each.get("name", "gap") for each in told] == shown
    first, second = node.asked
    assert first.query == {"first": ["newest"], **asked}
    assert second.query == {"first": ["newest"], "after": ["3"], **asked}


def test_no_more_pages_are_asked_for_than_are_needed(ask: Run, node: FakeNode) -> None:
    told = [_told(2, twin="hvac", name="hot", value=1), _told(1, twin="hvac", name="hot", value=0)]
    node.answer("GET", "/journal/event", {"items": told, "nextAfter": 1})
    ask("get", "events", "--last", "2")
    assert len(node.asked) == 1


def test_an_event_is_one_line_and_a_gap_says_what_is_missing(ask: Run, node: FakeNode) -> None:
    refused = _told(1, twin="hvac", name="claim-refused", value={"message": "held by edge-2", "node": "edge-1"})
    items = [_told(4, twin="hvac", name="hot", value=91.5), _told(3, gap="ttl", count=7), refused]
    node.answer("GET", "/journal/alarm", {"items": items, "nextAfter": None})
    lines = ask("get", "events", "--class", "alarm").stdout.splitlines()
    assert lines[1].split()[2:] == ["edge-1", "hvac", "claim-refused", "held", "by", "edge-2"]
    assert lines[2].split()[2:] == ["edge-1", "gap", "7", "entries", "are", "missing:", "ttl"]
    assert lines[3].split()[2:] == ["edge-1", "hvac", "hot", "91.5"]
