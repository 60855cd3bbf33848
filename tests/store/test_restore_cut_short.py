"""A restore that is killed, or that the disk fails, at any moment: a store is at the place, and each is whole."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Literal

import pytest

from tests.store.cut_short import each_cut, failing
from tests.store.test_backup import said
from tests.store.test_restore import site
from twingateway.errors import StoreError
from twingateway.store.restore import restore
from twingateway.store.sqlite import open_store

Left = Literal["log", "closed", "journal"]
LEFT: tuple[Left, ...] = ("log", "closed", "journal")
COPY, BEFORE = ([1, 1], [1]), ([2, 2], [1, 2])


async def left_by_a_node(tmp_path: Path, how: Left) -> tuple[Path, Path]:
    path, copy = await site(tmp_path)
    if how != "log":
        await (await open_store(path)).close()
    if how == "journal":
        leave_a_journal(path)
    return path, copy


def leave_a_journal(path: Path) -> None:
    """By who writes to a store that is not in WAL mode, and is killed when half of it is in the file."""
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE register SET time = time + 1")
        connection.execute("CREATE TABLE filler (x)")
        for _ in range(200):
            connection.execute("INSERT INTO filler VALUES (randomblob(3000))")
        os._exit(9)
    os.waitpid(child, 0)
    assert path.with_name(f"{path.name}-journal").stat().st_size


async def found(path: Path) -> tuple[list[object], list[object]]:
    store = await open_store(path)
    try:
        return await said(store)
    finally:
        await store.close()


def asides(path: Path) -> list[Path]:
    return [each for each in path.parent.iterdir() if re.fullmatch(r"node\.db\.replaced-\d", each.name)]


@pytest.mark.parametrize("how", LEFT)
async def test_killed_before_any_call_there_is_one_store_or_the_other_and_the_next_try_succeeds(
    tmp_path: Path, how: Left
) -> None:
    path, copy = await left_by_a_node(tmp_path, how)
    first = tmp_path / "first"
    shutil.copytree(path.parent, first)
    outcomes = []
    for cut in each_cut(lambda: restore(copy, path)):
        there = await found(path)
        assert there in (BEFORE, COPY), f"killed before call {cut}"
        for aside in asides(path):
            assert await found(aside) == BEFORE, f"killed before call {cut}: {aside}"
        outcomes.append(there)

        again = restore(copy, path)
        assert await found(path) == COPY
        assert await found(again.aside[0]) == there, f"killed before call {cut}"
        shutil.rmtree(path.parent)
        shutil.copytree(first, path.parent)
    assert await found(path) == COPY
    assert outcomes == sorted(outcomes, reverse=True), "the copy, once it was there"
    assert BEFORE in outcomes
    assert COPY in outcomes


@pytest.mark.parametrize("how", LEFT)
async def test_where_the_disk_fails_it_is_said_where_the_store_is(tmp_path: Path, how: Left) -> None:
    path, copy = await left_by_a_node(tmp_path, how)
    first = tmp_path / "first"
    shutil.copytree(path.parent, first)
    told: set[str] = set()
    for cut in range(100):
        with pytest.MonkeyPatch.context() as patch:
            failed = failing(patch, cut)
            try:
                restore(copy, path)
                said_was = "nothing"
            except StoreError as error:
                said_was = error.message
        if not failed:
            break
        there = await found(path)
        if "it is as it was" in said_was:
            told.add("as it was")
            assert there == BEFORE
            assert not [each for each in path.parent.iterdir() if "re" in each.suffix], "nothing is left of the try"
        elif "is whole as" in said_was:
            told.add("aside")
            assert there == BEFORE
            assert await found(Path(said_was.split()[-1])) == BEFORE
        elif "does not confirm it" in said_was:
            told.add("not synced")
            assert there == COPY
            assert await found(Path(said_was.split()[-1])) == BEFORE
        else:
            assert (said_was, there) == ("nothing", COPY), "it went another way"
        shutil.rmtree(path.parent)
        shutil.copytree(first, path.parent)
    assert told == {"as it was", "not synced"} | ({"aside"} if how != "closed" else set())
