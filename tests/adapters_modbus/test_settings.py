"""What a device document may say, and what people are told when it says something else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError
from twingateway_modbus import ADAPTER
from twingateway_modbus.plan import Range
from twingateway_modbus.point import Table
from twingateway_modbus.reporting import Reporting


def device(**one: Any) -> Any:
    return ADAPTER.device.model_validate({"address": {"host": "h", "port": "502"}, "properties": {"p": one}})


def test_the_documented_example_is_understood() -> None:
    settings = ADAPTER.device.model_validate(
        {
            "address": {"host": "10.0.0.5", "port": 502, "unit": 1, "timeout": "1s"},
            "period": "1s",
            "properties": {
                "power": {
                    "table": "input",
                    "address": 10,
                    "type": "int32",
                    "order": "ABCD",
                    "scale": 0.1,
                    "deadband": 0.5,
                },
                "setpoint": {
                    "table": "holding",
                    "address": 100,
                    "type": "int16",
                    "scale": 0.1,
                    "writable": True,
                    "period": "2s",
                },
                "running": {"table": "coil", "address": 0, "type": "bool", "writable": True},
                "fault": {"table": "holding", "address": 5, "type": "uint16", "bit": 3},
                "mode": {"table": "holding", "address": 5, "type": "uint16", "bits": [4, 6]},
                "serial": {"table": "holding", "address": 50, "type": "string", "length": 8},
            },
        }
    )
    points = {point.name: point for point in settings.points()}

    assert points["power"].codec.decode(bytes([0, 0, 0, 235])) == 23.5
    assert points["setpoint"].period == 2.0
    assert points["fault"].period == 1.0
    assert points["serial"].count == 8
    assert points["running"].table is Table.COIL
    assert [name for name, point in points.items() if point.writable] == ["setpoint", "running"]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"table": "coil", "address": 0, "type": "int32"}, "a coil holds one bit: its type is bool, not int32"),
        ({"table": "discrete", "address": 0, "bit": 1}, "a discrete holds one bit"),
        ({"table": "input", "address": 0}, "type is missing; a input register needs one"),
        ({"table": "input", "address": 0, "type": "int16", "writable": True}, "only holding can"),
        ({"table": "discrete", "address": 0, "writable": True}, "only coil can"),
        ({"table": "holding", "address": 0, "type": "string"}, "length is missing"),
        ({"table": "holding", "address": 0, "type": "int32", "length": 2}, "length is for strings"),
        ({"table": "holding", "address": 0, "type": "string", "length": 2, "order": "CDAB"}, "a string's order"),
        ({"table": "holding", "address": 0, "type": "string", "length": 2, "scale": 2}, "for numbers"),
        ({"table": "holding", "address": 0, "type": "int16", "scale": 0}, "scale must not be 0"),
        ({"table": "holding", "address": 0, "type": "int16", "bit": 1}, "uint64, not from int16"),
        ({"table": "holding", "address": 0, "type": "uint16", "bit": 16}, "0 to 15"),
        ({"table": "holding", "address": 0, "type": "uint16", "bits": [6, 4]}, "the lower one first"),
        ({"table": "holding", "address": 0, "type": "uint16", "bit": 1, "bits": [1, 2]}, "not both"),
        ({"table": "holding", "address": 65535, "type": "int32"}, "beyond address 65535"),
        ({"table": "holding", "address": 40001, "type": "int16", "adress": 1}, "Extra inputs"),
        ({"table": "holding", "address": 0, "type": "int16", "period": "soon"}, "not a duration"),
        ({"table": "holding", "address": 0, "type": "ipv4", "scale": 2}, "for numbers"),
        ({"table": "holding", "address": 0, "type": "int16", "maximum": 2}, "are for writable properties"),
        ({"table": "coil", "address": 0, "writable": True, "step": 2}, "for numbers"),
        (
            {"table": "holding", "address": 0, "type": "int16", "writable": True, "minimum": 2, "maximum": 1},
            "minimum 2 is above maximum 1",
        ),
    ],
)
def test_a_mistake_is_named(one: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        device(**one)


def test_the_schema_tells_how_addresses_count() -> None:
    described = ADAPTER.device.model_json_schema()["$defs"]["PropertySettings"]["properties"]["address"]
    assert "Zero-based" in described["description"]


def test_importing_the_kind_does_not_load_pymodbus() -> None:
    code = "import sys, twingateway_modbus; sys.exit(any(name.startswith('pymodbus') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_device_says_about_reporting_holds_for_properties_that_say_nothing() -> None:
    settings = ADAPTER.device.model_validate(
        {
            "address": {"host": "h"},
            "min_interval": "5s",
            "max_interval": "1m",
            "deadband_percent": 2,
            "properties": {
                "silent": {"table": "input", "address": 0, "type": "int16"},
                "own": {
                    "table": "input",
                    "address": 1,
                    "type": "int16",
                    "min_interval": 0,
                    "max_interval": None,
                    "deadband_percent": 0,
                },
                "name": {"table": "input", "address": 2, "type": "string", "length": 4},
            },
        }
    )
    silent, own, name = (point.reporting for point in settings.points())
    assert (silent.percent, silent.min_interval, silent.max_interval) == (2, 5.0, 60.0)
    assert (own.percent, own.min_interval, own.max_interval) == (0, 0, None)
    assert name.matters("a", "b")


def test_reporting_is_said_by_the_narrowest_level_that_says_it() -> None:
    value = {"table": "input", "address": 0, "type": "int16"}
    settings = ADAPTER.device.model_validate(
        {
            "address": {"host": "h"},
            "deadband": 3,
            "max_interval": "1m",
            "groups": {
                "slow": {"period": "10s", "deadband": 7, "min_interval": "2s"},
                "plain": {},
            },
            "properties": {
                "alone": value,
                "plain": value | {"group": "plain"},
                "slow": value | {"group": "slow"},
                "own": value | {"group": "slow", "deadband": 0, "period": "5s"},
            },
        }
    )
    above = ADAPTER.settings.model_validate({"deadband": 1, "deadband_percent": 5, "min_interval": "1s"})
    points = {point.name: point for point in settings.points(None, above)}
    assert points["alone"].reporting == points["plain"].reporting == Reporting(3, 5, 1.0, 60.0)
    assert points["slow"].reporting == Reporting(7, 5, 2.0, 60.0)
    assert points["own"].reporting == Reporting(0, 5, 2.0, 60.0)
    assert [point.period for point in points.values()] == [1.0, 1.0, 10.0, 5.0]
    assert settings.points()[0].reporting == Reporting(3, 0, 0.0, 60.0)


def test_a_group_that_is_not_there_is_missed() -> None:
    with pytest.raises(ValidationError, match="p: there is no group 'fast'; there are none"):
        device(table="input", address=0, type="int16", group="fast")


def test_a_name_has_one_meaning() -> None:
    one = {"p": {"table": "input", "address": 0, "type": "int16"}}
    with pytest.raises(ValidationError, match="p: both in properties and in identification"):
        ADAPTER.device.model_validate(
            {"address": {"host": "h"}, "properties": one, "identification": {"p": "vendor"}}
        )


def test_ranges_are_moved_by_the_base_like_addresses() -> None:
    settings = ADAPTER.device.model_validate(
        {
            "address": {"host": "h"},
            "base": 100,
            "read": {"readable": {"holding": [[0, 9]]}, "forbidden": {"input": [[4, 4]]}},
            "properties": {"p": {"table": "holding", "address": 9, "type": "int16"}},
        }
    )
    limits = settings.limits()
    assert limits.readable == {Table.HOLDING: (Range(100, 110),)}
    assert limits.forbidden == {Table.INPUT: (Range(104, 105),)}
