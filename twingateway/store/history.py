"""History in SQLite: points by series and time. Numbers are kept as such, so that SQL can sum them up; other values
are JSON text.

`again` tells a damaged point: it holds a number a second time, and the CRC-32 of text. Series and time stand in the
index as well as in the row, so each query takes them from the one and compares them with the other: all of it without
a return to Python for each row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from twingateway.errors import StoreCorrupt
from twingateway.ports.journal import Bucket, Point, Span
from twingateway.store.bulk import Bulk
from twingateway.store.rows import Row, checksum, encode_value, sealed, verified
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value

#: Everything, for `series_row` and `point_row`.
SERIES = "SELECT id, namespace, device, name, checksum FROM series"
ALL_POINTS = "SELECT id, series, time, value, again FROM history"
_GET_SERIES = f"{SERIES} WHERE namespace = ? AND device = ? AND name = ?"
_PUT_SERIES = "INSERT INTO series (namespace, device, name) VALUES (?, ?, ?) RETURNING id"
_SEAL_SERIES = "UPDATE series SET checksum = ? WHERE id = ?"
_PUT_POINTS = Bulk("INSERT INTO history (series, time, value, again) VALUES (?, ?, ?, ?)")
#: `i` is read from the index, `t` from the table.
_POINT = "history AS i CROSS JOIN history AS t ON t.id = i.id"
_MOVED = "t.series <> i.series OR t.time <> i.time"
_POINTS = f"""
SELECT i.time, i.id, t.value, t.again, {_MOVED} FROM {_POINT}
WHERE i.series = ? AND i.time >= ? AND i.time < ? AND (i.time, i.id) > (?, ?) ORDER BY i.time, i.id LIMIT ?
"""
_BUCKETS = f"""
SELECT ?2 + (time - ?2) / ?4 * ?4 AS step, count(*), min(number), avg(number), max(number), max(damaged)
FROM (
    SELECT i.time AS time, iif(typeof(t.value) = 'text', NULL, t.value) AS number,
        {_MOVED} OR typeof(t.again) <> iif(typeof(t.value) = 'text', 'integer', typeof(t.value))
            OR typeof(t.value) NOT IN ('integer', 'real', 'text')
            OR (typeof(t.value) <> 'text' AND t.value <> t.again) AS damaged
    FROM {_POINT} WHERE i.series = ?1 AND i.time >= ?6 AND i.time < ?3
)
GROUP BY step ORDER BY step LIMIT ?5
"""
_LAST = f"""
SELECT i.time, i.id, t.value, t.again, {_MOVED} FROM {_POINT}
WHERE i.series = ? AND i.time <= ? AND (i.time, i.id) <= (?2, ?) ORDER BY i.time DESC, i.id DESC LIMIT 1
"""
#: Bytes that a point takes beside its text: its row and its place in the index.
_POINT_BYTES = 60
_SIZE = f"{_POINT_BYTES} + iif(typeof(value) = 'text', length(CAST(value AS BLOB)), 0)"
_OLD = "series = ?1 AND time < min(?2, (SELECT max(time) FROM history WHERE series = ?1)) - ?3"
_SUM_OLD = f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM history WHERE {_OLD}"
_PRUNE = f"DELETE FROM history WHERE {_OLD}"
#: The first points that make up at least ?2 bytes, at most ?1 of them: the last one's id, how many, their bytes.
_FIRST = f"""
SELECT max(id), count(*), coalesce(sum(size), 0)
FROM (SELECT id, size, sum(size) OVER (ORDER BY id) AS upto
    FROM (SELECT id, {_SIZE} AS size FROM history ORDER BY id LIMIT ?1))
