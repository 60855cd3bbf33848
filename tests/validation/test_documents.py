import copy
import datetime
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from twingateway_schemas import load

from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.parse_model import parse_model
from twingateway.validation.documents import check_model, check_shape, check_twin
from twingateway.validation.model import CompiledModel, Direction
from twingateway.validation.report import Report

TWIN: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceTwin",
    "metadata": {"name": "temperature-sensor-001"},
    "spec": {
        "desiredProperties": {"samplingRate": "10s"},
        "reportedProperties": {"currentValue": 23.5, "unit": "Celsius"},
    },
}
MODEL: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "hvac", "version": "1.0"},
    "spec": {
        "properties": {
            "setpoint": {"type": "number", "unit": "Celsius", "minimum": 16, "maximum": 30, "access": "read-write"},
            "mode": {"type": "enum", "values": ["off", "heat"]},
            "limits": {"type": "object", "properties": {"low": {"type": "number"}}, "required": ["low"]},
            "curve": {"type": "array", "items": {"type": "integer", "unit": "kW"}},
        }
    },
}
ABSENT = object()


def edited(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which what is at a dotted path is `value`, or not there."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = result
    for name in parents:
        place = place.setdefault(name, {})
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return result


def only(report: Report) -> Problem:
    assert len(report.problems) == 1, [str(problem) for problem in report.problems]
    return report.problems[0]


@pytest.mark.parametrize("name", ["device-twin", "device-model"])
def test_shipped_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(load(name))


def test_an_unknown_schema_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        load("no-such")


def test_the_short_twin_is_accepted_exactly_as_it_stands() -> None:
    assert check_twin(TWIN) == Report()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels", {"floor": "3"}),
        ("metadata.annotations", {"kubectl.kubernetes.io/last-applied": "{}"}),
        ("metadata.namespace", "plant"),
        ("spec.model", "hvac@1.0"),
        ("spec", ABSENT),
        ("spec.desiredProperties", {"a b": [1, {"x": None}], "off": None}),
        ("status", {"anything": [1]}),
    ],
)
def test_what_a_twin_may_also_say(path: str, value: Any) -> None:
    assert check_twin(edited(TWIN, path, value)) == Report()


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("apiVersion", "v1", "apiVersion", '"v1" is not expected here, "edge.iot.org/v1" is'),
        ("kind", ABSENT, "", '"kind" is missing: the kind of this document'),
        ("metadata.name", ABSENT, "metadata", "\"name\" is missing: the device's name"),
        ("metadata.name", "two words", "metadata.name", "\"two words\" does not fit; expected a name of letters"),
        ("metadata.name", 7, "metadata.name", '7 is a number; expected text (write "7")'),
        ("metadata.name", "line\n", "metadata.name", "line"),
        ("metadata.nmae", "x", "metadata.nmae", 'unknown key "nmae" (did you mean "name"?)'),
        ("metadata.labels", {"floor": 3}, "metadata.labels.floor", '3 is a number; expected text (write "3")'),
        ("metadata.labels", ["a"], "metadata.labels", "this is a list; expected an object"),
        ("spec.reportedProperty", {}, "spec.reportedProperty", 'did you mean "reportedProperties"?'),
        ("spec.model", "hvac", "spec.model", "expected a model reference: name@version"),
        ("spec.desiredProperties", {"": 1}, "spec.desiredProperties", 'the key "" has 0 characters, expected at'),
        ("spec.desiredProperties", {"a\x07": 1}, "spec.desiredProperties.a\x07", "cannot be shown"),
        ("spec.desiredProperties.x", float("nan"), "spec.desiredProperties.x", "not a finite number"),
        ("spec.desiredProperties.x", 2**60, "spec.desiredProperties.x", "61 bits"),
        ("spec.desiredProperties.x", "y" * 70_000, "spec.desiredProperties.x", "larger than 64 KiB"),
        ("spec.desiredProperties.x", datetime.date(2026, 1, 1), "spec.desiredProperties.x", "a date is not a JSON"),
        ("spec.desiredProperties", {12: 1}, "spec.desiredProperties", "put it in quotes"),
    ],
)  # fmt: skip
def test_a_wrong_twin_is_explained_at_its_place(path: str, value: Any, where: str, words: str) -> None:
    problem = only(check_twin(edited(TWIN, path, value)))
    assert problem.path == where
    assert words in problem.message


def test_a_value_that_is_too_deep_is_named() -> None:
    deep: Any = 0
    for _ in range(17):
        deep = {"a": deep}
    problem = only(check_twin(edited(TWIN, "spec.reportedProperties.x", deep)))
    assert problem.path.startswith("spec.reportedProperties.x")
    assert problem.rule == "depth"


@pytest.mark.parametrize("document", [None, [], "text", 3, {}])
def test_what_is_not_a_document_at_all_is_refused(document: Any) -> None:
    assert not check_twin(document).ok
    assert not check_model(document).ok


def test_everything_wrong_is_listed_at_once() -> None:
    wrong = {"apiVersion": "v1", "kind": "Twin", "metadata": {"labels": {"a": 1}}, "spek": {}}
    assert {problem.path for problem in check_twin(wrong).problems} == {
        "apiVersion",
        "kind",
        "metadata",
        "metadata.labels.a",
        "spek",
    }


