"""The store in one SQLite file: WAL with `synchronous=FULL`, so what `commit` returned from survives a power cut.

All writing goes through the writer's thread (see `writer`); `load` reads through a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from twingateway.errors import InvalidValue, StoreCorrupt, StoreError, StoreFull
from twingateway.ports.journal import ALL, NEWEST, About, Bucket, Depth, Filing, Placed, Point, Span
from twingateway.ports.store import Changes, Snapshot, StoreIdentity, passed_over
from twingateway.store import history, journal, rows
from twingateway.store.bulk import Bulk
from twingateway.store.integrity import require_head, require_keys, require_sound, require_whole_file
from twingateway.store.lock import ProcessLock
from twingateway.store.migrations import APPLICATION_ID, migrate, require_schema, schema_version
from twingateway.store.reader import Reader
from twingateway.store.spare import Spare
from twingateway.store.wal import require_whole
from twingateway.store.writer import Job, Writer, translate
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

#: Seconds to wait for a reader (a backup tool, a shell) that keeps the file locked.
BUSY_TIMEOUT = 5.0

# The hot way. What is not news, by version or by lsn, is left to `_merge_register`.
_PUT_REGISTER = """
INSERT INTO register VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    incarnation = excluded.incarnation, epoch = excluded.epoch, seq = excluded.seq,
    value = excluded.value, time = excluded.time, lsn = excluded.lsn, checksum = excluded.checksum
