"""A copy in the place of the store of a node that does not run.

It is copied beside that place, read from end to end and synced before anything there is touched; the store that was
there is renamed, with its write-ahead log, which would be the ruin of the copy. What the copy lacks comes from the
node's peers once it is started.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from twingateway.errors import InvalidConfig, StoreCorrupt, StoreError
from twingateway.store.backup import back_up
from twingateway.store.fsync import fsync
from twingateway.store.identity import store_id
from twingateway.store.lock import ProcessLock
from twingateway.store.opening import connect_to_read
from twingateway.store.quarantine import rename_whole


class Restored(NamedTuple):
    """`size`: bytes of the copy. `aside`: where the store is that was there before, if one was."""

    size: int
    aside: Path | None


def restore(copy: Path, store: Path, *, other: bool = False) -> Restored:
    """`other`: also if the store that is there is not the one that was copied. Raises InvalidConfig where it is not,
    or there is no copy, StoreCorrupt if the copy is damaged, StoreError if a node runs, or on the disk's account."""
    if not copy.is_file():
        raise InvalidConfig(f"there is no copy at {copy}")
    if not store.parent.is_dir():
        raise InvalidConfig(f"there is no folder {store.parent}: make it, for the user that runs the node")
    lock = ProcessLock(store)
    partial = store.with_name(f"{store.name}.restored")
    try:
        _give_to_owner(lock.path)
        size = back_up(copy, partial, replace=True)
        if not other and _id(store) not in (None, _id(partial)):
            raise InvalidConfig(
                f"{copy} is of another store than {store}: of another node's, or of one that this node had before it"
                " was damaged or lost. If it is this node's, say --force",
            )
        return Restored(size, _exchange(partial, store))
    except OSError as error:
        raise StoreError(f"{store} cannot be replaced: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
        lock.release()


def _exchange(partial: Path, store: Path) -> Path | None:
    _give_to_owner(partial)
    aside = rename_whole(store, "replaced")
    partial.rename(store)
    fsync(store.parent)
    return aside if aside.exists() else None


def _give_to_owner(made: Path) -> None:
    """What root makes is for the user that runs the node."""
    owner = made.parent.stat()
    if os.geteuid() == 0:
        os.chown(made, owner.st_uid, owner.st_gid)


def _id(path: Path) -> bytes | None:
    """None where no store can be read: it is what a copy is to take the place of."""
    if not path.is_file():
        return None
    try:
        with closing(connect_to_read(path)) as connection:
            return store_id(connection)
    except (sqlite3.Error, StoreCorrupt, UnicodeDecodeError):
        return None
