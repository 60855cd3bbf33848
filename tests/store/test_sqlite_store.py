"""The SQLite store keeps every promise of the port, and what only a file can be asked."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fair_time import PATIENCE
from twingateway.errors import StoreCorrupt, StoreError, StoreFull
from twingateway.ports.store import Changes
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import entry, filed
from twingateway.testing.store_contract import StoreContract, bulk, held, stored


class SqliteMedium:
    def __init__(self, path: Path) -> None:
        self.path = path

    async def open(self) -> SqliteStore:
        return await open_store(self.path)

    async def crash(self, store: SqliteStore) -> None:
        """Within one process: give up the lock, leave the connection as it is. `test_kill` kills in earnest."""
        store._lock.release()

    async def fill(self, store: SqliteStore) -> None:
        await store._writer.submit(lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchall())

    async def relieve(self, store: SqliteStore) -> None:
        await store._writer.submit(lambda connection: connection.execute("PRAGMA max_page_count = 99999").fetchall())


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def medium(self, tmp_path: Path) -> SqliteMedium:  # type: ignore[override]
        return SqliteMedium(tmp_path / "node.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "node.db"


async def closed_store(path: Path, count: int = 200) -> bytes:
    """A store of `count` registers, closed; its file's content."""
    store = await open_store(path)
    await store.commit(Changes(registers=[stored(f"r{n}", n + 1, n + 1, f"value {n}") for n in range(count)]))
    await store.close()
    return path.read_bytes()


def run_program(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=PATIENCE)


