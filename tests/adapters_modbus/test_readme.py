"""The examples of the README are what they say they are."""

from __future__ import annotations

import re
from pathlib import Path

import twingateway_modbus
from twingateway_modbus.layout import DataType
from twingateway_modbus.property import PropertySettings
from twingateway_modbus.simulator.faults import FaultKind
from typer.testing import CliRunner

from twingateway import validate
from twingateway.cli.main import app
from twingateway.config.device import load_devices
from twingateway.plugins.registry import AdapterRegistry

README = (Path(twingateway_modbus.__file__).parent / "README.md").read_text()


def test_the_examples_are_valid_and_work(tmp_path: Path) -> None:
    device, profile, instances = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    for name, text in {"devices/a.yaml": device, "profiles/meter.yaml": profile, "devices/b.yaml": instances}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert (
        validate([tmp_path / "devices/a.yaml", tmp_path / "profiles/meter.yaml", tmp_path / "devices/b.yaml"]) == []
    )
    loaded = load_devices([tmp_path / "devices/b.yaml"], AdapterRegistry.installed())
    assert len(loaded) == 300
    assert loaded[-1].settings.points()[0].address == 40000
    tested = CliRunner().invoke(app, ["adapter", "test", str(tmp_path / "profiles/meter.yaml")])
    assert tested.exit_code == 0, tested.output


def test_everything_that_can_be_set_is_named() -> None:
    names = [*PropertySettings.model_fields, *FaultKind]
    assert [name for name in names if name not in README] == []
    shown = README.replace("`int8 … int64`", "int8 int16 int32 int64").replace(
        "`uint8 … uint64`", "uint8 uint16 uint32 uint64"
    )
    shown = shown.replace("float16/32/64", "float16 float32 float64").replace("bcd16/32/64", "bcd16 bcd32 bcd64")
    assert [kind for kind in DataType if kind not in shown] == []