WHERE (excluded.incarnation, excluded.epoch, excluded.seq) > (incarnation, epoch, seq) AND excluded.lsn >= lsn
"""
_GET_REGISTER = "SELECT * FROM register WHERE namespace = ? AND device = ? AND section = ? AND name = ?"
_REPLACE_REGISTER = "REPLACE INTO register VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_REGISTERS = Bulk(_PUT_REGISTER)
_PUT_PEER = "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?)"
_PUT_MODEL = """
INSERT INTO model VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET digest = excluded.digest, document = excluded.document, checksum = excluded.checksum
"""
_PUT_ATTEMPT = "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVE_REGISTER = "DELETE FROM register WHERE namespace = ? AND device = ? AND section = ? AND name = ?"
_REMOVE_ATTEMPT = "DELETE FROM attempt WHERE namespace = ? AND device = ? AND name = ?"
_PUT_STORE = "UPDATE store SET store_id = ?, floor = ?, checksum = ?"
_PUT_COUNTER = """
INSERT INTO counter VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET reserved = excluded.reserved, checksum = excluded.checksum
"""
#: The name of the only counter.
_LSN = "lsn"
_PUT_BOOT = "INSERT OR REPLACE INTO boot VALUES (?, ?, ?)"
_PUT_GAP = "INSERT OR REPLACE INTO gap VALUES (?, ?, ?)"
#: Openings that a store remembers. A peer that was last met before them is compared with from the ground up.
MOST_BOOTS = 4096
_PRUNE_BOOTS = "DELETE FROM boot WHERE boot_id IN (SELECT boot_id FROM boot ORDER BY lsn DESC LIMIT -1 OFFSET ?)"
_PRUNE_GAPS = "DELETE FROM gap WHERE below IN (SELECT below FROM gap ORDER BY below DESC LIMIT -1 OFFSET ?)"


#: Points that one transaction deletes, so that no commit waits for long behind it.
_TRIM_AT_ONCE = 10_000

T = TypeVar("T")


class _Opened(NamedTuple):
    path: Path
    lock: ProcessLock
    connection: sqlite3.Connection
    identity: StoreIdentity
    spare: Spare
    low: bool


class SqliteStore:
    """Implements `ports.store.Store`; made by `open_store`."""

    def __init__(self, opened: _Opened) -> None:
        self._path = opened.path
        self._lock = opened.lock
        self._identity = opened.identity
        self._spare = opened.spare
        self._low = opened.low
        self._writer = Writer(opened.connection, lambda: self._make_room(opened.connection))
        self._reader = Reader(opened.path, BUSY_TIMEOUT)
        self._closed = False
        self._looking: list[sqlite3.Connection] = []
        self._damage: asyncio.Future[StoreCorrupt] = asyncio.get_running_loop().create_future()

    @property
    def identity(self) -> StoreIdentity:
        return self._identity

    async def load(self) -> Snapshot:
        """Raises StoreCorrupt when anything read is not what was written."""
        return await asyncio.to_thread(_load, self._path)

    async def reserve(self, count: int) -> range:
        if count < 1:
            raise ValueError(f"cannot reserve {count} numbers")
        boot_id = self._identity.boot_id

        def job(connection: sqlite3.Connection) -> range:
            reserved = _reserved(connection) + count
            connection.execute(_PUT_COUNTER, rows.sealed(_LSN, reserved))
            connection.execute(_PUT_BOOT, rows.sealed(boot_id, reserved))
            return range(reserved - count + 1, reserved + 1)

        return await self._write(job)

    async def commit(self, changes: Changes) -> None:
        if not changes:
            return
        batch = _Batch(changes, self._identity.boot_id)
        await self._write(batch.apply, vital=changes.vital)

    async def recover(self) -> None:
        if self._low:
            await self._write(lambda connection: self._set_aside())

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        """In the writer's thread: whether there may be room now that was not before. The write-ahead log, once it is
        in the main file, is written from its beginning again."""
        released = self._spare.release()
        self._low = self._low or released
        try:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.Error:
            busy = True
        return released or not busy

    def _set_aside(self) -> None:
        """In the writer's thread, so that no commit comes short meanwhile."""
        if not self._spare.hold():
            raise StoreFull(self._spare.lack)
        self._low = False

    async def renew_identity(self) -> StoreIdentity:
        identity = StoreIdentity(secrets.token_bytes(16), self._identity.boot_id)

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT_STORE, rows.sealed(identity.store_id, _store(connection)[1]))
            connection.execute("DELETE FROM boot")
            connection.execute(_PUT_BOOT, rows.sealed(identity.boot_id, _reserved(connection)))

        await self._write(job)
        self._identity = identity
        return identity

    async def close(self) -> None:
        """Finish what was submitted and put it into the main file. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        for connection in self._looking:
            _interrupt(connection)
        self._reader.close()
        await self._writer.close()
        if self._low:
            self._spare.hold_some()
        self._lock.release()

    async def look_over(self) -> None:
        """Read the whole file, beside all else that goes on. Raises StoreCorrupt."""
        connection = _connect(self._path)
        self._looking.append(connection)
        try:
            await self._noting_damage(asyncio.to_thread(_look_over, connection))
        finally:
            self._looking.remove(connection)
            _interrupt(connection)

    async def damaged(self) -> StoreCorrupt:
        """Returns when an operation has found the file damaged: what it found."""
        return await asyncio.shield(self._damage)

    async def _write(self, job: Job[T], *, vital: bool = True) -> T:
        if self._low and not vital:
            raise StoreFull(self._spare.lack)
        return await self._noting_damage(self._writer.submit(job, vital=vital))

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
        return await self._write(lambda connection: journal.receive(connection, filings), vital=False)

    async def journal_page(self, class_name: str, after: int, max_bytes: int) -> list[Placed]:
        return await self._read(lambda connection: journal.page(connection, class_name, after, max_bytes))

    async def journal_depths(self) -> list[Depth]:
        return await self._read(journal.depths)

    async def evict(self, class_name: str, max_bytes: int, before: int) -> int:
        return await self._write(lambda connection: journal.evict(connection, class_name, max_bytes, before))

    async def kept_page(self, class_name: str, after: int, limit: int, about: About = ALL) -> list[Placed]:
        return await self._read(lambda connection: journal.kept_page(connection, class_name, after, limit, about))

    async def kept_before(self, class_name: str, before: int | None, limit: int, about: About = ALL) -> list[Placed]:
        return await self._read(lambda connection: journal.kept_before(connection, class_name, before, limit, about))

    async def prune_kept(self, class_name: str, most: int) -> int:
        return await self._write(lambda connection: journal.prune_kept(connection, class_name, most))

    async def points(self, span: Span, after: tuple[int, int], limit: int) -> list[Point]:
        return await self._read(lambda connection: history.points(connection, span, after, limit))

    async def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        return await self._read(lambda connection: history.buckets(connection, span, step, limit))

    async def last_point(self, device: DeviceId, name: str, upto: tuple[int, int] = NEWEST) -> Point | None:
        return await self._read(lambda connection: history.last(connection, device, name, upto))

    async def series(self) -> list[tuple[DeviceId, str]]:
        return await self._read(history.all_series)

    async def history_bytes(self) -> int:
        return await self._read(history.total)

    async def trim_history(self, max_bytes: int) -> int:
        gone, target = 0, max_bytes * 9 // 10
        if await self.history_bytes() > max_bytes:
            while went := await self._write(lambda connection: history.trim(connection, target, _TRIM_AT_ONCE)):
                gone += went
        return gone

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
            for row in self.registers:
                _merge_register(connection, row)
        put(_PUT_PEER, self.peers)
        put(_PUT_MODEL, self.models)
        put(_PUT_ATTEMPT, self.attempts)
        for row in self.forget:
            _remove(connection, row)
        journal.begin(connection, self.journal, self.boot_id)
        journal.delivered(connection, self.delivered)


def _remove(connection: sqlite3.Connection, row: rows.Row) -> None:
    """`row`: key and version. One that is newer by now stays."""
    key, version = row[:4], row[4:7]
    for held in rows.verified("register", connection.execute(_GET_REGISTER, key).fetchall()):
        if held[4:7] <= version:
            connection.execute(_REMOVE_REGISTER, key)
            store_id, floor = _store(connection)
            connection.execute(_PUT_STORE, rows.sealed(store_id, max(floor, held[9])))
            if row[2] == Section.DESIRED:
                connection.execute(_REMOVE_ATTEMPT, (*row[:2], row[3]))


def _store(connection: sqlite3.Connection) -> tuple[bytes, int]:
    """Its id, and the highest lsn of any register that was removed. Raises StoreCorrupt if that is gone."""
    found = connection.execute("SELECT store_id, floor, checksum FROM store").fetchall()
    for store_id, floor in rows.verified("store", found):
        return store_id, floor
    raise StoreCorrupt("the file has lost its identity; restore a backup, or move it away to begin anew")


def _merge_register(connection: sqlite3.Connection, row: rows.Row) -> None:
    """Newest version's content, greatest lsn, whatever the order in which they come. What stands there is looked at
    first: no checksum is made anew over damage."""
    for held in rows.verified("register", connection.execute(_GET_REGISTER, row[:4]).fetchall()):
        newest = row if row[4:7] > held[4:7] else held
        merged = rows.sealed(*newest[:9], max(row[9], held[9]))
        if merged[:-1] != held:
            connection.execute(_REPLACE_REGISTER, merged)


def _reserved(connection: sqlite3.Connection) -> int:
    """A store of an earlier version has a counter of seqs, too."""
    found = connection.execute("SELECT * FROM counter").fetchall()
    return max((int(reserved) for _, reserved in rows.verified("counter", found)), default=0)


async def open_store(path: Path, spare: int = 0) -> SqliteStore:
    """Open or create the store at `path`, with its directory. `spare`: bytes to set aside beside it,
    an eighth of its disk at most.

    Raises StoreError (in use by another process, another program's file, no permission), StoreFull, or StoreCorrupt;
    a damaged file is left as it is.
    """
    return SqliteStore(await asyncio.to_thread(_open, path, spare))


def _open(path: Path, most_spare: int) -> _Opened:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be created: {error.strerror}") from error
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
    return _Opened(path, lock, connection, identity, spare, low)


def _begin(path: Path) -> tuple[sqlite3.Connection, StoreIdentity]:
    connection = _connect(path)
    try:
        return connection, _prepare(connection, path)
    except BaseException:
        connection.close()
        raise


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
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


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
    return StoreIdentity(_store(connection)[0], _begin_boot(connection))


def _begin_boot(connection: sqlite3.Connection) -> bytes:
    """A boot begins a random distance behind the counter's end: even before it reserves, this store may tell a peer
    its last lsn."""
    boot_id = secrets.token_bytes(16)
    connection.execute("BEGIN IMMEDIATE")
    try:
        reserved = _reserved(connection)
        (highest,) = connection.execute("SELECT coalesce(max(lsn), 0) FROM register").fetchone()
        if reserved:
            reserved += passed_over(boot_id)
            connection.execute(_PUT_COUNTER, rows.sealed(_LSN, reserved))
            connection.execute(_PUT_GAP, rows.sealed(max(highest, _store(connection)[1]), reserved))
        connection.execute(_PUT_BOOT, rows.sealed(boot_id, reserved))
        connection.execute(_PRUNE_BOOTS, (MOST_BOOTS,))
        connection.execute(_PRUNE_GAPS, (MOST_BOOTS,))
        journal.forget_own_cursors(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return boot_id


def _look_over(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN")
        require_whole_file(connection)
    except sqlite3.Error as error:
        raise translate(error) from error
    finally:
        connection.close()


def _interrupt(connection: sqlite3.Connection) -> None:
    """End what its thread does with it, if that has not ended by itself."""
    with contextlib.suppress(sqlite3.ProgrammingError):
        connection.interrupt()


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
