"""Damage to the write-ahead log never takes a durable commit away unnoticed, and a torn end is no damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from twingateway.errors import StoreCorrupt
from twingateway.ports.store import Changes
from twingateway.store.sqlite import open_store
from twingateway.testing.store_contract import held, stored

COMMITS = 8
FRAME = 24 + 4096


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """A folder with a store as a killed process leaves it: all of its commits are in the log."""
    living = tmp_path / "living"
    store = await open_store(living / "node.db")
    for n in range(1, COMMITS + 1):
        await store.commit(Changes(registers=[stored("speed", n, n, f"value {n}")]))
    shutil.copytree(living, tmp_path / "left")
    await store.close()
    return tmp_path / "left"


def flip(log: Path, offset: int) -> None:
    content = bytearray(log.read_bytes())
    content[offset] ^= 0x10
    log.write_bytes(content)


async def read(folder: Path) -> int:
    """The number of the commit that is found."""
    store = await open_store(folder / "node.db")
    try:
        register = (await held(store))["speed"].register
    finally:
        await store.close()
    assert register.value == f"value {register.version.seq}"
    return register.version.seq


async def test_a_whole_log_is_taken(left: Path):
    assert await read(left) == COMMITS


async def test_every_flipped_bit_before_the_last_commit_is_noticed(left: Path, tmp_path: Path):
    size = (left / "node.db-wal").stat().st_size
    last = (size - 32) % FRAME == 0 and size - FRAME
    assert last
    for number, offset in enumerate([*range(0, 32, 5), *range(32, last, 1013)]):
        damaged = tmp_path / f"damaged{number}"
        shutil.copytree(left, damaged)
        flip(damaged / "node.db-wal", offset)
        with pytest.raises(StoreCorrupt):
            await read(damaged)


@pytest.mark.parametrize("part", [0, 24, 512, 2048, FRAME - 1])
async def test_a_torn_last_commit_is_dropped(left: Path, part: int):
    log = left / "node.db-wal"
    log.write_bytes(log.read_bytes()[: -FRAME + part])
    assert await read(left) == COMMITS - 1
