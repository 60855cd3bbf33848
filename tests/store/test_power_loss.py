"""The power fails at any moment of the store's work: what was acknowledged is there when it is opened again.

The store runs on the standard library's SQLite, whose writes and syncs are recorded; then every recorded moment is a
cut point. `TWINGATEWAY_CUT_POINTS=all` tries every one of a longer recording (minutes), the suite a sample.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.store.power_cut import Disk
from tests.store.recording_disk import library, recording
from twingateway.errors import StoreCorrupt, StoreError
from twingateway.ports.store import Changes, Counter
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import OTHER, entry, filed
from twingateway.testing.store_contract import stored

pytestmark = pytest.mark.skipif(library() is None, reason="sqlite3 is built into the interpreter here")

ALL = os.environ.get("TWINGATEWAY_CUT_POINTS") == "all"
ROUNDS = 60 if ALL else 12
#: Recoveries that the suite tries.
SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One thing that the store said is durable. `kind`: register, number, begun or received."""

    kind: str
    name: str
    number: int


@dataclass(slots=True)
class Promises:
    """Everything acknowledged up to some moment."""

    registers: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    received: set[str] = field(default_factory=set)

    def add(self, said: Acknowledged) -> None:
        if said.kind == "register":
            self.registers[said.name] = max(said.number, self.registers.get(said.name, 0))
        elif said.kind == "number":
            self.numbers[said.name] = max(said.number, self.numbers.get(said.name, 0))
        else:
            getattr(self, said.kind).add(said.name)


async def work(path: Path, log: list[Any], *pragmas: str) -> None:
    """Two lives of a store, with small write-ahead logs, so that checkpoints fall everywhere."""
    arrived = 0
    for life in range(2):
        store = await open_store(path)
        for pragma in ("wal_autocheckpoint = 25", *pragmas):
            store._writer._connection.execute(f"PRAGMA {pragma}").fetchall()  # its thread waits for work
        for turn in range(ROUNDS):
            seqs = await store.reserve(Counter.SEQ, 4)
            log.append(Acknowledged("number", Counter.SEQ, seqs[-1]))
            await asyncio.gather(*(_register(store, log, seq) for seq in seqs))
            await _journal(store, log, f"{life}-{turn}", arrived := arrived + 1)
            lsns = await store.reserve(Counter.LSN, 10)
            log.append(Acknowledged("number", Counter.LSN, lsns[-1]))
        await store.close()


async def _register(store: SqliteStore, log: list[Any], seq: int) -> None:
    name = f"r{seq % 17}"
    await store.commit(Changes(registers=[stored(name, seq, seq, f"{seq}:" + "x" * (seq * 37 % 900))]))
    log.append(Acknowledged("register", name, seq))


async def _journal(store: SqliteStore, log: list[Any], name: str, arrived: int) -> None:
    await store.commit(Changes(journal=filed(entry(1, "y" * 300, name=f"begun {name}"))))
    log.append(Acknowledged("begun", f"begun {name}", 0))
    came = entry(1, name=f"came {name}", journal_id=OTHER, seq=arrived)
    await store.receive(filed(came, queue=False, keep=True))
    log.append(Acknowledged("received", f"came {name}", 0))


async def losses(path: Path, promises: Promises) -> list[str]:
    """What the store at `path` does not keep of these promises. Raises StoreError if it cannot be opened."""
    store = await open_store(path)  # with SQLite's quick_check
    try:
        found = {each.register.key.name: each.register for each in (await store.load()).registers}
        queue = [placed.entry.name for placed in await store.journal_page("event", 0, 1 << 30)]
        kept = [placed.entry.name for placed in await store.kept_page("event", 0, 1 << 30)]
        lost = [
            f"register {name} of {seq}"
            for name, seq in promises.registers.items()
            if name not in found or found[name].version.seq < seq
        ]
        lost += [f"{r.key.name} is wrong" for r in found.values() if not str(r.value).startswith(f"{r.version.seq}:")]
        lost += [f"{name} is not queued once" for name in promises.begun if queue.count(name) != 1]
        lost += [f"{name} is not kept once" for name in promises.received if kept.count(name) != 1]
        for counter in Counter:
            (fresh,) = await store.reserve(counter, 1)
            if fresh <= promises.numbers.get(counter, 0):
                lost.append(f"{counter} {fresh} issued twice")
        return lost
    finally:
        await store.close()


async def recorded(folder: Path, *pragmas: str) -> list[Any]:
    folder.mkdir()
    log: list[Any] = []
    with recording(folder, log):
        await work(folder / "node.db", log, *pragmas)
    return log


def lay_out(folder: Path, contents: dict[str, bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder / "node.db"


async def faults(log: Sequence[Any], folder: Path, most: int | None) -> tuple[int, list[str]]:
    """Fail the power at (a sample of) all points of a recording: how often, and what was lost."""
    chance, disk, promises = random.Random(7), Disk("node.db"), Promises()  # made and synced by `open_store` itself
    moments = sum(not isinstance(each, Acknowledged) for each in log)
    share = 1.0 if most is None else most / (4 * moments)
    tried, found = 0, []
    for point, each in enumerate(log):
        if isinstance(each, Acknowledged):
            promises.add(each)
            continue
        for what, contents in disk.outcomes(chance):
            if chance.random() < share:
                tried += 1
                path = lay_out(folder, contents)
                try:
                    lost = await losses(path, promises)
                except (StoreCorrupt, StoreError) as error:
                    lost = [error.message]
                found += [f"before operation {point} ({type(each).__name__}), {what}: {loss}" for loss in lost]
        disk.do(each)
    return tried, found


async def test_nothing_acknowledged_is_lost_wherever_the_power_fails(tmp_path: Path):
    log = await recorded(tmp_path / "recorded")
    tried, found = await faults(log, tmp_path / "recovered", None if ALL else SAMPLE)
    logging.getLogger(__name__).warning("%d operations, %d recoveries, %d losses", len(log), tried, len(found))
    assert not found, "\n".join(found[:10])
    assert tried > SAMPLE // 2


async def test_the_disk_does_lose_what_is_not_synced(tmp_path: Path):
    """The same work without a sync at each commit loses: the disk is as forgetful as it should be."""
    log = await recorded(tmp_path / "recorded", "synchronous = NORMAL")
    _, found = await faults(log, tmp_path / "recovered", 60)
    assert any("register" in loss for loss in found)
    assert any("issued twice" in loss for loss in found)
