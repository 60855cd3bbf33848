"""Whatever is whole in a damaged file is read out of it, and nothing that is not."""

from __future__ import annotations

import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from twingateway.ports.journal import Span
from twingateway.ports.store import Changes
from twingateway.store.salvage import Salvage, Salvaged
from twingateway.store.sqlite import open_store
from twingateway.testing.journal_contract import EVENT, HISTORY, PUMP, entry, filed
from twingateway.twin.entry import ALARM

COUNT = 300
PAGE = 4096


async def filled(path: Path) -> None:
    store = await open_store(path)
    for class_name in (ALARM, EVENT):
        entries = [entry(n, f"value {n}", class_name=class_name) for n in range(COUNT)]
        await store.commit(Changes(journal=filed(*entries, keep=class_name == EVENT)))
    points = [replace(entry(n, n / 8, class_name=HISTORY, name="flow"), time=n) for n in range(COUNT)]
    await store.commit(Changes(journal=filed(*points, queue=False, keep=True)))
    await store.close()


def salvaged(path: Path) -> list[Salvaged]:
    salvage, found = Salvage(path, "edge"), []
    while batch := salvage.next_batch(70):
        found += batch
    return found


def pages_of(path: Path, table: str) -> list[int]:
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    content = path.read_bytes()
    start = (root - 1) * PAGE
    assert content[start] in (2, 5), "it has pages below"
    cells = int.from_bytes(content[start + 3 : start + 5], "big")
    places = [int.from_bytes(content[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
    return [int.from_bytes(content[start + place : start + place + 4], "big") for place in places]


async def test_of_a_whole_file_everything_is_read_in_order(tmp_path: Path):
    path = tmp_path / "node.db"
    await filled(path)
    before = path.read_bytes()
    found = salvaged(path)
    waited = [each.entry for each in found if each.waited]
    assert [(e.class_name, e.seq) for e in waited] == [(c, n + 1) for c in (ALARM, EVENT) for n in range(COUNT)]
    points = [each.entry for each in found if each.entry.class_name == HISTORY]
    assert [(p.time, p.value, p.device) for p in points] == [(n, n / 8, "pump-1") for n in range(COUNT)]
    assert len(found) == 4 * COUNT
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["journal_queue", "journal_kept", "history"])
async def test_behind_a_page_that_cannot_be_read_it_goes_on(tmp_path: Path, table: str):
    path = tmp_path / "node.db"
    await filled(path)
    right = {(each.waited, each.entry.key, str(each.entry.value)) for each in salvaged(path)}
    content = bytearray(path.read_bytes())
    page = pages_of(path, table)[1]
    content[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    path.write_bytes(content)
    found = salvaged(path)
    kinds = {"journal_queue": 2 * COUNT, "journal_kept": COUNT, "history": COUNT}
    assert 4 * COUNT - kinds[table] // 2 < len(found) < 4 * COUNT, "one page of several is gone"
    if table != "history":  # whose seqs are given while it is read
        assert {(each.waited, each.entry.key, str(each.entry.value)) for each in found} <= right


async def test_nothing_damaged_is_taken(tmp_path: Path):
    path, chance = tmp_path / "node.db", random.Random(5)
    await filled(path)
    content = path.read_bytes()
    right = {(each.waited, each.entry.name, each.entry.time, str(each.entry.value)) for each in salvaged(path)}
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        shutil.copy(path, tmp_path / "damaged.db")
        (tmp_path / "damaged.db").write_bytes(damaged)
        found = salvaged(tmp_path / "damaged.db")
        assert {(each.waited, each.entry.name, each.entry.time, str(each.entry.value)) for each in found} <= right


async def test_a_store_takes_it_once(tmp_path: Path):
    await filled(tmp_path / "old.db")
    store = await open_store(tmp_path / "new.db")
    for _ in range(2):
        for each in salvaged(tmp_path / "old.db"):
            await store.receive(filed(each.entry, queue=each.waited, keep=not each.waited))
    assert len(await store.journal_page(EVENT, 0, 1 << 30)) == COUNT
    assert len(await store.points(Span(PUMP, "flow", 0, 9_999), (-1, 0), 9_999)) == COUNT
    await store.close()


def test_what_is_no_store_holds_nothing(tmp_path: Path):
    (tmp_path / "junk").write_bytes(b"junk" * 5000)
    assert salvaged(tmp_path / "junk") == []
    assert salvaged(tmp_path / "nothing") == []