async def test_what_is_written_is_synced_before_it_counts(path: Path):
    store = await open_store(path)
    names = ("journal_mode", "synchronous", "foreign_keys")
    settings = await store._writer.submit(
        lambda connection: [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    )
    assert settings == ["wal", 2, 1]
    await store.close()


async def test_the_file_is_private_and_closing_leaves_it_whole(path: Path):
    store = await open_store(path)
    await store.commit(Changes(registers=[stored("speed", 1, 1)]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["node.db", "node.db-lock"]


async def test_commits_that_wait_together_share_one_transaction(path: Path):
    store = await open_store(path)
    statements: list[str] = []
    await store._writer.submit(lambda connection: connection.set_trace_callback(statements.append))
    await asyncio.gather(
        *(store.commit(Changes(registers=[stored(f"r{n}", 1, n)])) for n in range(100)),
        *(store.reserve(1) for _ in range(20)),
    )
    assert len(await held(store)) == 100
    assert statements.count("COMMIT") < 20
    await store.close()


async def test_a_full_group_fails_whole_and_nothing_of_it_is_kept(path: Path):
    store = await open_store(path)
    medium = SqliteMedium(path)
    await medium.fill(store)
    small = Changes(registers=[stored("small", 1, 1)])
    outcomes = await asyncio.gather(*map(store.commit, [small, bulk(), bulk()]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[1:]] == [StoreFull, StoreFull]
    kept = set(await held(store))
    assert kept == ({"small"} if outcomes[0] is None else set())
    await store.commit(small)
    assert set(await held(store)) == {"small"}
    await store.close()


async def test_a_member_that_cannot_be_stored_fails_alone(path: Path):
    store = await open_store(path)
    outcomes = await asyncio.gather(
        store.commit(Changes(registers=[stored("a", 1, 1)])),
        store.commit(Changes(registers=[stored("b", 2**70, 2)])),
        store.commit(Changes(registers=[stored("c", 1, 3)])),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), StoreError, type(None)]
    assert set(await held(store)) == {"a", "c"}
    await store.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": object()}])
async def test_what_is_no_value_is_refused(path: Path, value: object):
    store = await open_store(path)
    with pytest.raises(StoreError, match="cannot be stored"):
        await store.commit(Changes(registers=[stored("v", 1, 1, value)]))  # type: ignore[arg-type]
    await store.close()


async def test_no_space_on_the_disk_itself(tmp_path: Path):
    """On a file system of 512 KiB: refused, still readable, and writing again as soon as there is space."""
    script = """
import asyncio, os, sys
from pathlib import Path
from twingateway.errors import StoreFull
from twingateway.ports.store import Changes
from twingateway.store.sqlite import open_store
from twingateway.testing.store_contract import bulk, held, stored

async def main(disk):
    (disk / "ballast").write_bytes(bytes(200_000))
    store = await open_store(disk / "node.db")
    await store.commit(Changes(registers=[stored("speed", 1, 1)]))
    kept = 1
    try:
        for seq in range(2, 100):
            await store.commit(Changes(registers=[stored("speed", seq, seq, "x" * 20_000)]))
            kept = seq
    except StoreFull as error:
        print(error)
    assert (await held(store))["speed"].register.version.seq == kept < 99
    (disk / "ballast").unlink()
    await store.commit(Changes(registers=[stored("speed", 200, 200)]))
    await store.close()
    store = await open_store(disk / "node.db")
    assert await held(store) == {"speed": stored("speed", 200, 200)}
    print("done")

asyncio.run(main(Path(sys.argv[1])))
"""
    mount = f'mount -t tmpfs -o size=512k none {tmp_path} && exec {sys.executable} -c "$SCRIPT" {tmp_path}'
    command = ["unshare", "-rm", "sh", "-c", mount]
    if not shutil.which("unshare") or run_program(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no private mounts here")
    run = run_program(command, SCRIPT=script)
    assert run.returncode == 0, run.stderr
    assert "no space left" in run.stdout
    assert run.stdout.endswith("done\n")


async def test_no_damage_to_a_page_ever_becomes_a_wrong_value(path: Path):
    content = await closed_store(path)
    right = {f"r{n}": f"value {n}" for n in range(200)}
    noticed = 0
    for step, offset in enumerate(range(4096, len(content), 509)):
        flipped = content[offset] ^ (0x04, 0x80)[step % 2]
        path.write_bytes(content[:offset] + bytes([flipped]) + content[offset + 1 :])
        try:
            store = await open_store(path)
        except (StoreCorrupt, StoreError):
            noticed += 1
            continue
        try:
            read = {name: entry.register.value for name, entry in (await held(store)).items()}
            assert {name: right[name] for name in read} == read
        except StoreCorrupt:
            noticed += 1
        finally:
            await store.close()
    assert noticed > 10


async def test_a_changed_value_is_noticed_though_the_page_is_whole(path: Path):
    await closed_store(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE register SET value = '1000000' WHERE name = 'r7'")
    connection.close()
    store = await open_store(path)
    with pytest.raises(StoreCorrupt, match="r7"):
        await store.load()
    await store.close()


async def test_damage_is_not_sealed_anew_when_a_register_moves(path: Path):
    await closed_store(path)
    store = await open_store(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE register SET value = '1000000' WHERE name = 'r7'")
    connection.close()
    with pytest.raises(StoreCorrupt, match="register"):
        await store.commit(Changes(registers=[stored("r7", 1, 5000, "old")]))
    await store.close()


async def test_damage_done_while_it_is_open_is_found_when_it_is_looked_over(path: Path):
    store = await open_store(path)
    await store.commit(Changes(journal=filed(*(entry(n) for n in range(9)))))
    await store.look_over()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM journal_queue WHERE position = 4")
    connection.close()
    with pytest.raises(StoreCorrupt):
        await store.look_over()
    assert "damaged" in (await store.damaged()).message
    await store.close()


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_nothing_is_acknowledged_that_went_into_a_file_which_has_lost_its_place(path: Path, how: str) -> None:
    store = await open_store(path)
    await store.commit(Changes(registers=[stored("r1", 1, 1, "kept")]))
    if how == "removed":
        path.unlink()
    else:
        path.rename(path.with_name("former.db"))
        path.write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="removed, or another put in its place"):
        await store.commit(Changes(registers=[stored("r2", 2, 2, "refused")]))
    assert isinstance(await store.damaged(), StoreCorrupt)
    await store.close()
