"""A copy takes the place of a store whole, or nothing is changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.test_backup import changes, said
from twingateway.errors import InvalidConfig, StoreCorrupt, StoreError
from twingateway.store.backup import back_up
from twingateway.store.migrations import STEPS, migrate
from twingateway.store.restore import restore
from twingateway.store.sqlite import open_store


async def site(tmp_path: Path) -> tuple[Path, Path]:
    """A store that a killed node left with 2 in its log, and the copy of it with 1."""
    folder = tmp_path / "data"
    folder.mkdir()
    store = await open_store(tmp_path / "node.db")
    await store.commit(changes(1))
    back_up(tmp_path / "node.db", tmp_path / "copy")
    await store.commit(changes(2))
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    await store.close()
    return folder / "node.db", tmp_path / "copy"


async def test_the_log_of_the_store_that_goes_does_not_reach_the_copy(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    restored = restore(copy, path)
    assert restored.size == path.stat().st_size
    store = await open_store(path)
    assert await said(store) == ([1, 1], [1])
    await store.close()

    aside = path.with_name("node.db.replaced-1")
    assert restored.aside == (aside, aside.with_name("node.db.replaced-1-wal"))
    before = await open_store(aside)
    assert await said(before) == ([2, 2], [1, 2]), "it is set aside with its log"
    await before.close()


async def test_a_log_without_its_store_does_not_reach_it_either(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    path.unlink()
    assert restore(copy, path).aside == (path.with_name("node.db.replaced-1-wal"),)
    store = await open_store(path)
    assert await said(store) == ([1, 1], [1])
    await store.close()
    (aside,) = restore(copy, path).aside
    assert aside == path.with_name("node.db.replaced-2"), "the log of another store is not beside it"


async def test_each_store_that_goes_has_a_name_of_its_own(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    gone = [restore(copy, path).aside[0] for _ in range(2)]
    assert gone == [path.with_name(f"node.db.replaced-{n}") for n in (1, 2)]


async def test_a_restore_that_was_cut_short_is_done_with_the_file_that_it_left(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    for name in (
        "node.db.restored",
        "node.db.restored.partial",
        "node.db.restoring-1",
        "node.db.restoring-1.partial",
    ):
        left = copy.rename(path.with_name(name))
        restored = restore(left, path)
        assert restored.left == ((left,) if "restoring" in name else ()), "it may be removed now"
        store = await open_store(path)
        assert await said(store) == ([1, 1], [1])
        await store.close()
        copy = left


async def test_what_it_did_not_make_it_does_not_remove(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    names = ["node.db.restored", "node.db.restoring-1", "node.db.restoring-2-wal", "node.db.replaced-1.partial"]
    for name in names:
        path.with_name(name).write_text("precious")
    restored = restore(copy, path)
    assert [path.with_name(name).read_text() for name in names] == ["precious"] * 4
    assert sorted(restored.left) == [path.with_name(name) for name in sorted(names[1:])], "but it says what is there"


async def test_all_of_a_store_whose_log_is_damaged_is_set_aside(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    log = path.with_name("node.db-wal")
    content = bytearray(log.read_bytes())
    content[32 + 24 + 100] ^= 1
    log.write_bytes(content)
    before = [path.read_bytes(), log.read_bytes()]
    assert [each.read_bytes() for each in restore(copy, path).aside] == before


async def test_while_a_node_runs_nothing_is_changed(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    store = await open_store(path)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}: stop that node"):
        restore(copy, path)
    assert await said(store) == ([2, 2], [1, 2])
    await store.close()


async def test_a_damaged_copy_changes_nothing(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute("UPDATE register SET value = '2' WHERE name = 'r0'")
    connection.close()
    with pytest.raises(StoreCorrupt):
        restore(copy, path)
    store = await open_store(path)
    assert await said(store) == ([2, 2], [1, 2])
    await store.close()
    assert not [each for each in path.parent.iterdir() if "re" in each.suffix], "nothing is left of the try"


async def test_a_copy_of_another_store_is_for_who_insists(tmp_path: Path) -> None:
    path, _ = await site(tmp_path)
    other = await open_store(tmp_path / "other.db")
    await other.commit(changes(7))
    await other.close()
    there = set(path.parent.iterdir()), set(tmp_path.iterdir())
    with pytest.raises(InvalidConfig, match="had before it was damaged, lost or restored"):
        restore(tmp_path / "other.db", path)
    left = (set(path.parent.iterdir()), set(tmp_path.iterdir()))
    assert left == (there[0] | {path.with_name("node.db-lock")}, there[1]), "nothing is left of the try"
    restore(tmp_path / "other.db", path, other=True)
    store = await open_store(path)
    assert await said(store) == ([7, 7], [7])
    await store.close()


async def test_a_copy_from_before_a_restore_that_the_peers_noticed_is_for_who_insists(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    restore(copy, path)
    store = await open_store(path)
    await store.renew_identity()
    await store.close()
    with pytest.raises(InvalidConfig, match=r"or restored\. If it is this node's, say --force"):
        restore(copy, path)


@pytest.mark.parametrize("version", range(1, len(STEPS)))
async def test_what_was_copied_before_an_upgrade_is_put_back_behind_it(tmp_path: Path, version: int) -> None:
    path, copy = tmp_path / "node.db", tmp_path / "copy"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, STEPS[:version])
    back_up(path, copy)
    store = await open_store(path)
    await store.commit(changes(1))
    await store.close()
    restore(copy, path)
    store = await open_store(path)
    assert await said(store) == ([], [])
    await store.close()


async def test_a_copy_that_this_program_cannot_run_on_changes_nothing(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(f"INSERT INTO schema_version VALUES ({len(STEPS) + 1})")
    with pytest.raises(
        StoreError, match=f"^{copy}: the file has schema version {len(STEPS) + 1}, this program knows"
    ):
        restore(copy, path)
    store = await open_store(path)
    assert await said(store) == ([2, 2], [1, 2])
    await store.close()


async def test_nobody_can_leave_a_journal_beside_what_was_put_back(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    restore(copy, path)
    assert path.read_bytes()[18:20] == b"\2\2", "it is written with a write-ahead log, though no node has opened it"
    assert {each.name for each in path.parent.glob("node.db-*")} == {"node.db-lock"}


async def test_beside_the_copy_nothing_is_made(tmp_path: Path) -> None:
    """A plain copy of a stopped node's file says that it has a write-ahead log."""
    path, _ = await site(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    plain = tmp_path / "elsewhere" / "node.db"
    plain.write_bytes((tmp_path / "node.db").read_bytes())
    restore(plain, path)
    assert list(plain.parent.iterdir()) == [plain]
    store = await open_store(path)
    assert await said(store) == ([2, 2], [1, 2])
    await store.close()


async def test_what_is_wrong_with_a_copy_is_said_of_the_copy(tmp_path: Path) -> None:
    path, _ = await site(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(StoreError, match=f"^{tmp_path / 'empty'} is empty: no node has written to it"):
        restore(tmp_path / "empty", path)
    with pytest.raises(InvalidConfig, match="there is no copy"):
        restore(tmp_path, path)
    with pytest.raises(StoreError, match=r"^the copy .* cannot be read: File name too long"):
        restore(tmp_path / ("n" * 256), path)


async def test_a_store_that_nobody_can_read_is_replaced_without_a_question(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    path.write_bytes(b"not a store at all")
    restore(copy, path)
    store = await open_store(path)
    assert await said(store) == ([1, 1], [1])
    await store.close()


async def test_the_copy_belongs_to_who_runs_the_node_if_root_puts_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy = await site(tmp_path)
    given: list[tuple[str, int]] = []

    def give(descriptor: int, user: int, group: int) -> None:
        given.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, user))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", give)
    restore(copy, path)
    assert ("node.db-lock", path.stat().st_uid) in given
    assert ("node.db.restoring-1", path.stat().st_uid) in given
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
@pytest.mark.parametrize("known_by", ["store", "lock", "folder"])
async def test_who_runs_the_node_is_known_by_its_store_then_by_its_lock_then_by_the_folder(
    tmp_path: Path, known_by: str
) -> None:
    path, copy = await site(tmp_path)
    lock = path.with_name("node.db-lock")
    lock.touch()
    os.chown(path.parent, 3 if known_by == "folder" else 0, 7)
    os.chown(lock, 2 if known_by != "folder" else 0, 7)
    os.chown(path, 1 if known_by == "store" else 0, 7)
    restored = restore(copy, path)
    user = {"store": 1, "lock": 2, "folder": 3}[known_by]
    assert {(each.stat().st_uid, each.stat().st_gid) for each in (path, lock)} == {(user, 7)}
    assert restored.aside[0].stat().st_uid == (1 if known_by == "store" else 0), "it is whose it was"


async def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.with_name("node.db-lock").symlink_to(precious)
    with pytest.raises(StoreError, match=r"node\.db-lock is a link, and must be a file: remove it"):
        restore(copy, path)
    assert precious.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to what is another's")
async def test_root_does_not_follow_a_users_link_to_what_is_not_theirs(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.unlink()
    path.symlink_to(precious)
    os.chown(path, 1, 1, follow_symlinks=False)
    with pytest.raises(StoreError, match=f"{path} is a link that user 1 made to what is another's"):
        restore(copy, path)
    os.chown(precious, 1, 1)
    restore(copy, path)
    assert path.is_symlink()


async def test_a_store_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    path, copy = await site(tmp_path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert restore(copy, link).aside[0] == path.with_name("node.db.replaced-1")
    assert link.is_symlink()
    store = await open_store(path)
    assert await said(store) == ([1, 1], [1])
    await store.close()


async def test_links_that_lead_in_a_circle_lead_to_no_store(tmp_path: Path) -> None:
    _, copy = await site(tmp_path)
    link = tmp_path / "link.db"
    link.symlink_to(link)
    with pytest.raises(StoreError, match="cannot be reached: Too many levels of symbolic links"):
        restore(copy, link)


async def test_where_there_is_no_folder_it_has_to_be_made(tmp_path: Path) -> None:
    _, copy = await site(tmp_path)
    with pytest.raises(InvalidConfig, match="there is no folder"):
        restore(copy, tmp_path / "nowhere" / "node.db")
