"""Processes of a measurement: one that ends by itself is noticed, and none outlives it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from interop.processes import Died, Processes

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
FAIL = [sys.executable, "-S", "-c", "import sys; sys.exit('no such thing')"]


async def test_work_ends_when_a_process_does(tmp_path):
    async with Processes(tmp_path) as processes:
        await processes.start("steady", SLEEP)
        await processes.start("feeble", FAIL)
        with pytest.raises(Died, match=r"feeble ended with status 1\nno such thing"):
            await processes.during(asyncio.sleep(600))


async def test_work_that_fails_of_a_death_is_told_as_that(tmp_path):
    async def asking() -> None:
        while not (tmp_path / "feeble.log").read_text():
            await asyncio.sleep(0.01)
        raise ConnectionError("no answer")

    async with Processes(tmp_path) as processes:
        await processes.start("feeble", FAIL)
        with pytest.raises(Died):
            await processes.during(asking())


async def test_work_of_its_own_accord_comes_to_what_it_comes_to(tmp_path):
    async def fail() -> None:
        raise ZeroDivisionError

    async with Processes(tmp_path) as processes:
        steady = await processes.start("steady", SLEEP)
        ended = await processes.start("ended", SLEEP)
        await ended.end()
        assert await processes.during(asyncio.sleep(0, "done")) == "done", "that one was to end"
        with pytest.raises(ZeroDivisionError):
            await processes.during(fail())
        assert Path(f"/proc/{steady.pid}").exists()
    assert not Path(f"/proc/{steady.pid}").exists()


async def test_work_that_is_given_up_is_cancelled_and_its_processes_end(tmp_path):
    async def measure() -> None:
        async with Processes(tmp_path) as processes:
            await processes.start("steady", SLEEP)
            await processes.during(asyncio.sleep(600))

    measuring = asyncio.create_task(measure())
    while not (tmp_path / "steady.log").exists():
        await asyncio.sleep(0.01)
    measuring.cancel()
    with suppress(asyncio.CancelledError):
        await measuring
    assert measuring.cancelled()
