"""Profiles and ranges: a device type written once, its devices in as many lines as they differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from twingateway import validate
from twingateway.config.device import load_devices
from twingateway.config.load import load_node
from twingateway.errors import InvalidConfig
from twingateway.plugins.registry import AdapterRegistry

PROFILE = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: meter}
spec:
  adapter: modbus
  model: meter@1
  period: 5s
  properties:
    power: {table: input, address: 0, type: int32, period: 1s}
    energy: {table: input, address: 2, type: uint32}
  tests:
  - {registers: {input: {0: "0000 0001 0000 0002"}}, expect: {power: 1}}
---
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: meter, version: "1"}
spec:
  properties:
    power: {type: number, unit: W}
    energy: {type: number, unit: Wh}
"""
RANGE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: "meter-{line}-{unit:02}", range: {line: 1..3, unit: 1..4}}
spec:
  profile: ../types/meter.yaml
  address: {host: "10.0.{line}.{line+100}", unit: "{unit}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"types/meter.yaml": PROFILE, "devices/meters.yaml": RANGE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def problems(folder: Path, text: str) -> list[str]:
    (folder / "devices/meters.yaml").write_text(text)
    with pytest.raises(InvalidConfig) as raised:
        load_devices([folder / "devices/meters.yaml"], AdapterRegistry.installed())
    return [str(problem).replace(str(folder), "") for problem in raised.value.problems]


def test_a_range_is_all_combinations_each_with_its_numbers(folder: Path) -> None:
    devices = load_devices([folder / "devices/meters.yaml"], AdapterRegistry.installed())

    assert len(devices) == 12
    last = devices[-1]
    assert last.id.name == "meter-3-04"
    assert (last.settings.address.host, last.settings.address.unit) == ("10.0.3.103", 4)
    assert {str(device.model_ref) for device in devices} == {"meter@1"}
    assert last.settings.period == 5.0
    assert list(last.settings.properties) == ["power", "energy"]


def test_a_device_changes_what_it_has_otherwise(folder: Path) -> None:
    text = RANGE + "  period: 10s\n  properties: {energy: null, power: {scale: 0.1}}\n"
    (folder / "devices/meters.yaml").write_text(text)
    device = load_devices([folder / "devices/meters.yaml"], AdapterRegistry.installed())[0]

    assert device.settings.period == 10.0
    assert list(device.settings.properties) == ["power"]
    assert float(device.settings.properties["power"].scale) == 0.1


def test_a_mistake_in_the_profile_is_shown_there_and_once(folder: Path) -> None:
    (folder / "types/meter.yaml").write_text(PROFILE.replace("uint32", "uint33"))
    [problem] = problems(folder, RANGE)
    assert problem.startswith("/devices/../types/meter.yaml:10: spec.properties.energy.type: ")


def test_a_mistake_in_the_device_is_shown_there(folder: Path) -> None:
    [problem] = problems(folder, RANGE.replace('unit: "{unit}"', "unit: 300"))
    assert problem.startswith("/devices/meters.yaml:6: spec.address.unit: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{line: 1..3, unit: 1..4}", "5..1"), "'5..1' is not a range; write first and last number: 1..300"),
        (("{line: 1..3, unit: 1..4}", "1..20000"), "stands for 20000 devices; 1 to 10000 are possible"),
        (("-{line}-{unit:02}", ""), "another device is called 'meter' already"),
        (("../types/meter.yaml", "../types/other.yaml"), "the profile cannot be used"),
        (("../types/meter.yaml", "meters.yaml"), "holds no DeviceProfile documents"),
        (('"{unit}"', '"{other}"'), "must be a whole number"),
    ],
)
def test_mistakes_in_ranges_and_profiles(folder: Path, change: tuple[str, str], message: str) -> None:
    assert any(message in problem for problem in problems(folder, RANGE.replace(*change)))


def test_the_model_beside_the_profile_comes_with_it(folder: Path) -> None:
    (folder / "node.yaml").write_text("node: {name: edge}\ndevices: ['devices/*.yaml']\n")
    node = load_node(folder / "node.yaml", AdapterRegistry.installed(), environ={})

    assert len(node.devices) == 12
    assert [str(model.ref) for model in node.models] == ["meter@1"]


def test_a_profile_alone_is_valid_though_it_has_no_address(folder: Path) -> None:
    assert validate(folder / "types/meter.yaml") == []

    (folder / "types/meter.yaml").write_text(PROFILE.replace("table: input, address: 2", "table: inputs"))
    found = [(problem.line, problem.path) for problem in validate(folder / "types/meter.yaml")]
    assert (10, "spec.properties.energy.table") in found
    assert (10, "spec.properties.energy.address") in found


def test_what_many_of_a_range_have_alike_is_told_once_with_how_many(folder: Path) -> None:
    (told,) = problems(folder, RANGE.replace("{unit}", "{unit+253}"))
    assert told.startswith("/devices/meters.yaml:6: spec.address.unit: must be at most 255, not 256")
    assert told.endswith(" (so meter-1-03, and 5 more of its range)")
    (known,) = problems(folder, RANGE.replace('unit: "{unit}"', "unti: 3"))
    assert known.endswith('unknown key "unti" (did you mean "unit"?)')
    assert len(problems(folder, RANGE.replace('unit: "{unit}"', 'unit: "{unit+253}", port: 0'))) == 2
