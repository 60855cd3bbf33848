"""Moving a damaged store out of the way, whole, so that a person can look at it and a fresh one can begin."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from twingateway.errors import StoreError
from twingateway.store.lock import ProcessLock


def set_aside(path: Path) -> Path:
    """Rename the file at `path`, with its write-ahead log, to `….corrupt-N` of the lowest N that is free → the new
    path. The store must be closed. Raises StoreError."""
    lock = ProcessLock(path)
    try:
        aside = next(new for n in count(1) if not (new := path.with_name(f"{path.name}.corrupt-{n}")).exists())
        # The log first: without it the file is an older state of itself, but the log alone is nothing.
        for suffix in ("-wal", ""):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreError(f"the damaged {path} cannot be moved aside: {error.strerror}") from error
    finally:
        lock.release()
    return aside
