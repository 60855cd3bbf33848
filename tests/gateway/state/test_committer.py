from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from tests.gateway.workbench import FULL, PUMP, SlowStore, register, turns
from twingateway.errors import StoreError, StoreFull
from twingateway.gateway.state import committer as committer_module
from twingateway.gateway.state.committer import Committer
from twingateway.ports.journal import Filing
from twingateway.ports.store import Attempt, PeerRecord
from twingateway.testing.joined import until
from twingateway.twin.entry import EVENT, JournalEntry
from twingateway.twin.register import RegisterKey, Section, StoredRegister, Version


@pytest.fixture(autouse=True)
def _no_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer_module, "GATHERING", 0.0)


@asynccontextmanager
async def running(store: SlowStore) -> AsyncIterator[Committer]:
    committer = Committer(store)
    task = asyncio.create_task(committer.run())
    yield committer
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def flow(value: int) -> StoredRegister:
    return StoredRegister(register("flow", value, value), value)


KEY = RegisterKey(PUMP, Section.REPORTED, "flow")


async def test_values_of_one_register_coalesce_while_the_disk_is_busy() -> None:
    store = SlowStore()
    async with running(store) as committer:
        store.gate.clear()
        committer.add([flow(1)])
        await turns()
        for value in range(2, 100):
            committer.add([flow(value)])
        store.gate.set()
        await until(lambda: len(store.commits) == 2)
        assert [[s.lsn for s in changes.registers] for changes in store.commits] == [[1], [99]]


async def test_a_commit_returns_when_it_is_durable_and_not_before() -> None:
    store = SlowStore()
    async with running(store) as committer:
        store.gate.clear()
        waiting = committer.submit([flow(1)])
        await turns()
        assert not waiting.done()
        store.gate.set()
        await waiting
        assert KEY in store._disk.registers


async def test_a_full_disk_refuses_who_waits_and_keeps_the_rest_until_there_is_room() -> None:
    store = SlowStore()
    with capture_logs() as logs:
        await _fill_and_make_room(store)
    assert [line["event"] for line in logs] == ["the store refuses writes", "the store takes writes again"]


async def _fill_and_make_room(store: SlowStore) -> None:
    async with running(store) as committer:
        store.error = FULL
        committer.add([flow(1)], [PeerRecord("edge", b"s", 7)])
        called: list[str] = []
        committer.after(lambda: called.append("durable"))
        with pytest.raises(StoreFull):
            await committer.submit(attempts=[Attempt(PUMP, "speed", Version(1, 1, 1))])
        assert committer.failure is FULL
        assert called == []
        store.error = None
        async with asyncio.timeout(20):
            while not called:
                await asyncio.sleep(0.002)
        assert KEY in store._disk.registers
        assert store._disk.peers["edge"].low == 7
        assert not store._disk.attempts, "what was refused is not done behind the caller's back"
        assert committer.failure is None
        assert committer.committed == 1


async def test_with_little_space_what_is_vital_goes_on_and_the_rest_waits_or_is_refused() -> None:
    store = SlowStore()
    filing = Filing(JournalEntry(EVENT, "default", "edge", None, "door", 1, {}), 0, True, False)
    told: list[str] = []
    async with running(store) as committer:
        store._disk.low = True
        committer.add([flow(1)], journal=[filing])
        committer.after(lambda: told.append("register"))
        committer.after_journal(lambda: told.append("journal"))
        with pytest.raises(StoreFull):
            await committer.submit([flow(7)])
        for seq in range(1, 20):
            await committer.submit(attempts=[Attempt(PUMP, "speed", Version(1, 1, seq))], vital=True)
        assert isinstance(committer.failure, StoreFull)
        with pytest.raises(StoreFull):
            await committer.submit(journal=[filing])
        assert store._disk.registers[KEY].lsn == 1
        assert (told, store._disk.journal.queues) == (["register"], {})
        store._disk.low = False
        async with asyncio.timeout(20):
            while committer.failure or "journal" not in told:
                await asyncio.sleep(0.002)
        assert [depth.entries for depth in store._disk.journal.depths()] == [1]
        await committer.submit([flow(8)])


