"""A store is opened only if it is ours, whole, of a version that is known, and nobody else's at the time."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.store.test_sqlite_store import closed_store, path, run_program
from twingateway.errors import StoreCorrupt, StoreError
from twingateway.store.migrations import APPLICATION_ID
from twingateway.store.sqlite import open_store

__all__ = ["path"]


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"SQLite format 3\0" + bytes(5000)])
async def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"node\.db"):
        await open_store(path)
    assert path.read_bytes() == content


async def test_a_torn_file_is_left_alone(path: Path):
    content = await closed_store(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreCorrupt):
        await open_store(path)
    assert path.read_bytes() == content[: len(content) // 2]


async def test_a_table_that_means_something_else_is_damage(path: Path):
    await closed_store(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'seq INTEGER', 'sep INTEGER')")
    connection.close()
    with pytest.raises(StoreCorrupt, match="tables"):
        await open_store(path)


async def test_another_programs_database_is_left_alone(path: Path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE accounts (name TEXT)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await open_store(path)
    assert path.read_bytes() == content


async def test_a_file_of_a_later_version_is_refused(path: Path):
    await closed_store(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99"):
        await open_store(path)


async def test_a_file_without_its_version_is_damaged(path: Path):
    await closed_store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        connection.execute("DELETE FROM schema_version")
    connection.close()
    with pytest.raises(StoreCorrupt):
        await open_store(path)


async def test_the_refusal_of_a_second_opener_names_the_first(path: Path):
    store = await open_store(path)
    attempt = f"import asyncio; from pathlib import Path; from twingateway.store.sqlite import open_store; \
asyncio.run(open_store(Path({str(path)!r})))"
    run = run_program([sys.executable, "-c", attempt])
    assert f"in use by process {os.getpid()}: stop that node" in run.stderr
    await store.close()


async def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        await open_store(tmp_path / "file" / "node.db")


async def test_the_lock_is_free_after_a_failed_opening(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(StoreCorrupt):
        await open_store(path)
    path.unlink()
    store = await open_store(path)
    await store.close()
