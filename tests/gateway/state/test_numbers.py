from __future__ import annotations

import asyncio

import pytest

from tests.gateway.workbench import SlowStore, turns
from twingateway.errors import Unavailable
from twingateway.gateway.state import numbers as module
from twingateway.gateway.state.numbers import Numbers
from twingateway.ports.memory_store import MemoryDisk


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)


async def test_no_number_is_issued_twice_not_even_after_a_crash() -> None:
    disk = MemoryDisk()
    issued: list[int] = []
    for _ in range(3):
        disk.in_use = False
        numbers = Numbers(SlowStore(disk))
        await numbers.open()
        issued += [numbers.lsn() for _ in range(5)]
    assert issued == sorted(set(issued))


async def test_the_last_lsn_from_before_is_known() -> None:
    disk = MemoryDisk()
    before = Numbers(SlowStore(disk))
    await before.open()
    last = max(before.lsn() for _ in range(5))
    disk.in_use = False
    numbers = Numbers(SlowStore(disk))
    await numbers.open()
    assert numbers.start == numbers.last_lsn >= last
    assert numbers.lsn() == numbers.start + 1


async def test_blocks_are_refilled_before_they_run_out() -> None:
    numbers = Numbers(SlowStore())
    await numbers.open()
    task = asyncio.create_task(numbers.run())
    issued = []
    for _ in range(50):
        issued += [numbers.lsn() for _ in range(4)]
        await turns(5)
    task.cancel()
    assert issued == list(range(1, 201))


async def test_a_full_disk_ends_the_supply_and_room_on_it_brings_it_back() -> None:
    disk = MemoryDisk()
    numbers = Numbers(SlowStore(disk))
    await numbers.open()
    task = asyncio.create_task(numbers.run())
    disk.full = True
    assert [numbers.lsn() for _ in range(8)] == list(range(1, 9))
    await turns(5)
    with pytest.raises(Unavailable):
        numbers.lsn()
    disk.full = False
    async with asyncio.timeout(20):
        while True:
            try:
                assert numbers.lsn() == 9
                break
            except Unavailable:
                await asyncio.sleep(0.005)
    task.cancel()
