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
from typing import TypeVar

from twingateway.errors import InvalidValue, StoreCorrupt, StoreFull
from twingateway.ports.journal import ALL, NEWEST, About, Bucket, Depth, Filing, Placed, Point, Span, Told
from twingateway.ports.store import Changes, Snapshot, StoreIdentity
from twingateway.store import history, identity, journal, rows
from twingateway.store.batch import Batch
from twingateway.store.integrity import require_whole_file
from twingateway.store.opening import BUSY_TIMEOUT, Opened, connect, open_file
from twingateway.store.reader import Reader
from twingateway.store.writer import Job, Writer, translate
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId

#: Points that one transaction deletes, so that no commit waits for long behind it.
_TRIM_AT_ONCE = 10_000

T = TypeVar("T")


class SqliteStore:
    """Implements `ports.store.Store`; made by `open_store`."""

    def __init__(self, opened: Opened) -> None:
        self._path = opened.path
        self._file = os.stat(opened.path)
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
        return await self._write(lambda connection: identity.reserve(connection, self._identity.boot_id, count))

    async def commit(self, changes: Changes) -> None:
        if not changes:
            return
        batch = Batch(changes, self._identity.boot_id)
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
        renewed = StoreIdentity(secrets.token_bytes(16), self._identity.boot_id)
        await self._write(lambda connection: identity.renew(connection, renewed))
        self._identity = renewed
        return renewed

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
        connection = connect(self._path)
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

        def in_place(connection: sqlite3.Connection) -> T:
            self._require_in_place()
            return job(connection)

        return await self._noting_damage(self._writer.submit(in_place, vital=vital))

    def _require_in_place(self) -> None:
        """SQLite goes on with a file that has no name any more, and nothing of that is there at the next opening."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._path), self._file):
                return
        raise StoreCorrupt("the store's file was removed, or another put in its place, under the running node")

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

    async def journal_told(self, namespace: str, class_name: str, behind: bytes, limit: int) -> list[Told]:
        return await self._read(lambda connection: journal.told(connection, namespace, class_name, behind, limit))

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
    connection = connect(path)
    try:
        return rows.read_snapshot(connection)
    except InvalidValue as error:
        raise StoreCorrupt(f"the store's file is damaged; restore a backup, or move it away ({error})") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error) from error
    finally:
        connection.close()


async def open_store(path: Path, spare: int = 0) -> SqliteStore:
    """Open or create the store at `path`, with its directory. `spare`: bytes to set aside beside it,
    an eighth of its disk at most.

    Raises StoreError (in use by another process, another program's file, no permission), StoreFull, or StoreCorrupt;
    a damaged file is left as it is.
    """
    return SqliteStore(await asyncio.to_thread(open_file, path, spare))
