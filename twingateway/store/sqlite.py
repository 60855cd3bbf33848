"""The store in one SQLite file: WAL with `synchronous=FULL`, so what `commit` returned from survives a power cut.

All writing goes through the writer's thread (see `writer`); `load` reads through a connection of its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from twingateway.errors import InvalidValue, StoreCorrupt, StoreError
from twingateway.ports.journal import Bucket, Depth, Filing, Placed, Point, Span
from twingateway.ports.store import Changes, Counter, Snapshot, StoreIdentity
from twingateway.store import history, journal, rows
from twingateway.store.bulk import Bulk
from twingateway.store.lock import ProcessLock
from twingateway.store.migrations import migrate, schema_version
from twingateway.store.reader import Reader
from twingateway.store.wal import require_whole
from twingateway.store.writer import Job, Writer, translate
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

#: Seconds to wait for a reader (a backup tool, a shell) that keeps the file locked.
BUSY_TIMEOUT = 5.0

# Newest version's content, greatest lsn: whatever the order in which groups arrive.
_PUT_REGISTER = """
INSERT INTO register VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    incarnation = excluded.incarnation, epoch = excluded.epoch, seq = excluded.seq,
    value = excluded.value, time = excluded.time,
    lsn = max(excluded.lsn, lsn),
    checksum = iif(excluded.lsn >= lsn, excluded.checksum,
        register_checksum(namespace, device, section, name, excluded.incarnation, excluded.epoch, excluded.seq,
            excluded.value, excluded.time, lsn))
WHERE (excluded.incarnation, excluded.epoch, excluded.seq) > (incarnation, epoch, seq)
"""
_MOVE_REGISTER = """
UPDATE register SET
    lsn = ?1,
    checksum = register_checksum(namespace, device, section, name, incarnation, epoch, seq, value, time, ?1)
