from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the demo is called with, in place of a demo; it ends with 4."""
    found: list[tuple[Any, ...]] = []
    module = ModuleType("twingateway.demo.run")

    def run_demo(*args: Any) -> int:
        found.append(args)
        return 4

    module.run_demo = run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_defaults_show_loss_delay_and_an_outage(cli: Run, calls: list[tuple[Any, ...]]) -> None:
    assert cli("demo").exit_code == 4
    assert calls == [(None, 0.1, 0.05, 5.0, False, 1)]


def test_options(cli: Run, calls: list[tuple[Any, ...]]) -> None:
    cli("demo", "--seconds", 20, "--loss", 0.3, "--delay", "150ms", "--outage", "0s", "--json", "--seed", 7)
    cli("demo", "--delay", "0.2s", "--outage", "1m")
    assert calls == [(20.0, 0.3, 0.15, None, True, 7), (None, 0.1, 0.2, 60.0, False, 1)]


@pytest.mark.parametrize("args", [("--loss", "2"), ("--delay", "slow"), ("--delay", "50"), ("--seconds", "1")])
def test_what_makes_no_sense_is_a_usage_error(cli: Run, calls: list[tuple[Any, ...]], args: tuple[str, str]) -> None:
    assert cli("demo", *args).exit_code == ExitCode.USAGE
    assert not calls
