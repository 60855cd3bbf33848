"""The journal in SQLite: cursors, the queues, and what is kept. Each function is a job within one transaction.

Totals of a queue stand beside it (`journal_class`) and change with it, so that a full queue is noticed without
counting it. Rows carry a CRC-32 as registers do.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from twingateway.errors import StoreCorrupt
from twingateway.ports.journal import Depth, Filing, Placed
from twingateway.store import history
from twingateway.store.bulk import Bulk
from twingateway.store.rows import Row, checksum, encode_value
from twingateway.twin.entry import EVICTED, EXPIRED, HISTORY, LOST, JournalEntry, after

_COLUMNS = "namespace, journal, seq, count, gap, node, device, name, time, value, checksum"
_PUT_CURSOR = "INSERT INTO journal_cursor VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq"
_GET_CURSOR = "SELECT seq FROM journal_cursor WHERE namespace = ? AND journal = ? AND class = ?"
_PUT_HOLE = "INSERT INTO journal_hole VALUES (?, ?, ?, ?, ?)"
_GET_HOLE = """
SELECT first, last FROM journal_hole
WHERE namespace = ? AND journal = ? AND class = ? AND first <= ? ORDER BY first DESC LIMIT 1
"""
_DELETE_HOLE = "DELETE FROM journal_hole WHERE namespace = ? AND journal = ? AND class = ? AND first = ?"
_QUEUE = Bulk(f"INSERT INTO journal_queue (class, position, stamp, size, {_COLUMNS}) VALUES ({'?, ' * 14}?)")
_KEEP = Bulk(f"INSERT INTO journal_kept (class, size, {_COLUMNS}) VALUES ({'?, ' * 12}?)")
_PUT_CLASS = """
INSERT INTO journal_class VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    position = max(position, excluded.position), entries = entries + excluded.entries, bytes = bytes + excluded.bytes
"""
_SUM_QUEUED = "SELECT count(*), coalesce(sum(size), 0) FROM journal_queue WHERE class = ? AND position <= ?"
_DELETE_QUEUED = "DELETE FROM journal_queue WHERE class = ? AND position <= ?"
_PAGE = f"SELECT position, size, {_COLUMNS} FROM journal_queue WHERE class = ? AND position > ? ORDER BY position"
_DEPTHS = """
SELECT class, entries, bytes,
    coalesce((SELECT time FROM journal_queue q WHERE q.class = c.class ORDER BY position LIMIT 1), 0),
    coalesce((SELECT stamp FROM journal_queue q WHERE q.class = c.class ORDER BY position LIMIT 1), 0),
    coalesce((SELECT stamp FROM journal_queue q WHERE q.class = c.class ORDER BY position DESC LIMIT 1), 0)
FROM journal_class c ORDER BY class
"""
_GAPS = """
SELECT namespace, journal, min(seq), max(seq + count - 1), node, max(position), max(stamp), max(time)
FROM journal_queue WHERE class = ? AND position <= ? GROUP BY namespace, journal ORDER BY max(position)
"""
_KEPT = (
    f"SELECT position, size, {_COLUMNS} FROM journal_kept WHERE class = ? AND position > ? ORDER BY position LIMIT ?"
)
_PRUNE_KEPT = """
DELETE FROM journal_kept WHERE class = ?1 AND position <= (
    SELECT position FROM journal_kept WHERE class = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)
"""


def begin(connection: sqlite3.Connection, filings: Sequence[Filing], journal_id: bytes) -> None:
    """Give entries of this store's own their places."""
    cursors = _Cursors(connection)
    placed = []
    for filing in filings:
        entry = filing.entry
        seq = cursors.get(entry.namespace, journal_id, entry.class_name) + 1
        cursors.put(entry.namespace, journal_id, entry.class_name, seq + entry.count - 1)
        placed.append(replace(filing, entry=replace(entry, journal_id=journal_id, seq=seq)))
    cursors.write()
    _file(connection, placed)


