"""One connection that only reads, for pages of the journal and history: the writer's thread is never in its way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twingateway.errors import StoreError
from twingateway.store.writer import translate

T = TypeVar("T")


class Reader:
    """Opened with the first read; one read at a time."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` on one consistent state of the file. Raises StoreError."""
        return await asyncio.to_thread(self._run, job)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            try:
                connection = self._open()
                connection.execute("BEGIN")
                try:
                    return job(connection)
                finally:
                    connection.execute("ROLLBACK")
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise translate(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection
