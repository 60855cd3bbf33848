"""A store out of the way, whole, so that a person can look at it and another can take its place.

Beside its file SQLite keeps what was written last: a write-ahead log, or a journal by which half a transaction is
undone. Either belongs to the file by name alone. Without it the file is an older state of itself, or no store at all;
and it is the ruin of any other file of that name. So each is beside the new name before the file is, and only then
goes from beside the old one: whatever ends this early, a store that has a name is whole.
"""

from __future__ import annotations

import glob
import os
import shutil
from itertools import count
from pathlib import Path

from twingateway.errors import StoreError
from twingateway.store.fsync import fsync
from twingateway.store.lock import ProcessLock

_LOGS = ("-wal", "-journal")
#: Of a name that a copy gets once it is whole.
_PARTIAL = ".partial"


def set_aside(path: Path) -> Path | None:
    """Rename the damaged store at `path`, which must be closed, to `….corrupt-N` → that path; None if it is gone.
    Raises StoreError."""
    path = path.resolve()
    lock = ProcessLock(path)
    try:
        if not path.exists():
            drop_logs(path)
            return None
        aside = free_name(path, "corrupt")
        for log in logs(path):
            _link(beside(path, log), beside(aside, log))
        fsync(path.parent)
        path.rename(aside)
        drop_logs(path)
    except OSError as error:
        raise StoreError(f"the damaged {path} cannot be moved aside: {error.strerror}") from error
    finally:
        lock.release()
    return aside


def keep_aside(path: Path) -> tuple[Path, ...]:
    """What is at `path` is kept as `….replaced-N`, so that another file may take the place → all that is kept of it.

    A store without logs gets a second name; one that has that from a try before keeps it. Otherwise all is copied:
    what is there may be changed then. Its lock is the caller's. Raises OSError, and nothing is kept then.
    """
    found = logs(path)
    if not found and (named := _second_name(path)) is not None:
        return (named,)
    aside = free_name(path, "replaced")
    kept = [aside] * path.exists() + [beside(aside, log) for log in found]
    try:
        for log in found:
            _copy(beside(path, log), beside(aside, log))
        if path.exists():
            (_copy if found else _link)(path, aside)
        fsync(path.parent)
    except BaseException:
        for each in kept:
            each.unlink(missing_ok=True)
        raise
    return tuple(kept)


def _second_name(path: Path) -> Path | None:
    names = path.parent.glob(f"{glob.escape(path.name)}.replaced-*")
    return next((each for each in names if path.exists() and not each.is_symlink() and each.samefile(path)), None)


def logs(path: Path) -> list[str]:
    """The suffixes of what SQLite keeps beside the file and is not empty."""
    return [log for log in _LOGS if (file := beside(path, log)).is_file() and file.stat().st_size]


def drop_logs(path: Path) -> None:
    """For good: the names are gone from the disk. Raises OSError."""
    for suffix in (*_LOGS, "-shm"):
        beside(path, suffix).unlink(missing_ok=True)
    fsync(path.parent)


def free_name(path: Path, why: str) -> Path:
    """`….why-N` of the lowest N of which there is nothing at all."""
    taken = {each.name for each in path.parent.iterdir()}
    suffixes = ("", *_LOGS, "-shm", _PARTIAL)
    names = (f"{path.name}.{why}-{n}" for n in count(1))
    return path.with_name(next(name for name in names if taken.isdisjoint(name + suffix for suffix in suffixes)))


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _link(file: Path, name: Path) -> None:
    """Copied where the file system has one name for each file."""
    try:
        os.link(file, name)
    except OSError:
        _copy(file, name)


def _copy(file: Path, name: Path) -> None:
    """For the owner that it has."""
    partial = beside(name, _PARTIAL)
    try:
        with file.open("rb") as read, partial.open("xb") as written:
            os.fchmod(written.fileno(), 0o600)
            shutil.copyfileobj(read, written, 1 << 20)
            if os.geteuid() == 0:
                owner = os.fstat(read.fileno())
                os.fchown(written.fileno(), owner.st_uid, owner.st_gid)
            written.flush()
            os.fsync(written.fileno())
        partial.rename(name)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
