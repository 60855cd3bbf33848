"""A thousand seeds of trouble, judged by the oracle; `make simulate` runs more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS, PART = 1000, 50
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(3600)
@pytest.mark.part
@pytest.mark.parametrize("start", range(0, SEEDS, PART))
def test_every_promise_holds_whatever_happens(start: int) -> None:
    command = [sys.executable, "-m", "tests.simulation", "--start", str(start), "--seeds", str(PART), "--jobs", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PART} seeds, 0 failed" in done.stdout


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        ("Commands.patch = forgetful", "not of"),
        ("MemoryJournal.receive = twice", "came twice"),
        ("Overrides._keep = forgetful", "is gone"),
        ("Verdicts._try_to_judge = forgetful", "is not judged"),
        ("conflict._BY_POLICY[ConflictPolicy.CLOUD_WINS] = conflict.Outcome.ACCEPTED", "is accepted over"),
    ],
)
def test_a_broken_promise_is_seen_and_can_be_replayed(broken: str, seen: str) -> None:
    """The oracle itself is tried: a root that forgets what it acknowledged, or takes entries twice, an edge that
    keeps no override, a root that judges none, or for the edge where the cloud is to win: all are found out."""
    code = f"""
from tests.simulation import __main__ as m
from twingateway.gateway.twins.commands import Commands
from twingateway.gateway.twins.overrides import Overrides
from twingateway.gateway.twins.verdicts import Verdicts
from twingateway.ports.memory_journal import MemoryJournal
from twingateway.twin import conflict
from twingateway.twin.model import ConflictPolicy

async def forgetful(self, *given, **named): return None
def twice(self, filings):
    filings = list(filings)
    for filing in filings: self._file(filing.entry, filing)
    return [filing.entry for filing in filings]
{broken}
m.quieten()
found = [m.try_seed(seed) for seed in range(12)]
problems = [problem for _, problem, trace in found if problem and any("is up" in line for line in trace)]
assert any({seen!r} in problem for problem in problems), problems
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupt_ends_a_run_with_the_summary_of_what_ran() -> None:
    """Far more seeds than the test has time for: were the interrupt not heeded it would never end."""
    code = """
import sys
from tests.simulation import __main__ as m, tally
tally.PROGRESS_EVERY = 0.0
sys.exit(m.many(range(100_000), 1))
"""
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        assert "1 of 100000 seeds" in running.stdout.readline()
        os.killpg(running.pid, signal.SIGINT)
        told = running.stdout.read()
    assert running.returncode == 128 + signal.SIGINT
    assert re.search(r"^\d+ seeds, 0 failed, ", told, re.MULTILINE)
