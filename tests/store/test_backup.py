"""A copy of a store that is being written to is whole, and is a store."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.fair_time import PATIENCE
from twingateway.errors import InvalidConfig, StoreCorrupt, StoreError
from twingateway.ports.store import Changes
from twingateway.store.backup import back_up
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import EVENT, entry, filed
from twingateway.testing.store_contract import stored


def changes(number: int) -> Changes:
    """One commit: two registers and a journal entry that say the same."""
    registers = [stored(f"r{name}", number, 2 * number + name, number) for name in (0, 1)]
    return Changes(registers=registers, journal=filed(entry(number, number), keep=True))


async def said(store: SqliteStore) -> tuple[list[object], list[object]]:
    snapshot = await store.load()
    values = [each.register.value for each in snapshot.registers]
    return values, [placed.entry.value for placed in await store.kept_page(EVENT, 0, 1_000_000)]


async def test_a_copy_made_in_the_midst_of_commits_has_none_by_half(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "node.db")
    done = asyncio.Event()
    number = 0

    async def write() -> None:
        nonlocal number
        while not done.is_set():
            number += 1
            await store.commit(changes(number))

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        for name in ("first", "second", "third"):
            before = number
            async with asyncio.timeout(PATIENCE):
                while number < before + 2:  # the one under way may be in the copy before
                    await asyncio.sleep(0.005)
            size = await asyncio.to_thread(back_up, tmp_path / "node.db", tmp_path / name)
            assert size == (tmp_path / name).stat().st_size
        done.set()
    last, _ = await said(store)
    await store.close()

    newest = 0
    for name in ("first", "second", "third"):
        copy = await open_store(tmp_path / name)
        values, kept = await said(copy)
        await copy.close()
        assert values[0] == values[1] == kept[-1], "a commit is in it whole or not at all"
        assert kept == list(range(1, len(kept) + 1))
        assert newest < len(kept) <= last[0], "each is newer than the one before"  # type: ignore[operator]
        newest = len(kept)


async def test_what_a_killed_node_left_in_its_log_is_copied_and_stays_there(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "node.db")
    await store.commit(changes(1))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("node.db", "node.db-wal"):
        (killed / name).write_bytes((tmp_path / name).read_bytes())
    await store.close()
    before = [(killed / name).read_bytes() for name in ("node.db", "node.db-wal")]

    back_up(killed / "node.db", tmp_path / "copy")
    assert [(killed / name).read_bytes() for name in ("node.db", "node.db-wal")] == before
    copy = await open_store(tmp_path / "copy")
    assert await said(copy) == ([1, 1], [1])
    await copy.close()


async def test_a_copy_is_one_file_for_its_owner_only(tmp_path: Path) -> None:
    await (await open_store(tmp_path / "node.db")).close()
    (tmp_path / "to").mkdir()
    back_up(tmp_path / "node.db", tmp_path / "to" / "copy")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["copy"]
    assert (tmp_path / "to" / "copy").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path, copy = tmp_path / "node.db", tmp_path / "copy"
    await (await open_store(path)).close()
    copy.touch()
    back_up(path, copy, replace=True)
    former = copy.stat().st_ino
    with pytest.raises(InvalidConfig, match="exists already: nothing was written; --force"):
        back_up(path, copy)
    assert copy.stat().st_ino == former
    back_up(path, copy, replace=True)
    assert copy.stat().st_ino != former
    with pytest.raises(InvalidConfig, match="is the store: nothing was written"):
        back_up(path, path, replace=True)
    await (await open_store(path)).close()


@pytest.mark.parametrize("replace", [False, True])
async def test_what_is_no_copy_is_not_replaced_by_one(tmp_path: Path, replace: bool) -> None:
    """To name the node's file is a slip, be it insisted on."""
    path, file = tmp_path / "node.db", tmp_path / "node.yaml"
    await (await open_store(path)).close()
    file.write_text("precious")
    for target in (file, tmp_path):
        with pytest.raises(InvalidConfig, match="is no copy of a store: it is not replaced"):
            back_up(path, target, replace=replace)
    assert file.read_text() == "precious"


async def test_a_store_that_has_the_name_of_a_copy_under_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "copy.partial"
    await (await open_store(path)).close()
    with pytest.raises(InvalidConfig, match="is the store: nothing was written"):
        back_up(path, tmp_path / "copy")
    assert path.read_bytes()[:6] == b"SQLite"


async def test_of_a_damaged_store_there_is_no_copy_and_the_one_before_stays(tmp_path: Path) -> None:
    path, copy = tmp_path / "node.db", tmp_path / "copy"
    store = await open_store(path)
    await store.commit(changes(1))
    await store.close()
    back_up(path, copy)
    good = copy.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE register SET value = '2' WHERE name = 'r0'")
    connection.close()
    with pytest.raises(StoreCorrupt):
        back_up(path, copy, replace=True)
    assert copy.read_bytes() == good
    assert not (tmp_path / "copy.partial").exists()


async def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="has this node ever run"):
        back_up(tmp_path / "node.db", tmp_path / "copy")
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE other (number)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        back_up(tmp_path / "other.db", tmp_path / "copy")
    await (await open_store(tmp_path / "node.db")).close()
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        back_up(tmp_path / "node.db", tmp_path / "nowhere" / "copy")
    assert not (tmp_path / "copy").exists()
