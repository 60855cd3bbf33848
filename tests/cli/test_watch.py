from __future__ import annotations

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode
from twingateway.cli import watch
from twingateway.cli.exit_codes import ExitCode


def _event(position: int, kind: str, **data: Any) -> bytes:
    return f"id: ab12-{position}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _reported(position: int, value: Any) -> bytes:
    names = {"namespace": "default", "twin": "hvac", "property": "temperature"}
    return _event(position, "reported", **names, value=value, version=f"1.1.{position}", time=1700000000000)


def _stream(node: FakeNode, *chunks: bytes) -> None:
    node.answer_bytes("GET", "/events", b": cloud-1\nid: ab12-5\n\n" + b"".join(chunks), "text/event-stream")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BACK_OFF", (0.01, 0.02))


def test_each_event_is_one_line_and_a_refusal_ends_it(ask: Run, node: FakeNode) -> None:
    notice = {"code": "claim-refused", "message": "held by edge-2", "time": 1700000000000, "twin": "hvac"}
    _stream(node, _reported(6, 21.5), _reported(6, None), b": still here\n\n", _event(7, "notice", **notice))
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    result = ask("watch", "hvac")
    first, removed, second = result.stdout.splitlines()
    assert first.endswith(" hvac reported temperature = 21.5")
    assert removed.endswith(" hvac reported temperature = null")
    assert second.endswith(" hvac claim-refused: held by edge-2")
    assert node.asked[1].query == {"twin": ["hvac"]}
    assert "waiting for it" in result.stderr
    assert result.exit_code == ExitCode.NOT_ALLOWED


def test_only_the_kinds_that_are_named_are_asked_for(ask: Run, node: FakeNode) -> None:
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    ask("watch", "--kind", "presence", "--kind", "notice")
    assert node.asked[0].query == {"kind": ["presence", "notice"]}
    refused = ask("watch", "--kind", "weather")
    assert refused.exit_code == ExitCode.USAGE
    assert "'reported'" in refused.stderr
    assert len(node.asked) == 1


def test_a_state_is_told_in_words(ask: Run, node: FakeNode) -> None:
    state = {"twin": "hvac", "property": "state", "time": 1700000000000}
    value = {"state": "offline", "since": 5, "code": "device-timeout", "message": "no answer"}
    owner = {"state": "live", "holder": "edge-2", "store": "", "epoch": 2}
    kept = _event(8, "presence", **{**state, "property": "kept"}, value={"reported": ["power"]})
    _stream(node, _event(6, "presence", **state, value=value), _event(7, "lifecycle", **state, value=owner), kept)
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    presence, lifecycle = ask("watch").stdout.splitlines()
    assert presence.endswith(" hvac presence state = offline, device-timeout: no answer")
    assert lifecycle.endswith(" hvac lifecycle state = live, held by edge-2")


def test_an_override_and_what_became_of_it_are_told_in_words(ask: Run, node: FakeNode) -> None:
    about = {"twin": "hvac", "property": "speed", "time": 1700000000000}
    override = {"id": "ab12-1.1", "value": 40.0, "actor": "olaf", "node": "edge-1", "ack": {"state": "applied"}}
    verdict = {"override": "ab12-1.1", "outcome": "lost", "by": "dora", "stands": "1.1.7"}
    told = [("override", override), ("verdict", verdict), ("verdict", {"outcome": "open"}), ("override", None)]
    _stream(node, *(_event(number, kind, **about, value=value) for number, (kind, value) in enumerate(told, 6)))
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    lines = [line.split(" hvac ")[1] for line in ask("watch").stdout.splitlines()]
    assert lines == [
        "override speed = 40.0 by olaf at edge-1, applied",
        "verdict speed = lost by dora: the cloud's value stands",
        "verdict speed = open: a person is to decide",
        "override speed = null",
    ]


def test_the_quality_of_a_twins_values_is_told_in_words(ask: Run, node: FakeNode) -> None:
    bad = {"quality": "bad", "reason": {"code": "device-timeout", "message": "no answer", "since": 5}}
    but = {"quality": "good", "bad": {"level": {"code": "device-refused", "message": "level: refused", "since": 5}}}
    about = {"twin": "hvac", "time": 1700000000000}
    _stream(node, *(_event(number, "quality", **about, **data) for number, data in enumerate((bad, but), 6)))
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    gone, back = ask("watch").stdout.splitlines()
    assert gone.endswith(" hvac quality = bad, device-timeout: no answer")
    assert back.endswith(" hvac quality = good; but level: device-refused: level: refused")


def test_after_a_break_it_goes_on_where_it_was(ask: Run, node: FakeNode) -> None:
    _stream(node, _reported(6, 1))
    node.problem("GET", "/events", 503, "Not available", "the node is stopping", code="unavailable")
    _stream(node)
    _stream(node, _reported(9, 2))
    node.problem("GET", "/events", 404, "Gone", "no such stream", code="not-found")
    result = ask("watch", "-o", "json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["event"], each["value"]) for each in events] == [("reported", 1), ("reported", 2)]
    asked = [each.headers.get("last-event-id") for each in node.asked]
    assert asked == [None, "ab12-6", "ab12-6", "ab12-5", "ab12-9"]
    assert result.stderr.startswith("following http://")
    assert result.stderr.count("connected again") == 2
    assert "the node is stopping; trying again in 0.02 s" in result.stderr
    assert "the node ended the stream; trying again in 0.01 s" in result.stderr


@pytest.mark.parametrize("options", [("-o", "json"), ("--output", "json"), ("--json",)])
def test_as_json_each_event_is_one_line(ask: Run, node: FakeNode, options: tuple[str, ...]) -> None:
    _stream(node, _reported(6, {"low": 1}), _event(7, "presence", property="kept", value=None))
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    first, second = map(json.loads, ask("watch", *options).stdout.splitlines())
    assert (first["event"], first["twin"], first["value"]) == ("reported", "hvac", {"low": 1})
    assert (second["event"], second["property"]) == ("presence", "kept")


def test_as_yaml_each_event_is_one_document(ask: Run, node: FakeNode) -> None:
    _stream(node, _reported(6, {"low": 1}), _reported(7, "a: b\n---\n"))
    node.problem("GET", "/events", 401, "A token is needed", "send it")
    text = ask("watch", "-o", "yaml").stdout
    assert text.startswith("---\nevent: reported\n")
    documents = list(YAML(typ="safe", pure=True).load_all(text))
    assert [each["value"] for each in documents] == [{"low": 1}, "a: b\n---\n"]


def test_the_first_connection_must_succeed(ask: Run, node: FakeNode) -> None:
    node.problem("GET", "/events", 503, "Not available", "starting", code="unavailable")
    result = ask("watch")
    assert (result.exit_code, result.stderr) == (ExitCode.NO_CONNECTION, "error: starting\n")


def test_what_is_no_event_stream(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/events", {"hello": "world"})
    result = ask("watch")
    assert result.exit_code == ExitCode.NO_CONNECTION
    assert "text/event-stream" in result.stderr