def receive(connection: sqlite3.Connection, filings: Sequence[Filing]) -> list[JournalEntry]:
    """Take what is news, with gap records for what is missing."""
    cursors = _Cursors(connection)
    taken = []
    for filing in filings:
        came = filing.entry
        name = (came.namespace, came.journal_id, came.class_name)
        news = after(came, cursors.get(*name))
        for entry in news:
            cursors.put(*name, entry.last)
            taken.append(filing if entry is came else replace(filing, entry=entry))
            if entry.gap == LOST:
                connection.execute(_PUT_HOLE, (*name, entry.seq, entry.last))
        if not news and not came.gap and _found(connection, name, came.seq):
            taken.append(filing)
    cursors.write()
    _file(connection, taken)
    return [filing.entry for filing in taken]


def delivered(connection: sqlite3.Connection, positions: Mapping[str, int]) -> None:
    for class_name, upto in positions.items():
        count, size = _delete(connection, class_name, upto)
        connection.execute(_PUT_CLASS, (class_name, upto, -count, -size))


def page(connection: sqlite3.Connection, class_name: str, behind: int, max_bytes: int) -> list[Placed]:
    placed: list[Placed] = []
    total = 0
    cursor = connection.execute(_PAGE, (class_name, behind))
    try:
        for row in cursor:
            total += row[1]
            if placed and total > max_bytes:
                break
            placed.append(_read(class_name, row))
    finally:
        cursor.close()
    return placed


def depths(connection: sqlite3.Connection) -> list[Depth]:
    return [Depth(*row) for row in connection.execute(_DEPTHS)]


