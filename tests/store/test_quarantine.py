"""A damaged store goes out of the way with its log, or stays with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.store.cut_short import each_cut
from tests.store.test_backup import changes, said
from tests.store.test_restore import site
from twingateway.store.quarantine import set_aside
from twingateway.store.sqlite import open_store


async def test_killed_before_any_call_the_store_has_its_log_wherever_it_is(tmp_path: Path) -> None:
    path, _ = await site(tmp_path)
    first = tmp_path / "first"
    shutil.copytree(path.parent, first)
    aside, ends = path.with_name("node.db.corrupt-1"), set()
    for cut in each_cut(lambda: set_aside(path)):
        store = await open_store(aside if aside.exists() else path)
        assert await said(store) == ([2, 2], [1, 2]), f"killed before call {cut}"
        await store.close()
        if aside.exists():
            fresh = await open_store(path)
            assert await said(fresh) == ([], []), "nothing of the log that is left reaches it"
            await fresh.commit(changes(7))
            await fresh.close()
        ends.add(aside.exists())
        shutil.rmtree(path.parent)
        shutil.copytree(first, path.parent)
    assert ends == {True, False}
    assert aside.exists()
    assert not path.with_name("node.db-wal").exists()


async def test_of_a_store_behind_a_link_the_file_goes_and_the_link_stays(tmp_path: Path) -> None:
    path, _ = await site(tmp_path)
    link = tmp_path / "node"
    link.symlink_to(path)
    assert set_aside(link) == path.with_name("node.db.corrupt-1")
    store = await open_store(link)
    assert await said(store) == ([], [])
    await store.close()
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
