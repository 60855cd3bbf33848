"""Rounds that are due together begin a few in each turn of the loop."""

from __future__ import annotations

import asyncio

from twingateway_modbus.gate import Gate


class Turns:
    """Counts the loop's turns while rounds begin."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.began: dict[int, list[int]] = {}
        self._turn = 0
        self._counting = True
        asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self._turn += 1
        if self._counting:
            asyncio.get_running_loop().call_soon(self._count)

    async def round(self, number: int) -> None:
        await self.gate.enter()
        self.began.setdefault(self._turn, []).append(number)

    def stop(self) -> None:
        self._counting = False


async def test_as_many_as_may_begin_in_each_turn_and_in_their_order() -> None:
    turns = Turns(Gate(3))
    await asyncio.gather(*(turns.round(number) for number in range(20)))
    turns.stop()
    assert max(len(numbers) for numbers in turns.began.values()) == 3
    assert [number for numbers in turns.began.values() for number in numbers] == list(range(20))


async def test_nobody_waits_while_the_loop_keeps_up() -> None:
    gate = Gate(2)
    for _ in range(10):
        await asyncio.wait_for(asyncio.gather(gate.enter(), gate.enter()), 1)
    entering = gate.enter()
    assert _is_through(entering)


async def test_who_gives_up_waiting_takes_no_place() -> None:
    gate = Gate(1)
    waiting = [asyncio.ensure_future(gate.enter()) for _ in range(5)]
    await asyncio.sleep(0)
    for each in waiting[1:4]:
        each.cancel()
    await asyncio.wait_for(waiting[4], 20)
    assert [each.cancelled() for each in waiting] == [False, True, True, True, False]


def _is_through(entering: object) -> bool:
    """Whether a coroutine ends without waiting for anything."""
    try:
        entering.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return True
    return False