def evict(connection: sqlite3.Connection, class_name: str, max_bytes: int, before: int) -> int:
    known = connection.execute("SELECT bytes FROM journal_class WHERE class = ?", (class_name,)).fetchone()
    if known is None:
        return 0
    full = known[0] > max_bytes
    upto = _expired_upto(connection, class_name, before)
    if full:
        upto = max(upto, _excess_upto(connection, class_name, known[0] - max_bytes * 9 // 10))
    (gone,) = connection.execute(
        "SELECT count(*) FROM journal_queue WHERE class = ? AND position <= ? AND gap = ''", (class_name, upto)
    ).fetchone()
    if gone:
        _replace_by_gaps(connection, class_name, upto, EVICTED if full else EXPIRED)
    return int(gone)


def kept_page(connection: sqlite3.Connection, class_name: str, behind: int, limit: int) -> list[Placed]:
    return [_read(class_name, row) for row in connection.execute(_KEPT, (class_name, behind, limit))]


def prune_kept(connection: sqlite3.Connection, class_name: str, most: int) -> int:
    return connection.execute(_PRUNE_KEPT, (class_name, most)).rowcount


def _found(connection: sqlite3.Connection, name: tuple[str, bytes, str], seq: int) -> bool:
    """Whether this seq was given up for lost; it is not any more."""
    hole = connection.execute(_GET_HOLE, (*name, seq)).fetchone()
    if hole is None or hole[1] < seq:
        return False
    first, last = hole
    connection.execute(_DELETE_HOLE, (*name, first))
    halves = [(first, seq - 1), (seq + 1, last)]
    connection.executemany(_PUT_HOLE, [(*name, start, end) for start, end in halves if start <= end])
    return True


class _Cursors:
    """Cursors as read in this transaction, written at its end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, bytes, str], int] = {}
        self._changed: dict[tuple[str, bytes, str], int] = {}

    def get(self, *name: str | bytes) -> int:
        key: tuple[str, bytes, str] = name  # type: ignore[assignment]
        if key not in self._known:
            row = self._connection.execute(_GET_CURSOR, key).fetchone()
            self._known[key] = 0 if row is None else row[0]
        return self._known[key]

    def put(self, namespace: str, journal_id: bytes, class_name: str, seq: int) -> None:
        key = (namespace, journal_id, class_name)
        self._known[key] = self._changed[key] = seq

    def write(self) -> None:
        self._connection.executemany(_PUT_CURSOR, [(*key, seq) for key, seq in self._changed.items()])


def _file(connection: sqlite3.Connection, filings: Iterable[Filing]) -> None:
    queued: dict[str, list[Row]] = {}
    kept: list[Row] = []
    points: list[JournalEntry] = []
    for filing in filings:
        entry = filing.entry
        row = _row(entry)
        if filing.queue:
            queued.setdefault(entry.class_name, []).append((filing.stamp, _size(row), *row))
        if filing.keep and entry.class_name == HISTORY and not entry.gap and entry.device is not None:
            points.append(entry)
        elif filing.keep:
            kept.append((entry.class_name, _size(row), *row))
    for class_name, rows in queued.items():
        known = connection.execute("SELECT position FROM journal_class WHERE class = ?", (class_name,)).fetchone()
        first = 1 if known is None else known[0] + 1
        _QUEUE.run(connection, [(class_name, first + n, *row) for n, row in enumerate(rows)])
        total = sum(row[1] for row in rows)
        connection.execute(_PUT_CLASS, (class_name, first + len(rows) - 1, len(rows), total))
    _KEEP.run(connection, kept)
    history.add(connection, points)


def _row(entry: JournalEntry) -> Row:
    content = (
        entry.namespace,
        entry.journal_id,
        entry.seq,
        entry.count,
        entry.gap,
        entry.node,
        entry.device,
        entry.name,
        entry.time,
        encode_value(entry.value),
    )
    return (*content, checksum(*content))


def _size(row: Row) -> int:
    return 64 + len(row[5]) + len(row[6] or "") + len(row[7]) + len(row[9])


def _read(class_name: str, row: Row) -> Placed:
    position, size, *content, expected = row
    if checksum(*content) != expected:
        raise StoreCorrupt(f"entry {position} of the journal's class {class_name} is damaged")
    namespace, journal_id, seq, count, gap, node, device, name, time, value = content
    entry = JournalEntry(
        class_name, namespace, node, device, name, time, json.loads(value), journal_id, seq, count, gap
    )
    return Placed(position, entry, size)


def _expired_upto(connection: sqlite3.Connection, class_name: str, before: int) -> int:
    """The position before the first entry that has not expired; the last one if all have."""
    first = connection.execute(
        "SELECT position FROM journal_queue WHERE class = ? AND stamp >= ? ORDER BY position LIMIT 1",
        (class_name, before),
    ).fetchone()
    if first is not None:
        return int(first[0]) - 1
    (last,) = connection.execute("SELECT position FROM journal_class WHERE class = ?", (class_name,)).fetchone()
    return int(last)


def _excess_upto(connection: sqlite3.Connection, class_name: str, excess: int) -> int:
    """The position up to which `excess` bytes are freed."""
    upto = 0
    rows = connection.execute(
        "SELECT position, size FROM journal_queue WHERE class = ? ORDER BY position", (class_name,)
    )
    for position, size in rows:
        upto = position
        excess -= size
        if excess <= 0:
            break
    rows.close()
    return upto


def _replace_by_gaps(connection: sqlite3.Connection, class_name: str, upto: int, reason: str) -> None:
    found = connection.execute(_GAPS, (class_name, upto)).fetchall()
    gone, freed = _delete(connection, class_name, upto)
    rows = []
    for namespace, journal_id, first, last, node, position, stamp, time in found:
        gap = JournalEntry(
            class_name, namespace, node, None, "", time, None, journal_id, first, last - first + 1, reason
        )
        row = _row(gap)
        rows.append((class_name, position, stamp, _size(row), *row))
    _QUEUE.run(connection, rows)
    added = sum(row[3] for row in rows)
    connection.execute(_PUT_CLASS, (class_name, upto, len(rows) - gone, added - freed))


def _delete(connection: sqlite3.Connection, class_name: str, upto: int) -> tuple[int, int]:
    """Delete from the front of a queue; how many entries and bytes went."""
    count, size = connection.execute(_SUM_QUEUED, (class_name, upto)).fetchone()
    connection.execute(_DELETE_QUEUED, (class_name, upto))
    return count, size
