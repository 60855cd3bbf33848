"""The journal in SQLite: cursors, the queues, and what is kept. Each function is a job within one transaction.

Totals of a queue stand beside it (`journal_class`) and change with it, so that a full queue is noticed without
counting it. Rows carry a CRC-32 as registers do; what changes is read and verified first.

Of each node and class the cursors of the newest `MOST_JOURNALS` journals are kept: see the port.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from twingateway.errors import StoreCorrupt
from twingateway.ports.journal import MOST_JOURNALS, OWN, TOLD_JOURNALS, About, Depth, Filing, Placed, Told
from twingateway.store import history
from twingateway.store.bulk import Bulk
from twingateway.store.rows import Row, checksum, encode_value, sealed, verified
from twingateway.twin.entry import EVICTED, EXPIRED, HISTORY, LOST, JournalEntry, after

_COLUMNS = "namespace, journal, seq, count, gap, node, device, name, time, value, checksum"
_PUT_CURSOR = """
INSERT INTO journal_cursor VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = excluded.seq, queued = excluded.queued, checksum = excluded.checksum
"""
_GET_CURSOR = "SELECT * FROM journal_cursor WHERE namespace = ? AND journal = ? AND class = ?"
_LAST_SINCE = "SELECT coalesce(max(since), 0) FROM journal_cursor WHERE namespace = ? AND node = ? AND class = ?"
_OLD_CURSORS = """
SELECT namespace, journal, class FROM journal_cursor
WHERE namespace = ? AND node = ? AND class = ? AND since <= ?
"""
#: Greater than this is `since` of the journals that are told of.
_NOT_TOLD = """
(SELECT max(since) FROM journal_cursor AS later
WHERE later.namespace = known.namespace AND later.node = known.node AND later.class = known.class) - ?1
"""
_TOLD = f"""
SELECT * FROM journal_cursor AS known
WHERE namespace = ?2 AND class = ?3 AND journal > ?4 AND queued > 0 AND since > {_NOT_TOLD}
AND (journal, queued) NOT IN (
    SELECT journal, seq + count - 1 FROM journal_queue WHERE class = ?3 AND namespace = ?2)
ORDER BY journal LIMIT ?5
"""
_FORGET_OWN = f"DELETE FROM journal_cursor AS known WHERE node = '{OWN}' AND (since = 0 OR since <= {_NOT_TOLD})"
_DELETE_CURSOR = "DELETE FROM journal_cursor WHERE namespace = ? AND journal = ? AND class = ?"
_PUT_HOLE = "INSERT INTO journal_hole VALUES (?, ?, ?, ?, ?, ?)"
_GET_HOLE = """
SELECT * FROM journal_hole
WHERE namespace = ? AND journal = ? AND class = ? AND first <= ? ORDER BY first DESC LIMIT 1
"""
_DELETE_HOLE = "DELETE FROM journal_hole WHERE namespace = ? AND journal = ? AND class = ? AND first = ?"
_DELETE_HOLES = "DELETE FROM journal_hole WHERE namespace = ? AND journal = ? AND class = ?"
_QUEUE = Bulk(f"INSERT INTO journal_queue (class, position, stamp, size, {_COLUMNS}) VALUES ({'?, ' * 14}?)")
_KEEP = Bulk(f"INSERT INTO journal_kept (class, size, {_COLUMNS}) VALUES ({'?, ' * 12}?)")
_PUT_CLASS = "INSERT OR REPLACE INTO journal_class VALUES (?, ?, ?, ?, ?)"
_SUM_QUEUED = "SELECT count(*), coalesce(sum(size), 0) FROM journal_queue WHERE class = ? AND position <= ?"
_DELETE_QUEUED = "DELETE FROM journal_queue WHERE class = ? AND position <= ?"
#: Everything, for `queued` and `kept`.
QUEUED = f"SELECT class, position, stamp, size, {_COLUMNS} FROM journal_queue"
KEPT = f"SELECT position, class, size, {_COLUMNS} FROM journal_kept"
_PAGE = f"{QUEUED} WHERE class = ? AND position > ? ORDER BY position"
_FIRST = f"{QUEUED} WHERE class = ? ORDER BY position LIMIT 1"
_LAST = f"{QUEUED} WHERE class = ? ORDER BY position DESC LIMIT 1"
_CLASSES = "SELECT * FROM journal_class ORDER BY class"
_GAPS = """
SELECT namespace, journal, min(seq), max(seq + count - 1), node, max(position), max(stamp), max(time), sum(count)
FROM journal_queue WHERE class = ? AND position <= ? GROUP BY namespace, journal ORDER BY max(position)
"""
_UP_TO = f"{QUEUED} WHERE class = ? AND position <= ?"
_GAPS_UP_TO = f"{_UP_TO} AND gap <> ''"
_ABOUT = "(?4 IS NULL OR namespace = ?4) AND (?5 IS NULL OR device = ?5)"
_KEPT_PAGE = f"{KEPT} WHERE class = ?1 AND position > ?2 AND {_ABOUT} ORDER BY position LIMIT ?3"
_KEPT_BEFORE = f"{KEPT} WHERE class = ?1 AND position <= ?2 AND {_ABOUT} ORDER BY position DESC LIMIT ?3"
#: The greatest that SQLite can give.
_LAST_POSITION = (1 << 63) - 1
_PRUNE_KEPT = """
DELETE FROM journal_kept WHERE class = ?1 AND position <= (
    SELECT position FROM journal_kept WHERE class = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)
