"""How commands end."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys

import pytest

from interop.command import run
from interop.processes import Died


async def finish(result: int | BaseException | None) -> int | None:
    if isinstance(result, BaseException):
        raise result
    return result


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (None, None),
        (3, 3),
        (OSError("no such device"), "error: no such device"),
        (TimeoutError(), "error: TimeoutError"),
        (Died("edge", 1, "last words"), "error: edge ended with status 1\nlast words"),
    ],
)
def test_the_status_says_how_it_went(result, status):
    with pytest.raises(SystemExit) as ended:
        run(finish(result))
    assert ended.value.code == status


def test_a_fault_of_our_own_is_shown_whole():
    with pytest.raises(ZeroDivisionError):
        run(finish(ZeroDivisionError()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_told_to_stop_it_cleans_up_first(number):
    async def stopped() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(600)
        finally:
            cleaned.append(True)

    cleaned: list[bool] = []
    with pytest.raises(SystemExit) as ended:
        run(stopped())
    assert ended.value.code == 130
    assert cleaned


COMMANDS = (
    "congestion", "freshness", "killer", "link", "long_outage", "modbus", "modbus_peers", "outage", "reconnect",
    "throughput",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_each_is_for_and_what_every_option_means(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"interop.{name}").main()
    text = capsys.readouterr().out
    for line in text.splitlines():
        if line.startswith("  --"):
            assert "  " in line.strip(), f"nothing is said of {line.strip()}"
    assert f"python -m interop.{name} " in text.split("\n", 1)[1], "an example"
