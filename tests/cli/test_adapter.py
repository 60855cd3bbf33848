"""The package of an adapter as it is written: it works before anything in it is changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `twingateway adapter new acme-bus` leaves it, and then as pip leaves what is installed."""
    folder = tmp_path_factory.mktemp("vendor") / "twingateway-acme-bus"
    done = call(folder.parent, "-m", "twingateway", "adapter", "new", "acme-bus")
    assert f"wrote {folder.name}/pyproject.toml" in done
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    [(group, entries)] = project["entry-points"].items()
    lines = [f"{name} = {target}" for name, target in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    return folder


def call(folder: Path, *arguments: str) -> str:
    """What a Python that sees this repository and `folder` prints; fails unless it ends well."""
    paths = [str(folder), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": "", "MYPYPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(package: Path) -> None:
    assert " passed" in call(package, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")


def test_it_is_typed_strictly(package: Path) -> None:
    assert "no issues found in 9 source files" in call(package, "-m", "mypy")


def test_a_node_finds_it_and_checks_its_devices(package: Path) -> None:
    assert "no problems" in call(package, "-m", "twingateway", "validate", "profiles", "devices")
    device = package / "devices" / "acme-bus-1.yaml"
    text = device.read_text()
    program = "import sys; from twingateway import validate; print(*validate(sys.argv[1]))"
    (package / "wrong.yaml").write_text(text.replace("port: 4001", "prot: 4001").replace("../", ""))
    assert "did you mean" in call(package, "-c", program, "wrong.yaml")


def test_no_placeholder_is_left(package: Path) -> None:
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".yaml", ".toml", ".md")]
    assert len(files) > 10
    assert [path for path in files if re.search("@[A-Za-z]+@", path.read_text())] == []
    assert not [path for path in package.rglob("*") if "@" in path.name or path.suffix == ".template"]


@pytest.mark.parametrize("name", ["Acme", "1acme", "acme_bus", "acme-", "", "../acme", "acmé"])
def test_a_name_that_is_none_is_a_usage_error(
    cli: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("adapter", "new", name).exit_code == ExitCode.USAGE
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_says_by_whom(cli: Run, tmp_path: Path) -> None:
    result = cli("adapter", "new", "modbus", tmp_path / "new")
    assert result.exit_code == ExitCode.INVALID
    assert "in the package twingateway" in result.stderr


def test_nothing_is_overwritten(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for target in (tmp_path, tmp_path / "mine"):
        result = cli("adapter", "new", "acme", target)
        assert result.exit_code == ExitCode.INVALID
        assert "exists already" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_adapters_add_to_the_group_is_there_too(cli: Run) -> None:
    shown = cli("adapter", "--help").stdout
    assert "new " in shown
    assert "test " in shown
