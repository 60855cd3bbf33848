"""`validate` takes files and documents of every kind, and needs nothing of a node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twingateway import validate
from twingateway.config.validate import check
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin.parse_model import parse_model

Write = Callable[[str, str], Path]

TWIN = """\
apiVersion: edge.iot.org/v1
kind: DeviceTwin
metadata:
  name: temperature-sensor-001
spec:
  desiredProperties:
    samplingRate: "10s"
  reportedProperties:
    currentValue: 23.5
    unit: "Celsius"
"""
MODEL: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "sensor", "version": "1.0.0"},
    "spec": {
        "properties": {
            "currentValue": {"type": "number", "maximum": 20},
            "setPoint": {"type": "number", "access": "read-write", "unit": "Celsius"},
        }
    },
}
WITH_MODEL = TWIN.replace("spec:\n", "spec:\n  model: sensor@1.0.0\n")


def lines(problems: list[Any]) -> list[str]:
    return [str(problem) for problem in problems]


def test_the_document_of_the_specification_is_valid_as_it_stands(write: Write) -> None:
    assert validate(write("twin.yaml", TWIN)) == []


def test_documents_are_taken_as_data_too() -> None:
    twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "x"}}
    assert validate(twin) == []
    assert validate([twin, MODEL]) == []
    [problem] = validate({**twin, "metadata": {"name": "a b"}})
    assert (problem.path, problem.file, problem.line) == ("metadata.name", "", 0)


def test_a_problem_of_a_twin_has_file_and_line(write: Write) -> None:
    [problem] = validate(str(write("twin.yaml", TWIN.replace("23.5", ".nan"))))
    assert (problem.file, problem.line, problem.path) == ("twin.yaml", 9, "spec.reportedProperties.currentValue")


@pytest.mark.parametrize("form", ["document", "model", "beside"])
def test_a_twin_is_checked_against_the_model_it_names(write: Write, form: str) -> None:
    file = write("twin.yaml", WITH_MODEL)
    given = {
        "document": lambda: validate(file, models=[MODEL]),
        "model": lambda: validate(file, models=[parse_model(MODEL)]),
        "beside": lambda: validate([file, MODEL]),
    }
    found = given[form]()
    assert [(problem.line, problem.path, problem.rule) for problem in found] == [
        (8, "spec.desiredProperties.samplingRate", "unknown"),
        (10, "spec.reportedProperties.currentValue", "maximum"),
    ]


DEEP: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "sensor", "version": "1.0.0"},
    "spec": {
        "properties": {
            "levels": {"type": "array", "access": "read-write", "items": {"type": "integer", "maximum": 9}},
            "limits": {
                "type": "object",
                "properties": {"low": {"type": "number", "step": 5}, "high": {"type": "number", "maximum": 50}},
            },
        }
    },
}


def test_all_values_that_do_not_fit_are_told_in_the_order_of_the_document(write: Write) -> None:
    values = "{limits: {other: 1, high: 60, low: 7}, levels: [1, 10, 2.5, x]}"
    twin = f"spec: {{model: sensor@1.0.0,\n desiredProperties: {values},\n reportedProperties: {{levels: [11, 12]}}}}"
    file = write("twin.yaml", f"apiVersion: edge.iot.org/v1\nkind: DeviceTwin\nmetadata: {{name: a}}\n{twin}\n")
    assert [(problem.line, problem.path.partition(".")[2], problem.rule) for problem in validate([file, DEEP])] == [
        (5, "desiredProperties.limits", "access"),
        (5, "desiredProperties.limits.other", "additionalProperties"),
        (5, "desiredProperties.limits.high", "maximum"),
        (5, "desiredProperties.limits.low", "step"),
        (5, "desiredProperties.levels.1", "maximum"),
        (5, "desiredProperties.levels.2", "type"),
        (5, "desiredProperties.levels.3", "type"),
        (6, "reportedProperties.levels.0", "maximum"),
        (6, "reportedProperties.levels.1", "maximum"),
    ]


def test_what_is_no_json_is_told_of_every_value() -> None:
    values = {"a": float("nan"), "b": [1, 2**60, {"c": object()}], 5: 1, "d": 1}
    twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "a"}}
    found = validate({**twin, "spec": {"desiredProperties": values}})
    at = "spec.desiredProperties"
    assert [(problem.path, problem.rule) for problem in found] == [
        (at, "type"),
        (f"{at}.a", "finite"),
        (f"{at}.b.1", "range"),
        (f"{at}.b.2.c", "type"),
    ]


@pytest.mark.parametrize("value", [10, 2**60])
def test_of_very_many_problems_the_first_are_told_and_that_there_are_more(value: int) -> None:
    twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "a"}}
    spec = {"model": "sensor@1.0.0", "desiredProperties": {"levels": [1] + [value] * 5000}}
    found = validate({**twin, "spec": spec}, models=[DEEP])
    paths = [f"spec.desiredProperties.levels.{place}" for place in range(1, 101)]
    assert [problem.path for problem in found] == [*paths, ""]
    assert (found[-1].rule, found[-1].message) == ("more", "more is wrong than these 100 problems")


def test_all_devices_of_a_range_are_checked(write: Write, registry: AdapterRegistry) -> None:
    text = "apiVersion: edge.iot.org/v1\nkind: Device\nmetadata: {name: 'a-{n}', range: 8..12}\n"
    file = write("a.yaml", f"{text}spec: {{adapter: fake, host: h, port: '{{n+65525}}'}}\n")
    [found] = lines(validate(file, registry=registry))
    assert "a-11" in found
    assert "1 more of its range" in found


def test_a_model_that_is_not_at_hand_is_no_problem(write: Write) -> None:
    assert validate(write("twin.yaml", WITH_MODEL)) == []


def test_devices_and_node_files_are_recognised(write: Write, registry: AdapterRegistry) -> None:
    device = "apiVersion: edge.iot.org/v1\nkind: Device\nmetadata: {name: a}\nspec: {adapter: fake, hots: h}\n"
    write("d/a.yaml", device)
    node = write("node.yaml", "node: {name: n}\ndevices: ['d/*.yaml']\napi: {address: '0.0.0.0:1'}\n")
    expected = [
        "d/a.yaml:4: spec.host: is required",
        'd/a.yaml:4: spec.hots: unknown key "hots" (did you mean "host"?)',
    ]
    assert lines(validate("d/a.yaml", registry=registry)) == expected
    assert lines(validate([node, "d/a.yaml"], registry=registry)) == [
        "node.yaml:3: api.address: 0.0.0.0:1 can be reached from other machines: give a token_file",
        *expected,
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "x.yaml:1: not YAML: "),
        ("", "x.yaml: holds no document"),
        ("- 1", "x.yaml:1: a document must be a mapping"),
        ("a: 1", "x.yaml:1: neither kind (a document) nor node (a node file) is here"),
        ("a: 1\nkind: DeviceTwn", 'x.yaml:2: kind: there is no kind "DeviceTwn" (did you mean "DeviceTwin"?)'),
        ("kind: 3", "x.yaml:1: kind: there is no kind 3"),
    ],
)
def test_what_is_no_document_is_said_so(write: Write, text: str, problem: str) -> None:
    [found] = validate(write("x.yaml", text))
    assert str(found).startswith(problem)


def test_one_bad_document_hides_no_other(write: Write) -> None:
    write("many.yaml", f"{TWIN}---\nkind: x\n---\n{TWIN.replace('spec:', 'spce:')}")
    assert [problem.line for problem in validate(["none.yaml", "many.yaml"])] == [0, 12, 18]


def test_an_unknown_unit_is_a_warning_and_not_a_problem() -> None:
    model = {**MODEL, "spec": {"properties": {"a": {"type": "number", "unit": "flurbs"}}}}
    report = check(model)
    assert report.ok
    assert [warning.path for warning in report.warnings] == ["spec.properties.a.unit"]
    assert validate(model) == []


MODBUS = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: meter-1}
spec:
  adapter: modbus
  address: {host: 10.0.0.7}
  properties:
    power: {table: input, address: 0, type: int16}
"""
NODE = "node: {name: n}\ndevices: [meter.yaml]\napi:\nbroker:\nadapters: {modbus: }\n"
HEAVY = ("aioquic", "amqtt", "fastapi", "httpx2", "paho", "pymodbus", "sqlite3", "starlette", "uvicorn", "jsonschema")
PROGRAM = """\
import sys
import twingateway
light = [name for name in ("pydantic", "ruamel.yaml", "jsonschema_rs") if name in sys.modules]
assert not light, light
problems = twingateway.validate(["twin.yaml", "meter.yaml", "node.yaml"])
assert problems == [], problems
print(*[name for name in sys.argv[1:] if name in sys.modules])
"""


def test_importing_loads_nothing_and_validating_loads_no_part_of_a_node(write: Write) -> None:
    for name, text in (("twin.yaml", TWIN), ("meter.yaml", MODBUS), ("node.yaml", NODE)):
        write(name, text)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *HEAVY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
