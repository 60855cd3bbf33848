"""Files of every earlier version open as they were; a step that fails changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from twingateway.ports.store import Attempt, PeerRecord, StoredModel
from twingateway.store.migrations import STEPS, migrate, schema_version
from twingateway.store.rows import attempt_row, model_row, peer_row, register_row, sealed
from twingateway.store.sqlite import open_store
from twingateway.testing.journal_contract import EVENT, OTHER, entry, filed
from twingateway.testing.store_contract import PUMP, stored
from twingateway.twin.register import Version


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


async def test_a_file_of_version_1_opens_as_it_was(tmp_path: Path):
    path = tmp_path / "node.db"
    peer = PeerRecord("edge", b"s" * 16, 4, b"b" * 16, 5)
    model = StoredModel("default", "pump@1", "ab", "{}")
    attempt = Attempt(PUMP, "speed", Version(1, 1, 1))
    connection = connect(path)
    migrate(connection, STEPS[:1])
    store_id, boot_id = b"i" * 16, b"o" * 16
    connection.execute("UPDATE store SET store_id = ?", (store_id,))
    connection.execute("INSERT INTO counter VALUES ('seq', 64), ('lsn', 128)")
    connection.execute("INSERT INTO boot VALUES (?, 128)", (boot_id,))
    connection.execute(f"INSERT INTO register VALUES ({'?,' * 10} ?)", register_row(stored("speed", 3, 9, {"a": 1})))
    connection.execute("INSERT INTO peer VALUES (?, ?, ?, ?, ?)", peer_row(peer)[:5])
    connection.execute("INSERT INTO model VALUES (?, ?, ?, ?)", model_row(model)[:4])
    connection.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?)", attempt_row(attempt)[:6])
    connection.close()

    store = await open_store(path)
    snapshot = await store.load()
    assert store.identity.store_id == store_id
    assert snapshot.registers == [stored("speed", 3, 9, {"a": 1})]
    assert (snapshot.peers, snapshot.models, snapshot.attempts) == ({"edge": peer}, [model], [attempt])
    ((below, upto),) = snapshot.gaps
    assert below == 9
    assert upto > 128
    assert snapshot.boots == {boot_id: 128, store.identity.boot_id: upto}
    await store.close()


def test_only_missing_steps_run(tmp_path: Path):
    connection = connect(tmp_path / "node.db")
    migrate(connection)
    migrate(connection, (*STEPS, "CREATE TABLE journal (seq INTEGER PRIMARY KEY)"))
    migrate(connection, (*STEPS, "CREATE TABLE journal (seq INTEGER PRIMARY KEY)"))
    assert schema_version(connection) == len(STEPS) + 1
    connection.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path):
    connection = connect(tmp_path / "node.db")
    migrate(connection)
    with pytest.raises(sqlite3.Error):
        migrate(connection, (*STEPS, "CREATE TABLE journal (seq INTEGER); SELECT * FROM nowhere"))
    assert schema_version(connection) == len(STEPS)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'journal'").fetchone() == (0,)
    connection.close()


async def test_a_file_of_version_5_knows_its_place_in_journals(tmp_path: Path):
    path = tmp_path / "node.db"
    connection = connect(path)
    migrate(connection, STEPS[:5])
    cursor = sealed("default", OTHER, EVENT, 2, "edge", 1)
    connection.execute("INSERT INTO journal_cursor VALUES (?, ?, ?, ?, ?, ?, ?)", cursor)
    connection.close()
    store = await open_store(path)
    came = filed(*(entry(n, journal_id=OTHER, seq=n) for n in (1, 2, 3)))
    assert await store.receive(came) == [came[2].entry]
    await store.close()
