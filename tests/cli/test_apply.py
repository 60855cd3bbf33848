from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode, twin
from twingateway.cli.exit_codes import ExitCode

DOCUMENTS = """\
apiVersion: edge.iot.org/v1
kind: DeviceTwin
metadata: {name: pump}
spec:
  model: pump@2
  desiredProperties: {speed: 30}
  reportedProperties: {speed: 10}
---
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: pump, version: "2"}
spec:
  properties:
    speed: {type: integer, maximum: 100, access: read-write}
"""
DEVICE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: pump}
spec:
  adapter: modbus
  address: {host: 127.0.0.1}
  properties:
    speed: {table: holding, address: 0, type: uint16}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("all.yaml").write_text(DOCUMENTS)
    Path("device.yaml").write_text(DEVICE)


def test_models_go_before_the_twins_that_name_them(ask: Run, node: FakeNode) -> None:
    warning = "reportedProperties were ignored: only the device itself reports"
    node.answer("PUT", "/twins/pump", {**twin("pump"), "warnings": [warning]}, 201)
    node.answer("PUT", "/models/pump/versions/2", {})
    result = ask("apply", "-f", "all.yaml")
    assert result.exit_code == 0, result.output
    assert result.stdout == "model pump@2 unchanged\ntwin pump created\n"
    assert result.stderr == f"all.yaml: {warning} (warning)\n"
    assert [asked.path for asked in node.asked] == ["/models/pump/versions/2", "/twins/pump"]
    assert node.asked[1].body["spec"]["desiredProperties"] == {"speed": 30}


def test_further_files_may_follow_as_a_shell_expands_them(ask: Run, node: FakeNode) -> None:
    for name in ("a", "b"):
        Path(f"{name}.yaml").write_text(
            f"apiVersion: edge.iot.org/v1\nkind: DeviceTwin\n"
            f"metadata: {{name: {name}, namespace: plant}}\nspec: {{}}\n"
        )
        node.answer("PUT", f"/twins/{name}", twin(name))
    assert ask("apply", "-f", "a.yaml", "b.yaml").stdout == "twin a applied\ntwin b applied\n"
    assert [asked.query for asked in node.asked] == [{"namespace": ["plant"]}] * 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("speed: 30", "speed: 130", "all.yaml:6: spec.desiredProperties.speed: "),
        ("kind: DeviceTwin", "kind: Nonsense", "all.yaml:2: kind: "),
    ],
)
def test_nothing_is_sent_if_anything_is_wrong(ask: Run, node: FakeNode, old: str, new: str, said: str) -> None:
    Path("all.yaml").write_text(DOCUMENTS.replace(old, new))
    result = ask("apply", "-f", ".")
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr.startswith("error: nothing was applied\n")
    assert said in result.stderr
    assert not node.asked


def test_devices_belong_to_a_node_not_to_the_api(ask: Run, node: FakeNode) -> None:
    result = ask("apply", "-f", "device.yaml")
    assert result.exit_code == ExitCode.INVALID
    assert "device.yaml:2: kind: only twins and models can be applied; it belongs to the files" in result.stderr
    assert not node.asked


def test_without_a_file(ask: Run) -> None:
    assert ask("apply").exit_code == ExitCode.USAGE


def test_a_conflict_ends_it(ask: Run, node: FakeNode) -> None:
    node.problem("PUT", "/models/pump/versions/2", 409, "Other content", "pump@2 differs", code="model-conflict")
    result = ask("apply", "-f", "all.yaml")
    assert (result.exit_code, result.stderr) == (ExitCode.CONFLICT, "error: pump@2 differs\n")
    assert len(node.asked) == 1
