"""The whole demo: real processes, real sockets, a link that loses every tenth packet and is cut once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fair_time import PATIENCE

RUN = "import sys; from twingateway.demo.run import run_demo; sys.exit(run_demo({}))"


def play(folder: Path, *command: str) -> tuple[int, str, str]:
    """Status, stdout and stderr; `folder` is where the demo may put what it needs."""
    environ = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, env=environ)
    return done.returncode, done.stdout, done.stderr


def test_every_twin_is_right_after_loss_and_an_outage(tmp_path: Path) -> None:
    arguments = ["--seconds", "12", "--loss", "0.1", "--delay", "50ms", "--json"]
    status, output, story = play(tmp_path, "-m", "twingateway", "demo", *arguments)
    assert status == 0, story + output
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert result["mismatches"] == []
    assert result["failures"] == []
    assert (result["devices"], result["adapters"]) == (9, 3)
    assert result["desired_applied"] == result["desired_set"] >= 3
    assert result["updates"] >= result["properties"] > 50
    assert result["outage_seconds"] >= 2
    assert result["outage_updates"] > 0
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    assert result["outage_p99_ms"] > 0
    assert result["packets_lost"] > 0
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_device_that_changed_silently_is_found(tmp_path: Path) -> None:
    arguments = "5, 0.05, 0.02, None, True, 3, corrupt='hvac'"
    status, output, story = play(tmp_path, "-c", RUN.format(arguments))
    assert status == 1, story + output
    result = json.loads(output.splitlines()[-1])
    assert [(each["device"], each["property"]) for each in result["mismatches"]] == [("hvac", "roomTemperature")]
    assert result["mismatches"][0]["truth"] != result["mismatches"][0]["twin"]
    assert result["desired_applied"] == result["desired_set"]
    assert result["ok"] is False


def test_without_a_length_it_runs_until_ctrl_c_and_then_proves(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN.format("None, 0.0, 0.01, None")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as demo:
        assert demo.stderr is not None
        line = ""
        while "the cloud's API: http://127.0.0.1:" not in line:
            line = demo.stderr.readline()
            assert line, "it ended by itself"
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 0, output
    assert "none differs" in output


def test_interrupted_it_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN.format("30")]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as demo:
        assert demo.stderr is not None
        assert "starting" in demo.stderr.readline()
        deadline = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("*/edge-1.log")) and time.monotonic() < deadline:
            time.sleep(0.05)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(PATIENCE) == 130
    assert list(tmp_path.iterdir()) == []
