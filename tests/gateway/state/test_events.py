from __future__ import annotations

import asyncio

import pytest

from tests.gateway.workbench import PUMP
from twingateway.errors import Unavailable
from twingateway.gateway.state import events as module
from twingateway.gateway.state.events import Changed, Event, EventBus, Notice
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version


class World:
    """A bus and its table."""

    def __init__(self) -> None:
        self.table = TwinTable()
        self.bus = EventBus(self.table, 0)
        self.lsn = 0

    def change(self, name: str) -> int:
        self.lsn += 1
        key = RegisterKey(PUMP, Section.REPORTED, name)
        stored = StoredRegister(Register(key, Version(1, 1, self.lsn), self.lsn, 0), self.lsn)
        self.table.put(stored)
        self.bus.publish(Changed(stored, self.lsn))
        return self.lsn

    def notice(self) -> None:
        self.lsn += 1
        self.bus.publish(Notice(self.lsn, self.lsn, "code", "message", 0))


async def lsns(bus: EventBus, after: int, position: int) -> list[int]:
    listening = bus.listen(after, position)
    bus.leave(listening)
    return [event.lsn for event in await listening.next_batch()]


async def test_a_listener_hears_what_is_published_after_it_came_until_it_leaves() -> None:
    world = World()
    world.change("before")
    listening = world.bus.listen()
    world.change("flow")
    world.notice()
    world.bus.leave(listening)
    world.change("after")
    heard: list[Event] = [event async for event in listening]
    assert [event.lsn for event in heard] == [2, 3]


async def test_whoever_comes_back_soon_gets_exactly_what_it_missed() -> None:
    world = World()
    for name in "abc":
        world.change(name)
    world.notice()
    assert await lsns(world.bus, 2, 4) == [3, 4]


async def test_whoever_was_away_for_long_gets_the_newest_of_each_register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING", 4)
    world = World()
    world.bus = EventBus(world.table, 0)
    for name in "abababab":
        world.change(name)
    listening = world.bus.listen(1, 8)
    batch = await listening.next_batch()
    assert [event.lsn for event in batch] == [7, 8]
    assert [event.position for event in batch] == [7, 8]


async def test_a_position_that_this_store_never_gave_is_answered_with_everything() -> None:
    world = World()
    world.change("a")
    assert await lsns(world.bus, 1_000_000, 1) == [1]


async def test_a_position_from_before_the_restart_is_answered_from_the_table() -> None:
    world = World()
    for name in "abc":
        world.change(name)
    restarted = EventBus(world.table, 100)
    assert await lsns(restarted, 2, 100) == [3]


async def test_a_listener_that_falls_behind_is_ended_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE", 3)
    world = World()
    slow, quick = world.bus.listen(), world.bus.listen()
    heard = []
    for name in "abcde":
        world.change(name)
        heard += await quick.next_batch()
    assert len(heard) == 5
    assert slow.closed
    assert len(await slow.next_batch()) == 3
    assert await slow.next_batch() == []
    assert not quick.closed


async def test_a_long_backlog_alone_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE", 3)
    world = World()
    for name in "abcdefgh":
        world.change(name)
    listening = world.bus.listen(0, 8)
    world.change("i")
    assert len(await listening.next_batch()) == 9
    assert not listening.closed


async def test_closing_ends_everyone_also_those_who_wait() -> None:
    world = World()
    listening = world.bus.listen()
    waiting = asyncio.create_task(listening.next_batch())
    await asyncio.sleep(0)
    world.bus.close()
    assert await waiting == []


async def test_there_is_no_room_for_any_number_of_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LISTENERS", 2)
    world = World()
    first, _ = world.bus.listen(), world.bus.listen()
    with pytest.raises(Unavailable):
        world.bus.listen()
    world.bus.leave(first)
    world.bus.listen()