WHERE namespace = ?2 AND device = ?3 AND section = ?4 AND name = ?5 AND lsn < ?1
"""
_PUT_REGISTERS = Bulk(_PUT_REGISTER)
_PUT_PEER = "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?)"
_PUT_MODEL = """
INSERT INTO model VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET digest = excluded.digest, document = excluded.document
"""
_PUT_ATTEMPT = "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE_REGISTER = """
DELETE FROM register
WHERE namespace = ? AND device = ? AND section = ? AND name = ? AND (incarnation, epoch, seq) <= (?, ?, ?)
RETURNING lsn
"""
_REMOVE_ATTEMPT = "DELETE FROM attempt WHERE namespace = ? AND device = ? AND name = ?"
_RAISE_FLOOR = "UPDATE store SET floor = max(floor, ?)"
_RESERVE = """
INSERT INTO counter VALUES (?, ?)
ON CONFLICT DO UPDATE SET reserved = reserved + excluded.reserved
RETURNING reserved
"""
_GIVE_UP = """
INSERT INTO gap
SELECT max((SELECT coalesce(max(lsn), 0) FROM register), (SELECT floor FROM store)), reserved
FROM counter WHERE name = 'lsn'
ON CONFLICT DO UPDATE SET upto = excluded.upto
"""
_BEGIN_BOOT = "INSERT INTO boot SELECT ?, coalesce((SELECT reserved FROM counter WHERE name = 'lsn'), 0)"


T = TypeVar("T")


class _Opened(NamedTuple):
    path: Path
    lock: ProcessLock
    connection: sqlite3.Connection
    identity: StoreIdentity


class SqliteStore:
    """Implements `ports.store.Store`; made by `open_store`."""

    def __init__(self, opened: _Opened) -> None:
        self._path = opened.path
        self._lock = opened.lock
        self._identity = opened.identity
        self._writer = Writer(opened.connection)
        self._reader = Reader(opened.path, BUSY_TIMEOUT)
        self._closed = False
        self._damage: asyncio.Future[StoreCorrupt] = asyncio.get_running_loop().create_future()

    @property
    def identity(self) -> StoreIdentity:
        return self._identity

    async def load(self) -> Snapshot:
        """Raises StoreCorrupt when anything read is not what was written."""
        return await asyncio.to_thread(_load, self._path)

    async def reserve(self, counter: Counter, count: int) -> range:
        if count < 1:
            raise ValueError(f"cannot reserve {count} numbers")
        boot_id = self._identity.boot_id

        def job(connection: sqlite3.Connection) -> range:
            (reserved,) = connection.execute(_RESERVE, (counter.value, count)).fetchall()[0]
            if counter is Counter.LSN:
                connection.execute("UPDATE boot SET lsn = ? WHERE boot_id = ?", (reserved, boot_id))
            return range(reserved - count + 1, reserved + 1)

        return await self._write(job)

    async def commit(self, changes: Changes) -> None:
        if not changes:
            return
        batch = _Batch(changes, self._identity.boot_id)
        await self._write(batch.apply)

    async def renew_identity(self) -> StoreIdentity:
        identity = StoreIdentity(secrets.token_bytes(16), self._identity.boot_id)

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE store SET store_id = ?", (identity.store_id,))
            connection.execute("DELETE FROM boot")
            connection.execute("DELETE FROM gap")
            connection.execute(_BEGIN_BOOT, (identity.boot_id,))

        await self._write(job)
        self._identity = identity
        return identity

    async def close(self) -> None:
        """Finish what was submitted and put it into the main file. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()
        await self._writer.close()
        self._lock.release()

    async def damaged(self) -> StoreCorrupt:
        """Returns when an operation has found the file damaged: what it found."""
        return await asyncio.shield(self._damage)

    async def _write(self, job: Job[T]) -> T:
        return await self._noting_damage(self._writer.submit(job))

    async def _read(self, job: Job[T]) -> T:
        return await self._noting_damage(self._reader.read(job))

    async def _noting_damage(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except StoreCorrupt as error:
            if not self._damage.done():
                self._damage.set_result(error)
            raise

    # --- JournalStore ---------------------------------------------------------------------------------------------

    async def receive(self, filings: Sequence[Filing]) -> list[JournalEntry]:
        return await self._write(lambda connection: journal.receive(connection, filings))

    async def journal_page(self, class_name: str, after: int, max_bytes: int) -> list[Placed]:
        return await self._read(lambda connection: journal.page(connection, class_name, after, max_bytes))

    async def journal_depths(self) -> list[Depth]:
        return await self._read(journal.depths)

    async def evict(self, class_name: str, max_bytes: int, before: int) -> int:
        return await self._write(lambda connection: journal.evict(connection, class_name, max_bytes, before))

    async def kept_page(self, class_name: str, after: int, limit: int) -> list[Placed]:
        return await self._read(lambda connection: journal.kept_page(connection, class_name, after, limit))

    async def prune_kept(self, class_name: str, most: int) -> int:
        return await self._write(lambda connection: journal.prune_kept(connection, class_name, most))

    async def points(self, span: Span, after: tuple[int, int], limit: int) -> list[Point]:
        return await self._read(lambda connection: history.points(connection, span, after, limit))

    async def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        return await self._read(lambda connection: history.buckets(connection, span, step, limit))

    async def series(self) -> list[tuple[DeviceId, str]]:
        return await self._read(history.all_series)

    async def prune_points(self, device: DeviceId, name: str, retention: int, now: int) -> int:
        return await self._write(lambda connection: history.prune(connection, device, name, retention, now))


class _Batch:
    """The rows of some `Changes`, taken when `commit` is called: the caller may change its records afterwards."""

    def __init__(self, changes: Changes, boot_id: bytes) -> None:
        self.boot_id = boot_id
        self.journal = list(changes.journal)
        self.delivered = dict(changes.delivered)
        self.registers = [rows.register_row(stored) for stored in changes.registers]
        self.peers = [rows.peer_row(peer) for peer in changes.peers]
        self.models = [rows.model_row(model) for model in changes.models]
        self.attempts = [rows.attempt_row(attempt) for attempt in changes.attempts]
        self.forget = [rows.removal_row(removal) for removal in changes.forget]

    def apply(self, connection: sqlite3.Connection) -> None:
        put = connection.executemany
        if self.registers and _PUT_REGISTERS.run(connection, self.registers) < len(self.registers):
            put(_MOVE_REGISTER, [(row[9], *row[:4]) for row in self.registers])
        put(_PUT_PEER, self.peers)
        put(_PUT_MODEL, self.models)
        put(_PUT_ATTEMPT, self.attempts)
        for row in self.forget:
            _remove(connection, row)
        journal.begin(connection, self.journal, self.boot_id)
        journal.delivered(connection, self.delivered)


def _remove(connection: sqlite3.Connection, row: rows.Row) -> None:
    for removed in connection.execute(_REMOVE_REGISTER, row).fetchall():
        connection.execute(_RAISE_FLOOR, removed)
        if row[2] == Section.DESIRED:
            connection.execute(_REMOVE_ATTEMPT, (*row[:2], row[3]))


async def open_store(path: Path) -> SqliteStore:
    """Open or create the store at `path`, with its directory.

    Raises StoreError (in use by another process, another program's file, no permission), StoreFull, or StoreCorrupt;
    a damaged file is left as it is.
    """
    return SqliteStore(await asyncio.to_thread(_open, path))


def _open(path: Path) -> _Opened:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be created: {error.strerror}") from error
    lock = ProcessLock(path)
    connection = None
    try:
        _create(path)
        connection = _connect(path)
        identity = _prepare(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        lock.release()
        if isinstance(error, (StoreError, sqlite3.Error, UnicodeDecodeError)):
            translated = translate(error)
            raise type(translated)(f"{path}: {translated.message}") from error
        raise
    return _Opened(path, lock, connection, identity)


def _create(path: Path) -> None:
    """Make an empty private file whose directory entry is on the disk; one that exists is not touched."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        directory = os.open(path.parent, os.O_RDONLY)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"it cannot be created: {error.strerror}") from error
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    connection.create_function("register_checksum", -1, rows.checksum, deterministic=True)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> StoreIdentity:
    schema_version(connection)  # first of all: another program's file must not even be turned to WAL
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError("this file system does not support SQLite's write-ahead log: put the store on a local disk")
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    _, taken, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    require_whole(path.with_name(f"{path.name}-wal"), max(taken, 0))
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(f"the file is damaged ({verdict}); restore a backup, or move it away to begin anew")
    migrate(connection)
    found = connection.execute("SELECT store_id FROM store").fetchone()
    if found is None:
        raise StoreCorrupt("the file has lost its identity; restore a backup, or move it away to begin anew")
    boot_id = secrets.token_bytes(16)
    # A boot begins at the counter's end: even before it reserves, this store may tell a peer its last lsn.
    connection.execute(_GIVE_UP)
    connection.execute(_BEGIN_BOOT, (boot_id,))
    return StoreIdentity(found[0], boot_id)


def _load(path: Path) -> Snapshot:
    connection = _connect(path)
    try:
        return rows.read_snapshot(connection)
    except InvalidValue as error:
        raise StoreCorrupt(f"the store's file is damaged; restore a backup, or move it away ({error})") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error) from error
    finally:
        connection.close()
