"""The ids and numbers of a store, over its openings."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.store.test_sqlite_store import path
from twingateway.ports.store import Changes
from twingateway.store import identity, journal
from twingateway.store.sqlite import open_store
from twingateway.testing.journal_contract import entry, filed
from twingateway.testing.store_contract import stored

__all__ = ["path"]


async def test_openings_leave_no_more_rows_than_are_remembered(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "MOST_BOOTS", 3)
    monkeypatch.setattr(identity, "passed_over", lambda boot_id: 90)
    monkeypatch.setattr(journal, "TOLD_JOURNALS", 2)
    boots = []
    for n in range(6):
        store = await open_store(path)
        boots.append(store.identity.boot_id)
        await store.reserve(10)
        await store.commit(Changes(registers=[stored("speed", n + 1, 100 * n + 1)], journal=filed(entry(n))))
        snapshot = await store.load()
        await store.close()
    assert set(snapshot.boots) == set(boots[-3:])
    assert snapshot.boots[boots[-1]] == 510
    assert snapshot.gaps == [(201, 300), (301, 400), (401, 500)]
    with sqlite3.connect(path) as connection:
        journals = connection.execute("SELECT journal FROM journal_cursor").fetchall()
    connection.close()
    assert {journal_id for (journal_id,) in journals} == {*boots[-3:]}, "the one that is written now, and two before"
