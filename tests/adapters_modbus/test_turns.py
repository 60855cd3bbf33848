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

    async with asyncio.timeout(20):
        await last
        with pytest.raises(asyncio.CancelledError):
            await called
        async with turns.turn():
            pass


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_units_are_served_by_turns_however_much_each_of_them_asks() -> None:
    turns, order = Turns(), []

    async def poll(unit: int) -> None:
        async with turns.turn(unit):
            order.append(unit)

    async with turns.turn():
        polls = [asyncio.ensure_future(poll(unit)) for unit in (1, 1, 1, 1, 2, 3)]
        await _settle()
    await asyncio.gather(*polls)
    assert order == [1, 2, 3, 1, 1, 1]


async def test_a_unit_has_no_more_places_than_it_may_have() -> None:
    most = {1: 2, 2: 9}
    turns = Turns(4, most.__getitem__)
    held = [await turns.acquire(1), await turns.acquire(1)]
    third = asyncio.ensure_future(turns.acquire(1))
    await _settle()
    assert not third.done()
    held += [await turns.acquire(2), await turns.acquire(2)]
    assert sorted(held) == [0, 1, 2, 3]

    turns.release(held[2])
    await _settle()
    assert not third.done()
    turns.release(held[0])
    assert await third in (held[0], held[2])


async def test_a_write_has_its_unit_for_itself_and_leaves_the_other_units_alone() -> None:
    turns = Turns(3)
    reading = await turns.acquire(1)
    write = asyncio.ensure_future(turns.acquire(1, urgent=True))
    late = asyncio.ensure_future(turns.acquire(1))
    await _settle()
    assert not write.done()
    assert not late.done()

    other = await turns.acquire(2)
    turns.release(reading)
    writing = await write
    assert not late.done()
    turns.release(other)
    await _settle()
    assert not late.done()
    turns.release(writing)
    await late


async def test_a_write_that_is_given_up_holds_up_nobody() -> None:
    turns = Turns(2)
    reading = await turns.acquire(1)
    write = asyncio.ensure_future(turns.acquire(1, urgent=True))
    await _settle()
    write.cancel()
    await _settle()
    second = await turns.acquire(1)
    turns.release(second)
    turns.release(reading)
    assert await turns.acquire(1, urgent=True) == 0


async def test_a_place_that_was_withdrawn_is_nobodys_until_it_is_restored() -> None:
    turns = Turns(2)
    first, second = await turns.acquire(1), await turns.acquire(1)
    turns.withdraw(second)
    turns.release(second)
    waiting = asyncio.ensure_future(turns.acquire(2))
    await _settle()
    assert not waiting.done()
    turns.restore(second)
    assert await waiting == second
    turns.release(first)
