from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode
from twingateway.pki.authority import create_authority, issue

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


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(TWIN)


def test_a_valid_file(cli: Run) -> None:
    result = cli("validate", "good.yaml")
    assert (result.exit_code, result.stdout) == (0, "1 file, no problems\n")


def test_each_problem_has_file_line_and_path(cli: Run) -> None:
    Path("bad.yaml").write_text(
        TWIN.replace("metadata:\n", "metadata:\n  colour: red\n").replace("sensor-001", "a b")
    )
    result = cli("validate", "good.yaml", "bad.yaml")
    assert result.exit_code == ExitCode.INVALID
    lines = result.stdout.splitlines()
    assert any(line.startswith("bad.yaml:4: metadata.colour: ") for line in lines)
    assert any(line.startswith("bad.yaml:5: metadata.name: ") for line in lines)


def test_malformed_yaml_has_its_line(cli: Run) -> None:
    Path("bad.yaml").write_text("kind: DeviceTwin\nmetadata: [\n")
    result = cli("validate", "bad.yaml")
    assert result.exit_code == ExitCode.INVALID
    assert result.stdout.startswith("bad.yaml:")


def test_folders_and_patterns_are_searched(cli: Run) -> None:
    for name in ("site/one.yaml", "site/deep/two.yml", "site/three.json", "site/notes.txt", "site/.hidden/bad.yaml"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not: [valid")
    Path("site/one.yaml").write_text(TWIN)
    result = cli("validate", "site", "*.yaml")
    named = {line.partition(":")[0] for line in result.stdout.splitlines()}
    assert named == {"site/deep/two.yml", "site/three.json"}
    assert cli("validate", "site/*.yaml", "*.yaml").stdout == "2 files, no problems\n"


def test_a_file_that_is_not_there(cli: Run) -> None:
    result = cli("validate", "absent.yaml")
    assert result.exit_code == ExitCode.INVALID
    assert result.stdout == "absent.yaml: cannot be read: No such file or directory\n"


def test_a_folder_without_documents_is_a_mistake(cli: Run) -> None:
    Path("empty").mkdir()
    assert cli("validate", "empty").exit_code == ExitCode.USAGE
    assert cli("validate", "empty/*.yaml").exit_code == ExitCode.USAGE


def test_what_is_only_unusual_is_a_warning(cli: Run) -> None:
    Path("model.yaml").write_text(
        "apiVersion: edge.iot.org/v1\nkind: DeviceModel\nmetadata: {name: m, version: '1'}\n"
        "spec:\n  properties:\n    speed: {type: number, unit: furlongs/fortnight/moon}\n"
    )
    result = cli("validate", "model.yaml")
    assert result.exit_code == 0
    assert result.stderr.startswith("model.yaml:6: spec.properties.speed.unit: ")
    assert result.stderr.endswith("(warning)\n")


def test_what_a_node_writes_beside_its_file_is_no_document(cli: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    learned = site / "edge.adapters" / "modbus"
    learned.mkdir(parents=True)
    (site / "node.yaml").write_text("node: {name: edge}\n")
    (site / "edge.tickets.json").write_text("[]")
    (learned / "plc.json").write_text("{}")
    result = cli("validate", site)
    assert result.stdout == "1 file, no problems\n"


def test_the_certificate_of_a_node_file_is_looked_at_as_before_it_runs(cli: Run) -> None:
    create_authority(Path("pki"))
    issue(Path("pki"), "edge-1")
    issue(Path("pki"), "edge-2")
    node = "node: {{name: {0}}}\nidentity:\n  certificate: pki/{1}.crt\n  key: pki/{2}.key\n  ca: pki/ca.crt\n"
    for names, said in (
        (("edge-1", "edge-1", "edge-1"), "1 file, no problems"),
        (("edge-1", "edge-3", "edge-1"), "node.yaml:3: identity.certificate: there is no file pki/edge-3.crt; "),
        (("edge-1", "edge-1", "edge-3"), "node.yaml:4: identity.key: there is no file pki/edge-3.key; "),
        (("edge-1", "edge-2", "edge-2"), "node.yaml:2: identity: pki/edge-2.crt is issued to default/edge-2, but"),
        (("edge-1", "edge-1", "edge-2"), "node.yaml:2: identity: pki/edge-2.key is not the key of pki/edge-1.crt"),
    ):
        Path("node.yaml").write_text(node.format(*names))
        result = cli("validate", "node.yaml")
        assert result.stdout.startswith(said)
        assert result.exit_code == (ExitCode.INVALID if "node.yaml" in said else 0)
