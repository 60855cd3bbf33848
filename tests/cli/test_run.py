from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Run
from tests.fair_time import PATIENCE
from twingateway.cli.exit_codes import ExitCode


@pytest.fixture
def site(cli: Run, tmp_path: Path) -> Iterator[Path]:
    """What `init` writes, with any port for the API, and for the device one at which nobody listens."""
    cli("init", tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        _edit(tmp_path / "node.yaml", "127.0.0.1:8080", "127.0.0.1:0")
        _edit(tmp_path / "devices/thermostat.yaml", "port: 5020", f"port: {nobody.getsockname()[1]}")
        yield tmp_path


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def running(site: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`twingateway run` as a process of its own → the process, and its API."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twingateway", "run", "node.yaml"],
        cwd=site,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        ready: dict[str, str] = {}
        while ready.get("event") != "ready":  # that its device does not answer may be said before
            line = process.stderr.readline()
            assert line, "it ended"
            ready = json.loads(line)
        yield process, f"http://{ready['api']}"
    finally:
        process.kill()
        process.communicate()


def test_a_node_from_init_to_sigterm(running: tuple[subprocess.Popen[str], str], site: Path, cli: Run) -> None:
    process, url = running
    with httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        twin = cli("get", "twin", "thermostat", "--api", url)
        assert twin.exit_code == 0, twin.output
        assert "holder:    node-1" in twin.stdout
        copied = cli("backup", site / "node.yaml", site / "copy")
        assert copied.exit_code == 0, copied.output
        waits = cli("set", "thermostat", "setpoint=21.5", "--wait", "300ms", "--api", url)
        assert waits.exit_code == ExitCode.UNFINISHED, waits.output
        refused = cli("set", "thermostat", "temperature=3", "--wait", "60s", "--api", url)
        assert refused.exit_code == ExitCode.DEVICE_REFUSED, refused.output
        with client.stream("GET", "/events", timeout=PATIENCE) as stream:
            first = next(stream.iter_text())
            assert first.startswith(": node-1\nid: ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) == 0


def test_a_wrong_file_is_shown_with_every_problem(cli: Run, site: Path) -> None:
    file = site / "node.yaml"
    _edit(file, "level: info", "level: loud")
    _edit(file, "  name: node-1", "  name: a b")
    result = cli("run", file)
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr.startswith(f"error: {file}:7: node.name: ")
    assert ": log.level: " in result.stderr


def test_a_port_that_is_taken_is_named(site: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (site / "node.yaml").write_text(f'node: {{name: solo}}\napi: {{address: "{address}"}}\n')
        done = subprocess.run(
            [sys.executable, "-m", "twingateway", "run", "node.yaml"],
            cwd=site,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == ExitCode.INVALID
    assert f"error: api.address: {address} cannot be had" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_is_node_yaml_of_this_folder(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("run")
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr == "error: node.yaml: cannot be read: No such file or directory\n"
