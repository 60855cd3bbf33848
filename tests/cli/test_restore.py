"""`twingateway restore`: from a copy to a store that a node runs on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode
from twingateway.store.sqlite import open_store


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
    assert cli("backup", site / "node.yaml", site / "copy").exit_code == 0
    done = cli("restore", site / "node.yaml", site / "copy")
    assert done.exit_code == 0, done.output
    store = site / "data" / "edge-1.db"
    assert done.stdout.startswith(f"{store}: it is {site / 'copy'} now, 0.")
    assert f"{store}.replaced-1: the store that was there" in done.stdout
    assert asyncio.run(_open_and_close(store)) == asyncio.run(_open_and_close(site / "copy"))


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
