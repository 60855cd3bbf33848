"""Moving a store out of the way, whole, so that a person can look at it and another can begin."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from twingateway.errors import StoreError
from twingateway.store.fsync import fsync
from twingateway.store.lock import ProcessLock


def set_aside(path: Path) -> Path:
    """Rename the damaged store at `path`, which must be closed, to `….corrupt-N` → that path. Raises StoreError."""
    lock = ProcessLock(path)
    try:
        return rename_whole(path, "corrupt")
    except OSError as error:
        raise StoreError(f"the damaged {path} cannot be moved aside: {error.strerror}") from error
    finally:
        lock.release()


def rename_whole(path: Path, why: str) -> Path:
    """Rename the file at `path`, with its write-ahead log, to `….why-N` of the lowest N that is free → the new path.
    Its lock is the caller's. Raises OSError."""
    taken = {each.name for each in path.parent.iterdir()}
    name = next(new for n in count(1) if taken.isdisjoint({new := f"{path.name}.{why}-{n}", f"{new}-wal"}))
    # The log first: without it the file is an older state of itself, but the log alone is nothing.
    for suffix in ("-wal", ""):
        if path.name + suffix in taken:
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    fsync(path.parent)
    return path.with_name(name)
