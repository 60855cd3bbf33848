"""A store on a disk that is really full: what is vital goes on in the room set aside, the rest is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twingateway.errors import StoreFull
from twingateway.ports.store import Changes
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import entry, filed
from twingateway.testing.store_contract import held, stored

SIZE = 256 * 1024
UNSHARE = ["unshare", "-rm"]


def can_mount() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*UNSHARE, "true"], check=False).returncode


needs_mount = pytest.mark.skipif(not can_mount(), reason="no private mounts here: no small disk")


async def on_a_small_disk(disk: Path) -> None:
    """Runs in a process of its own, with `disk` 2 MiB large."""
    store = await open_store(disk / "node.db", SIZE)
    await store.commit(Changes(registers=[stored(f"r{n}", 1, n, "x" * 500) for n in range(1, 200)]))
    taken = await fill(store, disk)
    for seq in range(2, 400):
        await store.commit(Changes(registers=[stored(f"r{seq % 199 + 1}", seq, 1000 + seq, "y" * 500)], vital=True))
    for new in (Changes(registers=[stored("new", 1, 9999)]), Changes(journal=filed(entry(1)))):
        with pytest.raises(StoreFull):
            await store.commit(new)
    with pytest.raises(StoreFull):
        await store.receive(filed(entry(1, journal_id=b"o" * 16, seq=1)))
    with pytest.raises(StoreFull):
        await store.recover()
    await store.reserve(10)
    store._lock.release()  # as a killed process leaves it

    store = await open_store(disk / "node.db", SIZE)
    registers = await held(store)
    assert registers["r199"].register.version.seq == 397
    assert len([name for name in registers if name.startswith("bulk")]) == taken, "acknowledged, so it is there"
    await store.commit(Changes(registers=[stored("r1", 500, 5000)], vital=True))
    with pytest.raises(StoreFull):
        await store.commit(Changes(registers=[stored("new", 1, 9999)]))

    await store.close()  # what that frees is kept for the next opening, whatever others take
    occupy(disk / "more ballast")
    store = await open_store(disk / "node.db", SIZE)
    await store.commit(Changes(registers=[stored("r1", 501, 5001)], vital=True))
    with pytest.raises(StoreFull):
        await store.recover()

    (disk / "ballast").unlink()
    await store.recover()
    assert (disk / "node.db-spare").stat().st_blocks * 512 >= SIZE
    await store.commit(Changes(registers=[stored("new", 1, 9999)]))
    await store.close()


def occupy(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


async def fill(store: SqliteStore, disk: Path) -> int:
    """Leave no space, to the last byte, and write until the store says so; how much it took."""
    occupy(disk / "ballast")
    for n in range(1000):
        try:
            await store.commit(Changes(registers=[stored(f"bulk{n}", 1, 2000 + n, "x" * 4000)]))
        except StoreFull:
            return n
    raise AssertionError("it is never full")


def on_two_mebibytes(disk: Path, name: str) -> None:
    """Run that function of this module where `disk` is one of 2 MiB."""
    program = (
        f"import asyncio, pathlib; from tests.store import test_spare; "
        f"asyncio.run(test_spare.{name}(pathlib.Path({str(disk)!r})))"
    )
    script = f'mount -t tmpfs -o size=2m none {disk} && exec "$0" -c "$1"'
    command = [*UNSHARE, "sh", "-c", script, sys.executable, program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@needs_mount
def test_a_full_disk_takes_what_is_vital_also_after_a_start_and_everything_once_there_is_room(tmp_path: Path):
    on_two_mebibytes(tmp_path, "on_a_small_disk")


async def on_a_disk_that_is_smaller_than_the_spare(disk: Path) -> None:
    """Runs in a process of its own, with `disk` 2 MiB large."""
    store = await open_store(disk / "node.db", 16 * 1024 * 1024)
    await store.commit(Changes(registers=[stored("new", 1, 1)]))
    assert (disk / "node.db-spare").stat().st_size == 2 * 1024 * 1024 // 8
    await fill(store, disk)
    with pytest.raises(StoreFull, match="writing goes on when 384 KiB are free on its disk"):
        await store.commit(Changes(registers=[stored("newer", 1, 9999)]))
    await store.close()


@needs_mount
def test_a_disk_that_is_smaller_than_the_spare_is_not_taken_for_full(tmp_path: Path):
    on_two_mebibytes(tmp_path, "on_a_disk_that_is_smaller_than_the_spare")


async def test_no_spare_means_no_file(tmp_path: Path):
    store = await open_store(tmp_path / "node.db", SIZE)
    await store.close()
    assert (tmp_path / "node.db-spare").stat().st_size == SIZE
    store = await open_store(tmp_path / "node.db")
    await store.recover()
    await store.close()
    assert not (tmp_path / "node.db-spare").exists()
