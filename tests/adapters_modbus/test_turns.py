"""Whose turn it is on a connection."""

from __future__ import annotations

import asyncio

import pytest
from twingateway_modbus.turns import Turns


async def test_a_write_goes_before_polls_that_wait_longer() -> None:
    turns, order = Turns(), []

    async def use(name: str, urgent: bool) -> None:
        async with turns.turn(urgent=urgent):
            order.append(name)

    async with turns.turn():
        waiting = [asyncio.ensure_future(use(name, name == "write")) for name in ("poll 1", "poll 2", "write")]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)

    assert order == ["write", "poll 1", "poll 2"]


async def test_one_that_gives_up_waiting_or_was_just_called_hands_its_turn_on() -> None:
    turns = Turns()

    async def use() -> None:
        async with turns.turn():
            await asyncio.sleep(0)

    async with turns.turn():
        gives_up, called, last = (asyncio.ensure_future(use()) for _ in range(3))
        await asyncio.sleep(0)
        gives_up.cancel()
    called.cancel()

    async with asyncio.timeout(1):
        await last
        with pytest.raises(asyncio.CancelledError):
            await called
        async with turns.turn():
            pass
