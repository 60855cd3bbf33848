"""`twingateway backup`: from the node file to a file that is a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode
from twingateway.store.sqlite import open_store

FILE = """
node: {name: edge-1, data_dir: state}
store: {path: "{name}.sqlite"}
api: {address: "0.0.0.0:80", token: "${NOT_SET}"}
devices: [nothing.yaml]
"""


async def _open_and_close(path: Path) -> None:
    await (await open_store(path)).close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    (tmp_path / "node.yaml").write_text(FILE)
    asyncio.run(_open_and_close(tmp_path / "state" / "edge-1.sqlite"))
    return tmp_path


def test_the_store_is_found_by_the_node_file_whatever_else_is_wrong_with_that(cli: Run, site: Path) -> None:
    done = cli("backup", site / "node.yaml", site / "copy")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{site / 'copy'}: {site / 'state' / 'edge-1.sqlite'} as it was just now, 0.")
    asyncio.run(_open_and_close(site / "copy"))


def test_a_file_is_replaced_by_force_only(cli: Run, site: Path) -> None:
    assert cli("backup", site / "node.yaml", site / "copy").exit_code == 0
    refused = cli("backup", site / "node.yaml", site / "copy")
    assert refused.exit_code == ExitCode.INVALID
    assert "exists already" in refused.stderr
    assert cli("backup", site / "node.yaml", site / "copy", "--force").exit_code == 0


def test_a_node_file_that_does_not_say_where_the_store_is_is_shown_with_its_line(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("node:\n  name: a b\n  data_dir: ${NOT_SET}\n")
    refused = cli("backup", tmp_path / "node.yaml", tmp_path / "copy")
    assert refused.exit_code == ExitCode.INVALID
    assert f"{tmp_path / 'node.yaml'}:2: node.name: " in refused.stderr
    assert "NOT_SET is not set" in refused.stderr


def test_a_node_that_never_ran_has_no_store(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("node: {name: edge-1}")
    refused = cli("backup", tmp_path / "node.yaml", tmp_path / "copy")
    assert refused.exit_code == ExitCode.INVALID
    assert "has this node ever run?" in refused.stderr
