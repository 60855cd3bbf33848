import subprocess
import sys
from typing import Any

import pytest

from twingateway.errors import InvalidValue, TooLarge
from twingateway.twin.parse_model import parse_model
from twingateway.validation.model import CompiledModel, Direction

IN, DOWN = Direction.IN, Direction.DOWN
HVAC = CompiledModel(
    parse_model(
        {
            "metadata": {"name": "hvac", "version": "1"},
            "spec": {
                "properties": {
                    "temperature": {"type": "number", "minimum": -40, "maximum": 85},
                    "setpoint": {"type": "number", "minimum": 16, "maximum": 30, "step": 0.5, "access": "read-write"},
                    "fan": {"type": "integer", "minimum": 0, "maximum": 5, "access": "read-write"},
                    "counter": {"type": "integer"},
                    "on": {"type": "boolean", "access": "read-write"},
                    "mode": {"type": "enum", "values": ["off", "heat", 1, False], "access": "read-write"},
                    "label": {"type": "string", "minLength": 2, "maxLength": 4, "access": "write"},
                    "limits": {
                        "type": "object",
                        "access": "read-write",
                        "properties": {"low": {"type": "number", "step": 0.1}, "high": {"type": "integer"}},
                        "required": ["low"],
                    },
                    "curve": {"type": "array", "maxItems": 3, "items": {"type": "number"}, "access": "read-write"},
                    "free": {"type": "object", "access": "read-write"},
                }
            },
        }
    )
)


def refused(name: str, value: Any, direction: Direction = IN) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        HVAC.check(name, value, direction=direction)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("temperature", 23, "23.0"),
        ("temperature", 23.5, "23.5"),
        ("fan", 3.0, "3"),
        ("fan", 3, "3"),
        ("mode", 1.0, "1"),
        ("mode", False, "False"),
        ("mode", "heat", "'heat'"),
        ("setpoint", 22.500000000001, "22.5"),
        ("setpoint", 22, "22.0"),
        ("on", True, "True"),
        ("label", "äöüß", "'äöüß'"),
        ("limits", {"low": 0.1 + 0.2, "high": 4.0}, "{'low': 0.3, 'high': 4}"),
        ("curve", (1, 2.5), "[1.0, 2.5]"),
        ("free", {"a": [1, None]}, "{'a': [1, None]}"),
        ("temperature", None, "None"),
    ],
)
def test_a_good_value_is_given_the_models_own_type(name: str, value: Any, kept: str) -> None:
    assert repr(HVAC.check(name, value, direction=IN)) == kept


@pytest.mark.parametrize(
    ("name", "value", "path", "rule", "words"),
    [
        ("temperature", 120, "temperature", "maximum", "120 is above the maximum of 85"),
        ("temperature", -41, "temperature", "minimum", "-41 is below the minimum of -40"),
        ("temperature", "hot", "temperature", "type", '"hot" is text; expected a number from -40 to 85'),
        ("temperature", True, "temperature", "type", "true is not a number"),
        ("temperature", [1], "temperature", "type", "this is a list; expected a number"),
        ("fan", 2.5, "fan", "type", "2.5 is not whole; expected a whole number from 0 to 5"),
        ("fan", True, "fan", "type", "true is not a whole number"),
        ("on", 1, "on", "type", "1 is a number; expected true or false"),
        ("mode", "heta", "mode", "enum", 'is not one of "off", "heat", 1 or false (did you mean "heat"?)'),
        ("mode", True, "mode", "enum", "true is not one of"),
        ("mode", 0, "mode", "enum", "0 is not one of"),
        ("label", "x", "label", "minLength", "has 1 character, expected at least 2"),
        ("label", "abcde", "label", "maxLength", "has 5 characters, expected at most 4"),
        ("setpoint", 22.3, "setpoint", "step", "not in steps of 0.5 from 16; the nearest are 22 and 22.5"),
        ("setpoint", 99.3, "setpoint", "maximum", "99.3 is above the maximum of 30"),
        ("limits", {"low": 0.15}, "limits.low", "step", "nearest are 0.1 and 0.2"),
        ("limits", {"high": 3}, "limits", "required", '"low" is missing'),
        ("limits", {"low": 1, "high": "x"}, "limits.high", "type", "expected a whole number"),
        ("curve", [1, "x"], "curve.1", "type", '"x" is text; expected a number'),
        ("curve", [1, 2, 3, 4], "curve", "maxItems", "has 4 items, expected at most 3"),
        ("counter", 1e300, "counter", "maximum", "above the maximum"),
        ("temperature", float("nan"), "temperature", "finite", "not a finite number"),
        ("free", {"a": float("inf")}, "free.a", "finite", "not a finite number"),
        ("counter", 10**400, "counter", "range", "53"),
        ("label", "\ud800", "label", "unicode", "half a character"),
    ],
)
def test_a_bad_value_is_refused_in_words(name: str, value: Any, path: str, rule: str, words: str) -> None:
    error = refused(name, value)
    assert (error.problem.path, error.problem.rule) == (path, rule)
    assert words in error.problem.message


def test_a_refusal_tells_property_value_and_rule_for_machines() -> None:
    assert refused("temperature", 120).detail == {"property": "temperature", "value": 120, "rule": "maximum"}
    assert refused("curve", [1, "x"]).detail["value"] == '[1, "x"]'
    assert refused("curve", [float("nan")]).detail == {"property": "curve", "rule": "finite"}


def test_on_the_way_down_only_what_is_writable_passes() -> None:
    assert HVAC.check("setpoint", 22, direction=DOWN) == 22
    assert refused("temperature", 20, DOWN).problem.rule == "access"
    assert HVAC.check("label", "abc", direction=DOWN) == "abc"


def test_an_unknown_property_passes_on_the_way_in_and_is_a_mistake_on_the_way_down() -> None:
    assert HVAC.check("firmware", "1.2", direction=IN) == "1.2"
    error = refused("setpont", 22, DOWN)
    assert error.problem.rule == "unknown"
    assert 'did you mean "setpoint"' in error.problem.message


def test_an_unknown_member_passes_on_the_way_in_and_is_a_mistake_on_the_way_down() -> None:
    assert HVAC.check("limits", {"low": 1, "note": "x"}, direction=IN) == {"low": 1.0, "note": "x"}
    error = refused("limits", {"low": 1, "hihg": 2}, DOWN)
    assert (error.problem.path, error.problem.rule) == ("limits.hihg", "additionalProperties")
    assert 'did you mean "high"' in error.problem.message


@pytest.mark.parametrize("name", ["setpoint", "temperature", "unheard-of"])
def test_removing_is_always_allowed(name: str) -> None:
    assert HVAC.check(name, None, direction=DOWN) is None


def test_what_is_too_large_is_told_apart() -> None:
    with pytest.raises(TooLarge):
        HVAC.check("label", "x" * 70_000, direction=IN)


def test_jsonschema_is_loaded_only_to_explain() -> None:
    program = """
import sys
from twingateway.errors import InvalidValue
from twingateway.twin.parse_model import parse_model
from twingateway.validation import documents, explain, fit, model, normalise, report, schema, step, units
document = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceModel", "metadata": {"name": "m", "version": "1"},
            "spec": {"properties": {"x": {"type": "number", "maximum": 3}}}}
assert documents.check_model(document).ok
compiled = model.CompiledModel(parse_model(document))
assert compiled.check("x", 1, direction=model.Direction.IN) == 1
assert "jsonschema" not in sys.modules and "pint" not in sys.modules
try:
    compiled.check("x", 4, direction=model.Direction.IN)
except InvalidValue as error:
    assert "maximum" in str(error)
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
