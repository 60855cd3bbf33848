"""A copy of a store's file, from one moment, while a node writes to it or while none does.

SQLite copies it page by page within one read transaction, so no commit is in it by half. The copy is made beside its
place, looked at from end to end, synced, and only then given its name: whatever ends this early, a file of that name
is a whole one. The store itself is not changed, nor is a write-ahead log that a node which was killed has left: that
is the node's to judge.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twingateway.errors import InvalidConfig, StoreCorrupt, StoreError
from twingateway.store.fsync import fsync
from twingateway.store.integrity import is_of, require_head, require_whole_file
from twingateway.store.migrations import APPLICATION_ID, STEPS, require_schema, schema_version
from twingateway.store.opening import connect_to_read
from twingateway.store.rows import read_snapshot
from twingateway.store.writer import translate

#: Seconds to wait for the node when it has the file to itself, as at its start.
_BUSY_TIMEOUT = 30.0


def back_up(store: Path, target: Path, *, replace: bool = False) -> int:
    """Copy the store to `target`; the copy's size in bytes. A file that is there already is only taken the place of
    to `replace` it. Raises InvalidConfig where that is not so or there is no store, StoreCorrupt if the store is
    damaged, StoreError."""
    if not store.is_file():
        raise InvalidConfig(f"there is no store at {store}: has this node ever run?")
    partial = target.with_name(f"{target.name}.partial")
    try:
        if target.exists():
            _require_replaceable(target, store, replace)
        if partial.exists() and partial.samefile(store):
            raise InvalidConfig(f"{partial} is the store: nothing was written. Give the copy another name")
        partial.unlink(missing_ok=True)
        try:
            copy_whole(store, partial)
            size = partial.stat().st_size
            partial.replace(target)
            fsync(target.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    return size


def _require_replaceable(target: Path, store: Path, replace: bool) -> None:
    """Only a copy is replaced by the next one: to name another file is a slip, be it insisted on."""
    if target.samefile(store):
        raise InvalidConfig(f"{target} is the store: nothing was written. Give the copy another name")
    if not target.is_file() or (target.stat().st_size and not is_of(target, APPLICATION_ID)):
        raise InvalidConfig(f"{target} is no copy of a store: it is not replaced. Give the copy another name")
    if not replace:
        raise InvalidConfig(f"{target} exists already: nothing was written; --force replaces it")


def copy_whole(store: Path, new: Path, *, still: bool = False) -> None:
    """Make the file `new`: a copy that was looked at from end to end and is on the disk. `still`: nobody writes to
    the store. What there is of the copy when an error is raised is the caller's to remove. Raises OSError,
    StoreCorrupt if the store is damaged, StoreError."""
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(store, new, still)
        _look_over(new)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        translated = translate(error)
        raise type(translated)(f"{store}: {translated.message}") from error
    fsync(new)


def _copy(store: Path, new: Path, still: bool) -> None:
    with closing(connect_to_read(store, _BUSY_TIMEOUT, still=still)) as source, closing(sqlite3.connect(new)) as copy:
        if schema_version(source) == 0:
            raise StoreError(f"{store} is empty: no node has written to it")
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def _look_over(partial: Path) -> None:
    """Also at what is only read when a node is started. Raises StoreCorrupt."""
    require_head(partial, APPLICATION_ID)
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        if schema_version(copy) == len(STEPS):
            require_schema(copy)
            require_whole_file(copy)
            read_snapshot(copy)
        elif (verdict := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise StoreCorrupt(f"the store is damaged ({verdict})")
