from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode


def test_what_is_written_is_valid(cli: Run, tmp_path: Path) -> None:
    result = cli("init", tmp_path / "site")
    assert result.exit_code == 0
    assert f"twingateway modbus simulate {tmp_path}/site/devices/thermostat.yaml" in result.stdout
    assert f"twingateway run {tmp_path}/site/node.yaml" in result.stdout
    assert cli("validate", tmp_path / "site").stdout == "2 files, no problems\n"


def test_without_a_folder_it_is_the_current_one(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("init").exit_code == 0
    assert Path("node.yaml").is_file()
    assert Path("devices/thermostat.yaml").is_file()


@pytest.mark.parametrize("existing", ["node.yaml", "devices/thermostat.yaml"])
def test_nothing_is_overwritten(cli: Run, tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).parent.mkdir(exist_ok=True)
    (tmp_path / existing).write_text("mine")
    result = cli("init", tmp_path)
    assert result.exit_code == ExitCode.INVALID
    assert existing in result.stderr
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_a_folder_that_cannot_be_made(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("init", tmp_path / "file" / "site")
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr.startswith("error: ")


def test_the_sections_in_comments_are_valid_too(cli: Run, tmp_path: Path) -> None:
    """Whoever uncomments a whole section gets a valid file."""
    cli("init", tmp_path)
    file = tmp_path / "node.yaml"
    text = file.read_text()
    text = re.sub(r"^# (?=(broker|webhooks|identity|uplink|listen):$|  [a-z]+: )", "", text, flags=re.M)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "webhooks").write_text("a long secret")
    file.write_text(re.sub(r"^  # mqtt: \{\}", "  mqtt: {}", text, flags=re.M))
    cli("pki", "init", tmp_path / "pki")
    cli("pki", "issue", tmp_path / "pki", "node-1")
    for section in ("broker", "webhooks", "identity", "uplink", "listen"):
        assert f"\n{section}:\n  " in file.read_text()
    result = cli("validate", file)
    assert result.stdout == "1 file, no problems\n"


@pytest.mark.parametrize("adapter", ["mqtt", "http"])
def test_the_devices_in_comments_are_valid_too(cli: Run, tmp_path: Path, adapter: str) -> None:
    cli("init", tmp_path)
    file = tmp_path / "devices" / "thermostat.yaml"
    text = file.read_text()
    example = re.search(rf"^#   adapter: {adapter}\n(?:#   .*\n?)+", text, flags=re.M)
    assert example is not None
    file.write_text(text[: text.index("  adapter: ")] + re.sub(r"^# ", "", example[0], flags=re.M))
    result = cli("validate", file)
    assert result.stdout == "1 file, no problems\n"
