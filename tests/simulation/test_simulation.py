"""Hundreds of seeds of trouble, judged by the oracle; `make simulate` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS, PART = 400, 50
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("start", range(0, SEEDS, PART))
def test_every_promise_holds_whatever_happens(start: int) -> None:
    command = [sys.executable, "-m", "tests.simulation", "--start", str(start), "--seeds", str(PART), "--jobs", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PART} seeds, 0 failed" in done.stdout


def test_a_broken_promise_is_seen_and_can_be_replayed() -> None:
    """The oracle itself is tried: a root that forgets what it acknowledged must be found out."""
    code = (
        "from tests.simulation import __main__ as m, world\n"
        "from twingateway.gateway.commands import Commands\n"
        "async def forgetful(self, device, patch, if_match=None): return None\n"
        "Commands.patch = forgetful\n"
        "m.quieten()\n"
        "seed, problem, trace = m.try_seed(3)\n"
        "assert 'acknowledged' in problem and any('is killed' in line for line in trace), problem\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
