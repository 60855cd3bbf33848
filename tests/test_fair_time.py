"""The clock by which tests wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.fair_time import PATIENCE, hurried
from twingateway.testing.fair_loop import MOST_OF_A_TURN


async def test_what_others_had_the_processor_for_is_no_time() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    time.sleep(0.1)
    assert loop.time() - began <= MOST_OF_A_TURN
    await asyncio.sleep(0)
    assert loop.time() - began < 0.1


async def test_a_timer_is_not_late_and_what_arrived_before_it_was_due_comes_first() -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    server = await asyncio.start_server(lambda reader, writer: heard.set(), "127.0.0.1", 0)
    began = loop.time()
    late: asyncio.Future[float] = loop.create_future()
    loop.call_at(began + 0.05, lambda: late.set_result(loop.time()))
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    time.sleep(0.1)
    assert await late - began == pytest.approx(0.05, abs=0.01)
    assert heard.is_set()
    writer.close()
    server.close()


async def test_a_thread_is_waited_for() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    threading.Timer(0.05, loop.call_soon_threadsafe, (done.set,)).start()
    async with asyncio.timeout(PATIENCE):
        await done.wait()


def test_all_that_was_to_be_waited_has_passed_in_a_hurried_loop_too() -> None:
    with asyncio.Runner(loop_factory=hurried) as runner:
        loop = runner.get_loop()
        began = loop.time()
        for seconds in (0.0001, 0.003, 0.7):
            runner.run(asyncio.sleep(seconds))
        assert loop.time() - began >= 0.7031


@pytest.mark.virtual_time
async def test_time_that_is_virtual_stands_where_it_was_to() -> None:
    await asyncio.sleep(3600.0)
    assert asyncio.get_running_loop().time() == 3600.0