"""


#: Namespace, journal id and class.
_Name: TypeAlias = tuple[str, bytes, str]


def begin(connection: sqlite3.Connection, filings: Sequence[Filing], journal_id: bytes) -> None:
    """Give entries of this store's own their places."""
    cursors = _Cursors(connection)
    placed = []
    for filing in filings:
        entry = filing.entry
        name = (entry.namespace, journal_id, entry.class_name)
        seq = cursors.get(name) + 1
        cursors.put(name, seq + entry.count - 1, OWN, queued=filing.queue)
        placed.append(Filing(entry.begun(journal_id, seq), filing.stamp, filing.queue, filing.keep))
    cursors.write()
    _file(connection, placed)


def receive(connection: sqlite3.Connection, filings: Sequence[Filing]) -> list[JournalEntry]:
    """Take what is news, with gap records for what is missing."""
    cursors = _Cursors(connection)
    taken = []
    for filing in filings:
        came = filing.entry
        name = (came.namespace, came.journal_id, came.class_name)
        news = after(came, cursors.get(name))
        for entry in news:
            cursors.put(name, entry.last, came.node, queued=filing.queue)
            taken.append(filing if entry is came else replace(filing, entry=entry))
            if entry.gap == LOST:
                connection.execute(_PUT_HOLE, sealed(*name, entry.seq, entry.last))
        if not news and not came.gap and _found(connection, name, came.seq):
            taken.append(filing)
    cursors.write()
    _file(connection, taken)
    return [filing.entry for filing in taken]


def delivered(connection: sqlite3.Connection, positions: Mapping[str, int]) -> None:
    for class_name, upto in positions.items():
        count, size = _delete(connection, class_name, upto)
        _change_class(connection, class_name, upto, -count, -size)


def page(connection: sqlite3.Connection, class_name: str, behind: int, max_bytes: int) -> list[Placed]:
    placed: list[Placed] = []
    total = 0
    cursor = connection.execute(_PAGE, (class_name, behind))
    try:
        for row in cursor:
            total += row[3]
            if placed and total > max_bytes:
                break
            placed.append(queued(row))
    finally:
        cursor.close()
    return placed


def told(connection: sqlite3.Connection, namespace: str, class_name: str, behind: bytes, limit: int) -> list[Told]:
    rows = connection.execute(_TOLD, (TOLD_JOURNALS, namespace, class_name, behind, limit)).fetchall()
    return [Told(row[1], row[5], row[4]) for row in verified("journal_cursor", rows)]


def depths(connection: sqlite3.Connection) -> list[Depth]:
    rows = verified("journal_class", connection.execute(_CLASSES).fetchall())
    return [_depth(connection, class_name, entries, size) for class_name, _, entries, size in rows]


def _depth(connection: sqlite3.Connection, class_name: str, entries: int, size: int) -> Depth:
    first, last = (connection.execute(select, (class_name,)).fetchone() for select in (_FIRST, _LAST))
    if first is None or last is None:
        return Depth(class_name, entries, size, 0, 0, 0)
    queued(last)
    return Depth(class_name, entries, size, queued(first).entry.time, first[2], last[2])


