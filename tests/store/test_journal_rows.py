"""What only a file can be asked about the journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from twingateway.errors import StoreCorrupt, StoreError
from twingateway.ports.store import Changes
from twingateway.store.sqlite import open_store
from twingateway.testing.journal_contract import EVENT, entry, filed


async def test_a_damaged_entry_is_noticed_not_sent(tmp_path: Path):
    path = tmp_path / "node.db"
    store = await open_store(path)
    await store.commit(Changes(journal=filed(entry(1, "right"))))
    await store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE journal_queue SET value = '\"wrong\"'")
    connection.close()
    store = await open_store(path)
    with pytest.raises(StoreCorrupt, match="entry 1 of the journal's class event"):
        await store.journal_page(EVENT, 0, 1000)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.journal_page(EVENT, 0, 1000)


async def test_what_is_long_is_read_and_emptied_without_a_scan(tmp_path: Path):
    path = tmp_path / "node.db"
    store = await open_store(path)
    await store.commit(Changes(journal=filed(*(entry(n) for n in range(10)))))
    await store.close()
    connection = sqlite3.connect(path)
    for statement in (
        "SELECT * FROM journal_queue WHERE class = 'event' AND position > 5 ORDER BY position",
        "DELETE FROM journal_queue WHERE class = 'event' AND position <= 5",
        "SELECT * FROM journal_kept WHERE class = 'event' AND position <= 5 ORDER BY position DESC",
        "SELECT time FROM history WHERE series = 1 AND time >= 1 AND time < 2 ORDER BY time, id",
    ):
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SEARCH" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
    connection.close()
