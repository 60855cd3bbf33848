"""`twingateway restore`: from a copy to a store that a node runs on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode
from twingateway.ports.store import Changes
from twingateway.store.sqlite import open_store
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

SPEED = RegisterKey(DeviceId("default", "pump"), Section.DESIRED, "speed")


async def _commit(path: Path, number: int) -> None:
    store = await open_store(path)
    said = StoredRegister(Register(SPEED, Version(1, 1, number), number, 0), number)
    await store.commit(Changes(registers=[said]))
    await store.close()


async def _values(path: Path) -> list[object]:
    store = await open_store(path)
    snapshot = await store.load()
    await store.close()
    return [each.register.value for each in snapshot.registers]


async def _open_and_close(path: Path) -> bytes:
    store = await open_store(path)
    await store.close()
    return store.identity.store_id


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "node.yaml").write_text("node: {name: edge-1, data_dir: data}\nstore: {path: edge-1.db}\n")
    asyncio.run(_open_and_close(tmp_path / "data" / "edge-1.db"))
    return tmp_path


def test_what_backup_wrote_is_put_back_and_what_was_there_is_named(cli: Run, site: Path) -> None:
    store = site / "data" / "edge-1.db"
    asyncio.run(_commit(store, 1))
    assert cli("backup", site / "node.yaml", site / "copy").exit_code == 0
    asyncio.run(_commit(store, 2))
    done = cli("restore", site / "node.yaml", site / "copy")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{store}: it is {site / 'copy'} now, 0.")
    assert f"{store}.replaced-1: the store that was there" in done.stdout
    assert asyncio.run(_values(store)) == [1]
    assert asyncio.run(_values(site / "data" / "edge-1.db.replaced-1")) == [2]


def test_every_file_that_is_set_aside_or_left_is_named(cli: Run, site: Path) -> None:
    assert cli("backup", site / "node.yaml", site / "copy").exit_code == 0
    data = site / "data"
    (data / "edge-1.db-wal").write_text("a log that is none")
    (data / "edge-1.db.restoring-1").write_text("half a copy")
    done = cli("restore", site / "node.yaml", site / "copy")
    assert f"{data / 'edge-1.db.replaced-1'}, {data / 'edge-1.db.replaced-1-wal'}: the store that was" in done.stdout
    assert f"{data / 'edge-1.db.restoring-1'}: left of a restore that was cut short. Remove it" in done.stdout


def test_another_nodes_copy_is_put_back_by_force_only(cli: Run, site: Path) -> None:
    others = asyncio.run(_open_and_close(site / "copy"))
    refused = cli("restore", site / "node.yaml", site / "copy")
    assert refused.exit_code == ExitCode.INVALID
    assert "say --force" in refused.stderr
    assert cli("restore", site / "node.yaml", site / "copy", "--force").exit_code == 0
    assert asyncio.run(_open_and_close(site / "data" / "edge-1.db")) == others


def test_no_copy_is_said(cli: Run, site: Path) -> None:
    refused = cli("restore", site / "node.yaml", site / "copy")
    assert refused.exit_code == ExitCode.INVALID
    assert f"there is no copy at {site / 'copy'}" in refused.stderr