async def test_a_fault_in_the_store_is_told_like_a_refusal_and_ends_nothing() -> None:
    store = SlowStore()
    async with running(store) as committer:
        store.error = ZeroDivisionError("a bug")
        with pytest.raises(StoreError, match="a bug"):
            await committer.submit([flow(1)])
        store.error = None
        await committer.submit([flow(2)])


async def test_a_callback_that_raises_holds_up_no_other() -> None:
    store = SlowStore()
    called: list[str] = []
    async with running(store) as committer:
        committer.add([flow(1)])
        committer.after(lambda: called.append(str(1 / 0)))
        committer.after(lambda: called.append("second"))
        await turns()
        assert called == ["second"]
        await committer.submit([flow(2)])


async def test_after_waits_for_everything_added_before_it_also_for_what_is_being_committed() -> None:
    store = SlowStore()
    called: list[int] = []
    async with running(store) as committer:
        committer.after(lambda: called.append(0))
        assert called == [0], "there is nothing to wait for"
        store.gate.clear()
        committer.add([flow(1)])
        await turns()
        committer.after(lambda: called.append(1))
        committer.add([flow(2)])
        committer.after(lambda: called.append(2))
        await turns()
        assert called == [0]
        store.gate.set()
        await until(lambda: called == [0, 1, 2])


async def test_who_is_told_of_registers_hears_once_of_all_that_became_durable_together_after_the_callbacks() -> None:
    store = SlowStore()
    heard: list[object] = []

    def hear(registers: list[StoredRegister]) -> None:
        heard.append([stored.lsn for stored in registers])

    async with running(store) as committer:
        store.gate.clear()
        for value in (1, 2):
            committer.add([flow(value)])
            committer.tell([flow(value)], hear)
        committer.after(lambda: heard.append("called back"))
        await turns()
        committer.add([flow(3)])
        committer.tell([flow(3)], hear)
        await turns()
        assert heard == []
        store.gate.set()
        await until(lambda: heard == ["called back", [1, 2], [3]])


async def test_of_registers_that_the_store_refused_at_first_it_is_told_when_it_takes_them() -> None:
    store = SlowStore()
    heard: list[int] = []
    async with running(store) as committer:
        store.error = FULL
        committer.add([flow(1)])
        committer.tell([flow(1)], lambda registers: heard.extend(stored.lsn for stored in registers))
        with pytest.raises(StoreFull):
            await committer.submit(attempts=[Attempt(PUMP, "speed", Version(1, 1, 1))])
        assert heard == []
        store.error = None
        async with asyncio.timeout(20):
            while not heard:
                await asyncio.sleep(0.002)
        assert heard == [1]


async def test_whoever_waits_for_journal_entries_twice_is_called_once_for_both() -> None:
    store = SlowStore()
    filing = Filing(JournalEntry(EVENT, "default", "edge", None, "door", 1, {}), 0, True, False)
    called: list[str] = []

    def call() -> None:
        called.append("durable")

    async with running(store) as committer:
        for _ in range(2):
            committer.add(journal=[filing])
            committer.after_journal(call)
        await until(lambda: called)
        assert called == ["durable"]
        committer.add(journal=[filing])
        committer.after_journal(call)
        await until(lambda: called == ["durable", "durable"])


async def test_drain_commits_what_waits_and_what_was_interrupted() -> None:
    store = SlowStore()
    async with running(store) as committer:
        store.gate.clear()
        committer.add([flow(1)])
        await turns()
        committer.add([StoredRegister(register("level", 5, 2), 2)])
    store.gate.set()
    await committer.drain()
    assert {key.name for key in store._disk.registers} == {"flow", "level"}