def evict(connection: sqlite3.Connection, class_name: str, max_bytes: int, before: int) -> int:
    last, _, size = _class(connection, class_name)
    full = size > max_bytes
    upto = _expired_upto(connection, class_name, before, last)
    if full:
        upto = max(upto, _excess_upto(connection, class_name, size - max_bytes * 9 // 10))
    (gone,) = connection.execute(
        "SELECT count(*) FROM journal_queue WHERE class = ? AND position <= ? AND gap = ''", (class_name, upto)
    ).fetchone()
    if gone:
        _replace_by_gaps(connection, class_name, upto, EVICTED if full else EXPIRED)
    return int(gone)


def kept_page(connection: sqlite3.Connection, class_name: str, behind: int, limit: int, about: About) -> list[Placed]:
    chosen = (class_name, behind, limit, about.namespace, about.device)
    return list(map(kept, connection.execute(_KEPT_PAGE, chosen).fetchall()))


def kept_before(
    connection: sqlite3.Connection, class_name: str, before: int | None, limit: int, about: About
) -> list[Placed]:
    last = _LAST_POSITION if before is None else before - 1
    chosen = (class_name, last, limit, about.namespace, about.device)
    return list(map(kept, connection.execute(_KEPT_BEFORE, chosen).fetchall()))


def prune_kept(connection: sqlite3.Connection, class_name: str, most: int) -> int:
    return connection.execute(_PRUNE_KEPT, (class_name, most)).rowcount


def _found(connection: sqlite3.Connection, name: _Name, seq: int) -> bool:
    """Whether this seq was given up for lost; it is not any more."""
    held = connection.execute(_GET_HOLE, (*name, seq)).fetchall()
    first, last = next((hole[3:] for hole in verified("journal_hole", held)), (0, 0))
    if last < seq:
        return False
    connection.execute(_DELETE_HOLE, (*name, first))
    halves = [(first, seq - 1), (seq + 1, last)]
    connection.executemany(_PUT_HOLE, [sealed(*name, start, end) for start, end in halves if start <= end])
    return True


def forget_own_journals(connection: sqlite3.Connection) -> None:
    """At an opening: journals of former boots are not written any more, and only the newest are told of."""
    connection.execute(_FORGET_OWN, (TOLD_JOURNALS,))


class _Cursors:
    """Cursors as read in this transaction, written at its end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[_Name, tuple[int, int]] = {}
        """The last seq, and the last that was queued."""
        self._since: dict[_Name, tuple[str, int]] = {}
        """Of those that are in the table: node and `since`."""
        self._changed: dict[_Name, str] = {}

    def get(self, name: _Name) -> int:
        if name not in self._known:
            rows = self._connection.execute(_GET_CURSOR, name).fetchall()
            for *_, seq, queued, node, since in verified("journal_cursor", rows):
                self._known[name] = seq, queued
                self._since[name] = node, since
        return self._known.setdefault(name, (0, 0))[0]

    def put(self, name: _Name, seq: int, node: str, *, queued: bool) -> None:
        """Of a journal that was asked for with `get`."""
        self._known[name] = seq, seq if queued else self._known[name][1]
        self._changed[name] = node

    def write(self) -> None:
        rows = []
        for key, node in self._changed.items():
            if key not in self._since:
                self._since[key] = node, self._begin(key, node)
            rows.append(sealed(*key, *self._known[key], *self._since[key]))
        self._connection.executemany(_PUT_CURSOR, rows)

    def _begin(self, key: _Name, node: str) -> int:
        """The number of a journal that was not known: it may push out the oldest of its node and class."""
        of = (key[0], node, key[2])
        (last,) = self._connection.execute(_LAST_SINCE, of).fetchone()
        known = [since for _, since in self._since.values()]
        number = max(last, *known, 0) + 1 if known else int(last) + 1
        for old in self._connection.execute(_OLD_CURSORS, (*of, number - MOST_JOURNALS)).fetchall():
            self._connection.execute(_DELETE_CURSOR, old)
            self._connection.execute(_DELETE_HOLES, old)
        return number


def _file(connection: sqlite3.Connection, filings: Iterable[Filing]) -> None:
    waiting: dict[str, list[Row]] = {}
    staying: list[Row] = []
    points: list[JournalEntry] = []
    for filing in filings:
        entry = filing.entry
        row = _row(entry)
        if filing.queue:
            waiting.setdefault(entry.class_name, []).append((filing.stamp, _size(row), *row))
        if filing.keep and entry.class_name == HISTORY and not entry.gap and entry.device is not None:
            points.append(entry)
        elif filing.keep:
            staying.append(sealed(entry.class_name, _size(row), *row))
    for class_name, rows in waiting.items():
        first = _class(connection, class_name)[0] + 1
        _QUEUE.run(connection, [sealed(class_name, first + n, *row) for n, row in enumerate(rows)])
        total = sum(row[1] for row in rows)
        _change_class(connection, class_name, first + len(rows) - 1, len(rows), total)
    _KEEP.run(connection, staying)
    history.add(connection, points)


def _row(entry: JournalEntry) -> Row:
    return (
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


def _size(row: Row) -> int:
    return 64 + len(row[5]) + len(row[6] or "") + len(row[7]) + len(row[9])


def _placed(row: Row, position: int, size: int, content: Row) -> Placed:
    """`row`: what the checksum covers, and it."""
    class_name = row[0]
    if checksum(*row[:-1]) != row[-1]:
        raise StoreCorrupt(f"entry {position} of the journal's class {class_name} is damaged")
    namespace, journal_id, seq, count, gap, node, device, name, time, value = content
    entry = JournalEntry(
        class_name, namespace, node, device, name, time, json.loads(value), journal_id, seq, count, gap
    )
    return Placed(position, entry, size)


def queued(row: Row) -> Placed:
    """Raises StoreCorrupt."""
    return _placed(row, row[1], row[3], row[4:-1])


def kept(row: Row) -> Placed:
    """Raises StoreCorrupt."""
    return _placed(row[1:], row[0], row[2], row[3:-1])


def _class(connection: sqlite3.Connection, class_name: str) -> tuple[int, int, int]:
    """Last position, entries and bytes of a queue."""
    rows = connection.execute("SELECT * FROM journal_class WHERE class = ?", (class_name,)).fetchall()
    for _, position, entries, size in verified("journal_class", rows):
        return position, entries, size
    return 0, 0, 0


def _change_class(connection: sqlite3.Connection, class_name: str, position: int, entries: int, size: int) -> None:
    """`entries` and `size` came, or went if negative."""
    last, had, bytes_ = _class(connection, class_name)
    connection.execute(_PUT_CLASS, sealed(class_name, max(last, position), had + entries, bytes_ + size))


def _expired_upto(connection: sqlite3.Connection, class_name: str, before: int, last: int) -> int:
    """The position before the first entry that has not expired; `last` if all have."""
    first = connection.execute(
        "SELECT position FROM journal_queue WHERE class = ? AND stamp >= ? ORDER BY position LIMIT 1",
        (class_name, before),
    ).fetchone()
    return last if first is None else int(first[0]) - 1


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
    # A gap record is believed for ever, so nothing damaged may make one. Seqs that are in order need no closer look.
    in_order = all(last - first < stood for _, _, first, last, _, _, _, _, stood in found)
    for row in connection.execute(_GAPS_UP_TO if in_order else _UP_TO, (class_name, upto)).fetchall():
        queued(row)
    gone, freed = _delete(connection, class_name, upto)
    rows = []
    for namespace, journal_id, first, last, node, position, stamp, time, _ in found:
        gap = JournalEntry(
            class_name, namespace, node, None, "", time, None, journal_id, first, last - first + 1, reason
        )
        row = _row(gap)
        rows.append(sealed(class_name, position, stamp, _size(row), *row))
    _QUEUE.run(connection, rows)
    added = sum(row[3] for row in rows)
    _change_class(connection, class_name, upto, len(rows) - gone, added - freed)


def _delete(connection: sqlite3.Connection, class_name: str, upto: int) -> tuple[int, int]:
    """Delete from the front of a queue; how many entries and bytes went."""
    count, size = connection.execute(_SUM_QUEUED, (class_name, upto)).fetchone()
    connection.execute(_DELETE_QUEUED, (class_name, upto))
    return count, size