def test_requiring_a_wrong_document_raises_with_all_problems() -> None:
    report = check_twin({"kind": "DeviceTwin"})
    with pytest.raises(InvalidDocument, match="and 1 more") as caught:
        report.require("twin.yaml")
    assert caught.value.problems == report.problems
    check_twin(TWIN).require("twin.yaml")


def test_a_good_model_has_neither_problems_nor_warnings() -> None:
    assert check_model(MODEL) == Report()


P = "spec.properties"


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("metadata.version", 1.0, "metadata.version", '1.0 is a number; expected text (write "1.0")'),
        ("metadata.version", "a@b", "metadata.version", "does not fit"),
        (P, {}, P, "has 0 entries, expected at least 1"),
        (f"{P}.x", {}, f"{P}.x", '"type" is missing'),
        (f"{P}.x", {"type": "float"}, f"{P}.x.type", '"float" is not one of "number", "integer"'),
        (f"{P}.x", {"type": "number", "acess": "read"}, f"{P}.x.acess", 'did you mean "access"?'),
        (f"{P}.x", {"type": "number", "access": "rw"}, f"{P}.x.access", '"read-write"'),
        (f"{P}.x", {"type": "number", "step": 0}, f"{P}.x.step", "0 is not greater than 0"),
        (f"{P}.x", {"type": "number", "minimum": "1"}, f"{P}.x.minimum", '"1" is text; expected a number'),
        (f"{P}.x", {"type": "number", "minimum": 3, "maximum": 2}, f"{P}.x.minimum", "minimum 3 is above maximum 2"),
        (f"{P}.x", {"type": "string", "minLength": 3, "maxLength": 2}, f"{P}.x.minLength", "above maxLength 2"),
        (f"{P}.x", {"type": "array", "minItems": 3, "maxItems": 2}, f"{P}.x.minItems", "above maxItems 2"),
        (f"{P}.x", {"type": "string", "minimum": 3}, f"{P}.x.minimum", "`minimum` says nothing about type string"),
        (f"{P}.x", {"type": "boolean", "values": [True]}, f"{P}.x.values", "says nothing about type boolean"),
        (f"{P}.x", {"type": "enum"}, f"{P}.x", "an enum needs `values`"),
        (f"{P}.x", {"type": "enum", "values": []}, f"{P}.x.values", "has 0 items, expected at least 1"),
        (f"{P}.x", {"type": "enum", "values": ["a", "b"], "codes": [1]}, f"{P}.x.codes", "1 codes for 2 values"),
        (f"{P}.x", {"type": "enum", "values": ["a", "b"], "codes": [1, 1]}, f"{P}.x.codes", "lists something twice"),
        (f"{P}.x", {"type": "integer", "codes": [1]}, f"{P}.x.codes", "says nothing about type integer"),
        (f"{P}.x", {"type": "enum", "values": ["a", "a"]}, f"{P}.x.values", "lists something twice"),
        (f"{P}.x", {"type": "enum", "values": [["a"]]}, f"{P}.x.values.0", "this is a list; expected text or"),
        (f"{P}.limits.required", ["low", "top"], f"{P}.limits.required.1", "'top' is required but not among"),
        (f"{P}.curve.items.minimum", 5, None, ""),
        (f"{P}.curve.items.maxLength", 5, f"{P}.curve.items.maxLength", "says nothing about type integer"),
        (f"{P}.limits.properties.low.access", "read", f"{P}.limits.properties.low.access", "unknown key"),
    ],
)
def test_a_wrong_model_is_explained_at_its_place(path: str, value: Any, where: str | None, words: str) -> None:
    report = check_model(edited(MODEL, path, value))
    if where is None:
        assert report.ok
        return
    problem = only(report)
    assert problem.path == where
    assert words in problem.message


def test_an_unknown_unit_is_a_warning() -> None:
    report = check_model(edited(MODEL, f"{P}.curve.items.unit", "furlongs"))
    assert report.ok
    assert [warning.path for warning in report.warnings] == [f"{P}.curve.items.unit"]


def test_a_model_found_good_can_be_compiled_and_used() -> None:
    compiled = CompiledModel(parse_model(MODEL))
    assert compiled.check("setpoint", 20, direction=Direction.DOWN) == 20.0


def test_shape_alone_can_be_checked() -> None:
    wrong = edited(MODEL, f"{P}.x", {"type": "number", "minimum": 3, "maximum": 2})
    assert check_shape(wrong, "device-model").ok
    assert not check_shape(wrong, "device-twin").ok


def test_the_examples_in_the_readme_are_good() -> None:
    text = (Path(__file__).parents[2] / "schemas" / "README.md").read_text()
    documents = [
        YAML(typ="safe", pure=True).load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    ]
    checks = {"DeviceTwin": check_twin, "DeviceModel": check_model}
    reports = {each["kind"]: checks[each["kind"]](each) for each in documents if each.get("kind") in checks}
    assert reports == {"DeviceTwin": Report(), "DeviceModel": Report()}
