"""The power fails at any moment of the store's work: what was acknowledged is there when it is opened again.

The store runs on the standard library's SQLite, whose writes and syncs are recorded while it does everything that a
store does; then every recorded moment is a cut point, and of what was not synced there nothing, all, all but a torn
last write, or any part is on the disk. The suite tries a fixed sample; `TWINGATEWAY_CUT_POINTS=all pytest
tests/store/test_power_loss.py` tries every cut point (a few minutes).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import shutil
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.power_cut import Disk, fast_folder
from tests.store.recording_disk import library, recording
from twingateway.errors import StoreError
from twingateway.ports.journal import Span
from twingateway.ports.store import Attempt, Changes, PeerRecord, Removal, StoredModel
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import EVENT, HISTORY, OTHER, PUMP, entry, filed
from twingateway.testing.store_contract import stored
from twingateway.twin.entry import JournalEntry
from twingateway.twin.register import Section, Version

ALL = os.environ.get("TWINGATEWAY_CUT_POINTS") == "all"
pytestmark = [
    pytest.mark.skipif(library() is None, reason="sqlite3 is built into the interpreter here"),
    pytest.mark.timeout(3600 if ALL else 1800),
]
ROUNDS = 24 if ALL else 8
#: How often chance decides what is left of what was not synced, at each cut point.
DRAWS = 3 if ALL else 1
#: Recoveries that the suite tries.
SAMPLE = 200
SPAN = Span(PUMP, "flow", 0, 1 << 50)


@dataclass(frozen=True, slots=True)
class Said:
    """What the store acknowledged, or is about to do. `word`: `is` (there, once), `may` (go from now on), `gone`, or
    `least` (with `number`)."""

    word: str
    name: str
    number: int = 0


@dataclass(slots=True)
class Promises:
    """Everything said up to some moment."""

    there: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    least: dict[str, int] = field(default_factory=dict)

    def add(self, said: Said) -> None:
        if said.word == "least":
            self.least[said.name] = max(said.number, self.least.get(said.name, 0))
        elif said.word == "is":
            self.there.add(said.name)
        else:
            self.there.discard(said.name)
            self.gone.update([said.name] * (said.word == "gone"))

    def broken(self, found: Found) -> list[str]:
        lost = [f"{name} is there {found.there[name]} times" for name in self.there if found.there[name] != 1]
        lost += [f"{name} is there again" for name in self.gone if found.there[name]]
        lost += [
            f"{name} is {found.least.get(name, 0)}, was {number}"
            for name, number in self.least.items()
            if found.least.get(name, 0) < number
        ]
        return found.wrong + lost


@dataclass(slots=True)
class Found:
    """What a store holds after its recovery, in the words of `Promises`; `wrong`: what may never be."""

    there: Tally[str] = field(default_factory=Tally)
    least: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


# --- the work -------------------------------------------------------------------------------------------------------


async def work(path: Path, log: list[Any], *pragmas: str) -> None:
    """Three lives of a store that does all it can, with small write-ahead logs: checkpoints fall everywhere."""
    works = Work(log)
    for life in range(3):
        works.store = store = await open_store(path)
        for pragma in ("wal_autocheckpoint = 20", *pragmas):
            store._writer._connection.execute(f"PRAGMA {pragma}").fetchall()  # its thread waits for work
        for turn in range(life * ROUNDS // 3, (life + 1) * ROUNDS // 3):
            await works.registers(turn)
            await works.journal(turn)
            await works.history(turn)
            await works.records(turn)
            if turn % 3 == 2:
                await works.clear(turn)
        await works.identity()
        await store.close()


class Work:
    store: SqliteStore

    def __init__(self, log: list[Any]) -> None:
        self._log = log
        self._arrived = 0

    def say(self, word: str, *names: str, number: int = 0) -> None:
        self._log += [Said(word, name, number) for name in names if name]  # gap records have none

    async def registers(self, turn: int) -> None:
        seqs = await self.store.reserve(4)
        self.say("least", "reserved", number=seqs[-1])
        await asyncio.gather(*(self._register(seq) for seq in seqs))

    async def _register(self, seq: int) -> None:
        name = f"r{seq % 7}"
        await self.store.commit(Changes(registers=[stored(name, seq, seq, f"{seq}:" + "x" * (seq * 37 % 700))]))
        self.say("least", name, number=seq)

    async def journal(self, turn: int) -> None:
        name = f"begun {turn}"
        await self.store.commit(Changes(journal=filed(entry(1, "y" * 300, name=name), stamp=turn)))
        self.say("is", name)
        self._arrived += 1 + turn % 2  # now and then one is missing, and found later
        await self._arrive(self._arrived)
        if turn % 4 == 3:
            await self._arrive(self._arrived - 1)

    async def _arrive(self, seq: int) -> None:
        await self.store.receive(filed(came(seq), queue=False, keep=True))
        self.say("is", came(seq).name)

    async def history(self, turn: int) -> None:
        points = [replace(entry(turn, value, class_name=HISTORY, name="flow"), time=turn) for value in (turn, "z")]
        await self.store.commit(Changes(journal=filed(*points, queue=False, keep=True)))
        self.say("is", f"point {turn}")

    async def records(self, turn: int) -> None:
        passing = f"passing {turn}"
        desired = stored(passing, 1, 10_000 + turn, "1:", section=Section.DESIRED)
        attempt = Attempt(PUMP, passing, Version(1, 1, 1))
        await self.store.commit(Changes(registers=[desired], attempts=[attempt]))
        self.say("is", passing, f"attempt {passing}")
        await self.store.commit(
            Changes(
                peers=[PeerRecord("edge", b"s" * 16, turn, b"b" * 16, turn)],
                models=[StoredModel("default", f"model@{turn}", "ab", "{}")],
            )
        )
        self.say("least", "low", number=turn)
        self.say("is", f"model@{turn}")
        if turn % 2:
            self.say("may", passing, f"attempt {passing}")
            await self.store.commit(Changes(forget=[Removal(desired.register.key, desired.register.version)]))
            self.say("gone", passing, f"attempt {passing}")
            self.say("least", "floor", number=desired.lsn)

    async def clear(self, turn: int) -> None:
        """Everything that lets go of something."""
        queue = await self.store.journal_page(EVENT, 0, 1 << 30)
        self.say("may", *(placed.entry.name for placed in queue))
        await self.store.commit(Changes(delivered={EVENT: queue[0].position}))
        self.say("gone", queue[0].entry.name)
        await self.store.evict(EVENT, 1 << 30, turn)
        self.say("gone", *(f"begun {n}" for n in range(turn)))
        kept = await self.store.kept_page(EVENT, 0, 1000)
        self.say("may", *(placed.entry.name for placed in kept[:-4]))
        await self.store.prune_kept(EVENT, 4)
        self.say("gone", *(placed.entry.name for placed in kept[:-4] if placed.entry.name))
        self.say("may", *(f"point {n}" for n in range(turn)))
        await self.store.prune_points(PUMP, "flow", 2, turn)
        await self.store.trim_history(await self.store.history_bytes() - 1)
        self.say("gone", *(f"point {n}" for n in range(turn - 2)))

    async def identity(self) -> None:
        before = f"store {self.store.identity.store_id.hex()}"
        self.say("is", before)
        self.say("may", before)
        renewed = await self.store.renew_identity()
        self.say("gone", before)
        self.say("is", f"store {renewed.store_id.hex()}")


def came(seq: int) -> JournalEntry:
    return entry(1, name=f"came {seq}", journal_id=OTHER, seq=seq)


# --- the power fails ------------------------------------------------------------------------------------------------


async def recover(path: Path) -> Found:
    """Open the store at `path` and read all of it. Raises StoreError if that cannot be."""
    store = await open_store(path)  # it looks for damage from end to end
    found = Found()
    try:
        snapshot = await store.load()
        for register in (each.register for each in snapshot.registers):
            found.there[register.key.name] += 1
            found.least[register.key.name] = register.version.seq
            if not str(register.value).startswith(f"{register.version.seq}:"):
                found.wrong.append(f"{register.key.name} is wrong")
        found.there.update(f"attempt {attempt.name}" for attempt in snapshot.attempts)
        found.there.update(model.ref for model in snapshot.models)
        found.there.update([f"store {store.identity.store_id.hex()}"])
        found.there.update(placed.entry.name for placed in await store.journal_page(EVENT, 0, 1 << 30))
        found.there.update(placed.entry.name for placed in await store.kept_page(EVENT, 0, 1 << 30))
        points = await store.points(SPAN, (-1, 0), 1 << 30)
        found.there.update(f"point {point.value}" for point in points)
        found.least["floor"] = snapshot.floor
        found.least["low"] = snapshot.peers["edge"].low if snapshot.peers else 0
        found.least["reserved"] = (await store.reserve(1))[0] - 1
        await store.receive(filed(*map(came, range(1, 2 * ROUNDS)), queue=False, keep=True))
        names = Tally(placed.entry.name for placed in await store.kept_page(EVENT, 0, 1 << 30))
        found.wrong += [f"{name} was taken {times} times" for name, times in names.items() if name and times > 1]
        return found
    finally:
        await store.close()


class Recoveries:
    """Of each content of the disk one, however many cut points lead to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[bytes, Found] = {}
        self.tried = 0

    def __len__(self) -> int:
        return len(self._known)

    async def of(self, contents: dict[str, bytes]) -> Found:
        self.tried += 1
        digest = hashlib.blake2b(repr([(n, hashlib.sha1(c).digest()) for n, c in contents.items()]).encode()).digest()
        if digest not in self._known:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            for name, content in contents.items():
                (self._folder / name).write_bytes(content)
            try:
                self._known[digest] = await recover(self._folder / "node.db")
            except StoreError as error:
                self._known[digest] = Found(wrong=[f"{error.code}: {error.message}"])
        return self._known[digest]


