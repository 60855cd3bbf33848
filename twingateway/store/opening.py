"""A store's file, opened: locked, made if there was none, whole, of this version, and with a new boot begun in it.

A file that is damaged, or another program's, is left as it is.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from twingateway.errors import StoreError, StoreFull
from twingateway.ports.store import StoreIdentity
from twingateway.store.fsync import fsync
from twingateway.store.identity import begin_boot, store_id
from twingateway.store.integrity import require_head, require_keys, require_sound
from twingateway.store.lock import ProcessLock
from twingateway.store.migrations import APPLICATION_ID, migrate, require_schema, schema_version
from twingateway.store.spare import Spare
from twingateway.store.wal import require_whole
from twingateway.store.writer import translate

#: Seconds to wait for a reader (a backup tool, a shell) that keeps the file locked.
BUSY_TIMEOUT = 5.0


class Opened(NamedTuple):
    """`connection`: the one that writes. `low`: there is no room for all that is to be set aside."""

    path: Path
    lock: ProcessLock
    connection: sqlite3.Connection
    identity: StoreIdentity
    spare: Spare
    low: bool


def open_file(path: Path, most_spare: int) -> Opened:
    """`most_spare`: bytes. Raises StoreError, StoreFull or StoreCorrupt."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be created: {error.strerror}") from error
    path = path.resolve()
    lock = ProcessLock(path)
    try:
        _create(path)
        spare = Spare(path, most_spare)
        try:
            connection, identity = _begin(path)
            low = not spare.hold()
        except sqlite3.Error as error:
            if not (isinstance(translate(error), StoreFull) and spare.release()):
                raise
            connection, identity = _begin(path)
            low = True
        connection.execute(f"PRAGMA wal_autocheckpoint = {spare.log_pages}")
    except BaseException as error:
        lock.release()
        if isinstance(error, (StoreError, sqlite3.Error, UnicodeDecodeError)):
            translated = translate(error)
            raise type(translated)(f"{path}: {translated.message}") from error
        raise
    return Opened(path, lock, connection, identity, spare, low)


def connect(path: Path) -> sqlite3.Connection:
    """Another connection to the file, for any one thread at a time."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def connect_to_read(path: Path, timeout: float = BUSY_TIMEOUT, *, still: bool = False) -> sqlite3.Connection:
    """A connection that may only read, for any one thread at a time: it puts no write-ahead log into the main file
    when it is closed. Beside a file that is `still` (nobody writes to it, and it has no log) it makes none either, so
    that it can be read where nothing can be written."""
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, check_same_thread=False)


def _begin(path: Path) -> tuple[sqlite3.Connection, StoreIdentity]:
    connection = connect(path)
    try:
        return connection, _prepare(connection, path)
    except BaseException:
        connection.close()
        raise


def _create(path: Path) -> None:
    """Make an empty private file whose directory entry is on the disk; one that exists is not touched."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        fsync(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"it cannot be created: {error.strerror}") from error


def _prepare(connection: sqlite3.Connection, path: Path) -> StoreIdentity:
    require_head(path, APPLICATION_ID)
    schema_version(connection)  # first of all: another program's file must not even be turned to WAL
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError("this file system does not support SQLite's write-ahead log: put the store on a local disk")
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    _, taken, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    require_whole(path.with_name(f"{path.name}-wal"), max(taken, 0))
    require_sound(connection)
    migrate(connection)
    require_schema(connection)
    require_keys(connection)
    return StoreIdentity(store_id(connection), begin_boot(connection))
