"""The one thread that writes, with group commit.

Jobs that wait when the thread becomes free share one transaction, hence one fsync. A failure that concerns the file
(no space, damage, I/O) fails the whole group, and nothing of it is kept; except that vital jobs run again if room can
be made for them. A failure that one job caused itself is its own: the group is undone and each job runs again alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from twingateway.errors import StoreCorrupt, StoreError, StoreFull

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "there is no space left for the store; free some, then writing goes on",
    ),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, "the store's file is damaged; restore a backup, or move it away"),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "the store's file is not an SQLite database; move it away"),
    sqlite3.SQLITE_BUSY: (StoreError, "another program keeps the store's file locked"),
    sqlite3.SQLITE_READONLY: (StoreError, "the store's file cannot be written to; check its permissions"),
    sqlite3.SQLITE_CANTOPEN: (StoreError, "the store's file cannot be opened; check its permissions"),
    sqlite3.SQLITE_IOERR: (StoreError, "reading or writing the store's file failed"),
}


def translate(error: Exception) -> StoreError:
    """What an exception of sqlite3 means to a person."""
    if isinstance(error, StoreError):
        return error
    code = sqlite3.SQLITE_CORRUPT if _is_undecodable(error) else getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind, message = _ERRORS.get(code, (StoreError, "the store refused the operation"))
    translated = kind(f"{message} ({error})")
    translated.__cause__ = error
    return translated


def _is_undecodable(error: Exception) -> bool:
    """Not SQLite's complaint but Python's: text, or the text of an error, that is no UTF-8."""
    no_code = isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")
    return no_code or isinstance(error, UnicodeDecodeError)


def _concerns_the_file(error: Exception) -> bool:
    return _is_undecodable(error) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _ERRORS


class _Waiting(NamedTuple):
    job: Job[Any]
    future: Future[Any]
    vital: bool


def _fail(group: Iterable[_Waiting], error: StoreError) -> None:
    for waiting in group:
        waiting.future.set_exception(error)


class Writer:
    """Owns a connection (in autocommit mode) and the thread that alone uses it from now on. `make_room` is called
    there when space runs out, and says whether there is some now."""

    def __init__(self, connection: sqlite3.Connection, make_room: Callable[[], bool]) -> None:
        self._connection = connection
        self._make_room = make_room
        self._waiting: list[_Waiting] = []
        self._closing = False
        self._changed = threading.Condition()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job[T], *, vital: bool = True) -> T:
        """Run `job` in a transaction; returns its result when that is durable. Raises StoreError.

        Once submitted a job is done whole even if the caller is cancelled.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise StoreError("the store is closed")
            self._waiting.append(_Waiting(job, future, vital))
            self._changed.notify()
        # A running future cannot be cancelled from outside, so a cancelled caller leaves the group alone.
        future.set_running_or_notify_cancel()
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Do what was submitted, put it into the main file, close the connection."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.shield(asyncio.wrap_future(self._ended))

    def _run(self) -> None:
        try:
            while group := self._next_group():
                self._do(group)
            self._end()
        finally:
            self._ended.set_result(None)

    def _next_group(self) -> list[_Waiting]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            group, self._waiting = self._waiting, []
            return group

    def _do(self, group: list[_Waiting], *, again: bool = False) -> None:
        try:
            results = self._transact(group)
        except Exception as error:
            translated = translate(error)
            if isinstance(translated, StoreFull) and not again and self._make_room():
                _fail((waiting for waiting in group if not waiting.vital), translated)
                vital = [waiting for waiting in group if waiting.vital]
                if vital:
                    self._do(vital, again=True)
            elif len(group) == 1 or _concerns_the_file(error):
                _fail(group, translated)
            else:
                for waiting in group:
                    self._do([waiting], again=again)
            return
        for waiting, result in zip(group, results, strict=True):
            waiting.future.set_result(result)

    def _transact(self, group: list[_Waiting]) -> list[Any]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [waiting.job(connection) for waiting in group]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _end(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # nothing is lost: the write-ahead log is read at the next opening
        finally:
            self._connection.close()
