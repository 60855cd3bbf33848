"""What nobody else has is read out of a damaged file that was moved aside: the journal's entries and history.

Only rows that their checksums prove to be whole are taken. Where a page cannot be read, its table is read from the
other end as well. The file stays as it is.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Generic, TypeVar

from twingateway.errors import StoreCorrupt
from twingateway.store import history, journal
from twingateway.store.opening import connect_to_read
from twingateway.store.rows import Row
from twingateway.twin.entry import HISTORY, JournalEntry

T = TypeVar("T")

#: Rows read from the other end of a table at most: they are held in memory, to be put in order.
MOST_BEHIND = 200_000


@dataclass(frozen=True, slots=True)
class Salvaged:
    """`waited`: for the parent; otherwise it was only kept here."""

    entry: JournalEntry
    waited: bool


@dataclass(frozen=True, slots=True)
class _Table(Generic[T]):
    """`keys`: the columns in whose order it is read, the first ones of `select`. `decode` raises StoreCorrupt."""

    select: str
    keys: tuple[str, ...]
    decode: Callable[[Row], T]

    def ordered(self, direction: str) -> str:
        return f"{self.select} ORDER BY {', '.join(f'{key} {direction}' for key in self.keys)}"


_QUEUE = _Table(journal.QUEUED, ("class", "position"), journal.queued)
_KEPT = _Table(journal.KEPT, ("position",), journal.kept)
_SERIES = _Table(history.SERIES, ("id",), history.series_row)
_POINTS = _Table(history.ALL_POINTS, ("id",), history.point_row)


class Salvage:
    """Reads the file at `path`; `node`: this node's name. Points of history come as entries of a journal that is
    known by the file, so that none is taken twice."""

    def __init__(self, path: Path, node: str) -> None:
        self._path = path.resolve()
        self._entries = self._read(node)

    def next_batch(self, most: int = 500) -> list[Salvaged]:
        """Empty at the end."""
        return list(islice(self._entries, most))

    def _read(self, node: str) -> Iterator[Salvaged]:
        with suppress(sqlite3.Error):
            connection = connect_to_read(self._path)
            try:
                for placed in _whole(connection, _QUEUE):
                    yield Salvaged(placed.entry, waited=True)
                for placed in _whole(connection, _KEPT):
                    yield Salvaged(placed.entry, waited=False)
                yield from self._points(connection, node)
            finally:
                connection.close()

    def _points(self, connection: sqlite3.Connection, node: str) -> Iterator[Salvaged]:
        series = {number: name for number, *name in _whole(connection, _SERIES)}
        journal_id = hashlib.blake2b(str(self._path).encode(), digest_size=16).digest()
        seqs = count(1)
        for number, time, value in _whole(connection, _POINTS):
            if number in series:
                namespace, device, name = series[number]
                entry = JournalEntry(HISTORY, namespace, node, device, name, time, value, journal_id, next(seqs))
                yield Salvaged(entry, waited=False)


def _whole(connection: sqlite3.Connection, table: _Table[T]) -> Iterator[T]:
    last: Row = ()
    with suppress(sqlite3.Error, UnicodeDecodeError):
        for row in connection.execute(table.ordered("ASC")):
            last = row[: len(table.keys)]
            yield from _decoded(table, row)
        return
    behind: list[Row] = []
    with suppress(sqlite3.Error, UnicodeDecodeError):
        for row in islice(connection.execute(table.ordered("DESC")), MOST_BEHIND):
            if row[: len(table.keys)] == last:
                break
            behind.append(row)
    for row in reversed(behind):
        yield from _decoded(table, row)


def _decoded(table: _Table[T], row: Row) -> Iterator[T]:
    with suppress(StoreCorrupt):
        yield table.decode(row)