WHERE upto - size < ?2
"""
_TRIM = "DELETE FROM history WHERE id <= ?"
_PUT_TOTAL = "UPDATE history_total SET bytes = ?, checksum = ?"


def add(connection: sqlite3.Connection, points: Iterable[JournalEntry]) -> None:
    known: dict[tuple[str, str | None, str], int] = {}
    rows, size = [], 0
    for point in points:
        name = (point.namespace, point.device, point.name)
        if name not in known:
            known[name] = _series(connection, name, create=True)
        value, again = _encode(point.value)
        rows.append((known[name], point.time, value, again))
        size += _POINT_BYTES + (len(value.encode()) if isinstance(value, str) else 0)
    if rows:
        _PUT_POINTS.run(connection, rows)
        _add_to_total(connection, size)


def points(connection: sqlite3.Connection, span: Span, behind: tuple[int, int], limit: int) -> list[Point]:
    series = _series(connection, (*span.device, span.name))
    rows = connection.execute(_POINTS, (series, span.first, span.end, *behind, limit)).fetchall()
    return list(map(_point, rows))


def buckets(connection: sqlite3.Connection, span: Span, step: int, limit: int) -> list[Bucket]:
    series = _series(connection, (*span.device, span.name))
    rows = connection.execute(_BUCKETS, (series, span.start, span.end, step, limit, span.first)).fetchall()
    if any(row[-1] for row in rows):
        raise StoreCorrupt(f"a point in the history of {span.device}, {span.name}, is damaged")
    return [Bucket(*row[:-1]) for row in rows]


def last(connection: sqlite3.Connection, device: DeviceId, name: str, upto: tuple[int, int]) -> Point | None:
    rows = connection.execute(_LAST, (_series(connection, (*device, name)), *upto)).fetchall()
    return next(map(_point, rows), None)


def all_series(connection: sqlite3.Connection) -> list[tuple[DeviceId, str]]:
    rows = verified(
        "series", connection.execute("SELECT id, namespace, device, name, checksum FROM series").fetchall()
    )
    return [(DeviceId(namespace, device), name) for _, namespace, device, name in rows]


def series_row(row: Row) -> Row:
    """Id, namespace, device and name. Raises StoreCorrupt."""
    return next(verified("series", [row]))


def point_row(row: Row) -> tuple[int, int, Value]:
    """Series, time and value. Raises StoreCorrupt."""
    _, series, time, value, again = row
    return series, time, _decode(value, again, 0)


def prune(connection: sqlite3.Connection, device: DeviceId, name: str, retention: int, now: int) -> int:
    series = _series(connection, (*device, name))
    count, size = connection.execute(_SUM_OLD, (series, now, retention)).fetchone()
    if count:
        connection.execute(_PRUNE, (series, now, retention))
        _add_to_total(connection, -size)
    return int(count)


def total(connection: sqlite3.Connection) -> int:
    rows = connection.execute("SELECT bytes, checksum FROM history_total").fetchall()
    return next((int(size) for (size,) in verified("history_total", rows)), 0)


def trim(connection: sqlite3.Connection, target: int, most: int) -> int:
    """Delete the points that came first until all take no more than `target` bytes, at most `most` of them."""
    excess = total(connection) - target
    if excess <= 0:
        return 0
    last, count, size = connection.execute(_FIRST, (most, excess)).fetchone()
    if count:
        connection.execute(_TRIM, (last,))
        _add_to_total(connection, -size)
    return int(count)


def _point(row: Row) -> Point:
    time, order, value, again, moved = row
    return Point(time, order, _decode(value, again, moved))


def _add_to_total(connection: sqlite3.Connection, size: int) -> None:
    connection.execute(_PUT_TOTAL, sealed(max(0, total(connection) + size)))


def _series(connection: sqlite3.Connection, name: tuple[str, str | None, str], create: bool = False) -> int:
    """The series' id, 0 for one that is not there."""
    for found, *_ in verified("series", connection.execute(_GET_SERIES, name).fetchall()):
        return int(found)
    if not create:
        return 0
    (new,) = connection.execute(_PUT_SERIES, name).fetchone()
    connection.execute(_SEAL_SERIES, (sealed(new, *name)[-1], new))
    return int(new)


def _encode(value: Value) -> Row:
    """`value` and `again`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value, value
    text = encode_value(value)
    return text, checksum(text)


def _decode(value: object, again: object, moved: int) -> Value:
    expected = checksum(value) if isinstance(value, str) else value
    if moved or type(expected) is not type(again) or expected != again or value is None:
        raise StoreCorrupt("a point in the history is damaged")
    decoded: Value = json.loads(value) if isinstance(value, str) else value  # type: ignore[assignment]
    return decoded
