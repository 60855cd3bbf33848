"""A copy in the place of the store of a node that does not run.

Whatever ends this early, there is a store at the place: the one before, whole, or the copy, whole. And one that was
set aside is whole. So:

1. The copy is copied beside the place, under a name that nothing has, read from end to end and synced.
2. The store that is there gets a second name; if SQLite keeps a log or a journal beside it, it is copied with that,
   since it is changed next.
3. SQLite puts that log into the file at the place. (If it cannot, the store is damaged, and is without it from 4 on.)
4. What is left beside the file is removed, and synced: it would be the ruin of the copy.
5. The copy is renamed to the place, and that is synced.

A restore that was cut short is done by another one, under other names: it removes nothing that it did not make. What
the copy lacks comes from the node's peers once it is started.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from twingateway.errors import InvalidConfig, StoreError
from twingateway.store.backup import copy_whole
from twingateway.store.fsync import fsync
from twingateway.store.lock import ProcessLock
from twingateway.store.migrations import known_version
from twingateway.store.opening import connect, connect_to_read
from twingateway.store.quarantine import beside, drop_logs, free_name, keep_aside, logs
from twingateway.store.writer import translate

#: What a copy is while it is made: `….restoring-N`.
_PARTIAL = "restoring"


class PutBack(NamedTuple):
    """`size`: bytes of the copy. `aside`: where the store is that was there before, if one was, and its logs. `left`:
    what restores that were cut short have left."""

    size: int
    aside: tuple[Path, ...]
    left: tuple[Path, ...]


def restore(copy: Path, store: Path, *, other: bool = False) -> PutBack:
    """`other`: also if the store that is there is not the one that was copied. Raises InvalidConfig where it is not,
    or there is no copy, StoreCorrupt if the copy is damaged, StoreError if a node runs, or on the disk's account."""
    try:
        store = _place(store)
        owner = _owner(store) if os.geteuid() == 0 else None
    except OSError as error:
        raise StoreError(f"{store} cannot be reached: {error.strerror}") from error
    _require_copy(copy)
    lock = ProcessLock(store)
    try:
        if owner is not None:
            lock.give_to(owner.st_uid, owner.st_gid)
        left = _left(store)
        partial = free_name(store, _PARTIAL)
        try:
            copy_whole(copy, partial, still=not logs(copy.resolve()))
            _make_ready(copy, partial, store, other)
            if owner is not None:
                _give(partial, owner)
            size = partial.stat().st_size
            aside = _exchange(partial, store)
        finally:
            _remove(partial)
        return PutBack(size, aside, left)
    except OSError as error:
        raise StoreError(f"{store} cannot be replaced: {error.strerror}; it is as it was") from error
    finally:
        lock.release()


def _left(store: Path) -> tuple[Path, ...]:
    name = glob.escape(store.name)
    return tuple(
        each for left in (f"{_PARTIAL}-*", "replaced-*.partial") for each in store.parent.glob(f"{name}.{left}")
    )


def _require_copy(copy: Path) -> None:
    try:
        if not copy.is_file():
            raise InvalidConfig(f"there is no copy at {copy}")
        copy.open("rb").close()
    except OSError as error:
        raise StoreError(f"the copy {copy} cannot be read: {error.strerror}") from error


def _make_ready(copy: Path, partial: Path, store: Path, other: bool) -> None:
    """Of a version that the node can run on, and of the store it had. With a write-ahead log from the first, so that
    nobody leaves a journal beside it."""
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            known_version(connection)
            connection.execute("PRAGMA journal_mode = WAL")
    except (sqlite3.Error, StoreError) as error:
        raise StoreError(f"{copy}: {translate(error).message}") from error
    fsync(partial)
    if not other and _id(store) not in (None, _id(partial)):
        raise InvalidConfig(
            f"{copy} is of another store than {store}: of another node's, or of one that this node had before it"
            " was damaged, lost or restored. If it is this node's, say --force",
        )


def _exchange(partial: Path, store: Path) -> tuple[Path, ...]:
    """Steps 2 to 5. Raises OSError if all is as it was, StoreError if it is not."""
    aside = keep_aside(store)
    try:
        _put_logs_in(store)
        drop_logs(store)
        partial.replace(store)
    except OSError as error:
        if not aside or _taken_back(aside[0], store):
            raise
        told = f"{store} cannot be replaced: {error.strerror}. What is there is whole as {aside[0]}"
        raise StoreError(told) from error
    try:
        fsync(store.parent)
    except OSError as error:
        was = f"; what was there is {aside[0]}" if aside else ""
        raise StoreError(
            f"{store} is the copy now, but the disk does not confirm it: {error.strerror}{was}"
        ) from error
    return aside


def _remove(partial: Path) -> None:
    """What cannot be removed is told by the next one."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            beside(partial, suffix).unlink(missing_ok=True)


def _taken_back(aside: Path, store: Path) -> bool:
    """True if it was a second name of a store that still has its first one."""
    with suppress(OSError):
        if aside.samefile(store):
            aside.unlink()
            return True
    return False


def _put_logs_in(store: Path) -> None:
    """Best effort: what cannot be read is kept aside as it is."""
    if store.exists() and logs(store):
        with suppress(sqlite3.Error), closing(connect(store)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _place(store: Path) -> Path:
    """Where the links end. Root follows those that root made, and who owns what they lead to."""
    with suppress(FileNotFoundError):
        store.stat()  # what cannot be reached, as by links in a circle, is no place
    place = store.resolve()
    if not place.parent.is_dir():
        raise InvalidConfig(f"there is no folder {place.parent}: make it, for the user that runs the node")
    owners = {0, (place if place.exists() else place.parent).stat().st_uid}
    link = store
    while os.geteuid() == 0 and link.is_symlink():
        if (maker := link.lstat().st_uid) not in owners:
            raise StoreError(f"{link} is a link that user {maker} made to what is another's: is {place} the store?")
        link = link.parent / link.readlink()
    return place


def _owner(store: Path) -> os.stat_result:
    """Who runs the node: its user has the store, or the lock of the one that was there, or the folder. What is root's
    of these may have come there by hand."""
    lock = beside(store, "-lock")
    found = [each.lstat() for each in (store, lock, store.parent) if os.path.lexists(each)]
    return next((each for each in found if each.st_uid), found[-1])


def _give(made: Path, owner: os.stat_result) -> None:
    descriptor = os.open(made, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def _id(store: Path) -> object:
    """None where no store can be read: it is what a copy is to take the place of."""
    with (
        suppress(sqlite3.Error, UnicodeDecodeError),
        closing(connect_to_read(store, still=not logs(store))) as connection,
    ):
        for (found,) in connection.execute("SELECT store_id FROM store"):  # of any version
            return found
    return None