async def recorded(folder: Path, *pragmas: str) -> list[Any]:
    folder.mkdir()
    log: list[Any] = []
    with recording(folder, log):
        await work(folder / "node.db", log, *pragmas)
    return log


async def faults(log: Sequence[Any], recoveries: Recoveries, most: int | None, since: int = 0) -> list[str]:
    """Fail the power at (a sample of) all points of a recording from `since` on: what is lost."""
    chance, disk, promises = random.Random(7), Disk("node.db"), Promises()  # made and synced by `open_store` itself
    moments = sum(not isinstance(each, Said) for each in log)
    share = 1.0 if most is None else most / ((3 + DRAWS) * moments)
    found = []
    for point, each in enumerate(log):
        if isinstance(each, Said):
            promises.add(each)
            continue
        for what, contents in disk.outcomes(chance, DRAWS):
            if chance.random() < share and point >= since:
                lost = promises.broken(await recoveries.of(contents))
                found += [f"before operation {point} ({type(each).__name__}), {what}: {loss}" for loss in lost]
        disk.do(each)
    return found


async def test_nothing_acknowledged_is_lost_wherever_the_power_fails(tmp_path: Path):
    log = await recorded(tmp_path / "recorded")
    with fast_folder() as folder:
        recoveries = Recoveries(folder)
        found = await faults(log, recoveries, None if ALL else SAMPLE)
    moments = sum(not isinstance(each, Said) for each in log)
    figures = (moments, recoveries.tried, len(recoveries), len(found))
    logging.getLogger(__name__).warning("%d cut points, %d outcomes, %d recoveries, %d losses", *figures)
    assert not found, "\n".join(found[:10])
    assert len(recoveries) > SAMPLE // 3


async def test_the_disk_does_lose_what_is_not_synced(tmp_path: Path):
    """The same work without a sync at each commit loses: the disk is as forgetful as it should be."""
    log = await recorded(tmp_path / "recorded", "synchronous = NORMAL")
    with fast_folder() as folder:
        recoveries = Recoveries(folder)
        found = await faults(log, recoveries, 60)
        # An opening leaves out so many numbers that only a loss of the first ones reserved shows.
        first = next(point for point, each in enumerate(log) if isinstance(each, Said))
        found += await faults(log[: first + 80], recoveries, None, since=first)
    assert any(" r" in loss for loss in found)
    assert any("reserved is" in loss for loss in found)
    assert any("begun" in loss for loss in found)
