"""History in SQLite: points by series and time. Numbers are kept as such, so that SQL can sum them up; other values
are JSON text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from twingateway.ports.journal import Bucket, Point, Span
from twingateway.store.bulk import Bulk
from twingateway.store.rows import encode_value
from twingateway.twin.entry import JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value

_GET_SERIES = "SELECT id FROM series WHERE namespace = ? AND device = ? AND name = ?"
_PUT_SERIES = "INSERT INTO series (namespace, device, name) VALUES (?, ?, ?) RETURNING id"
_PUT_POINTS = Bulk("INSERT INTO history (series, time, value) VALUES (?, ?, ?)")
_POINTS = """
SELECT time, id, value FROM history
WHERE series = ? AND time >= ? AND time < ? AND (time, id) > (?, ?) ORDER BY time, id LIMIT ?
"""
_BUCKETS = """
SELECT ?2 + (time - ?2) / ?4 * ?4 AS step, count(*), min(number), avg(number), max(number)
FROM (SELECT time, iif(typeof(value) IN ('integer', 'real'), value, NULL) AS number FROM history
    WHERE series = ?1 AND time >= ?2 AND time < ?3)
GROUP BY step ORDER BY step LIMIT ?5
"""
_PRUNE = """
DELETE FROM history WHERE series = ?1 AND time < min(?2, (SELECT max(time) FROM history WHERE series = ?1)) - ?3
"""


def add(connection: sqlite3.Connection, points: Iterable[JournalEntry]) -> None:
    known: dict[tuple[str, str | None, str], int] = {}
    rows = []
    for point in points:
        name = (point.namespace, point.device, point.name)
        if name not in known:
            known[name] = _series(connection, name, create=True)
        rows.append((known[name], point.time, _encode(point.value)))
    _PUT_POINTS.run(connection, rows)


def points(connection: sqlite3.Connection, span: Span, behind: tuple[int, int], limit: int) -> list[Point]:
    series = _series(connection, (*span.device, span.name))
    rows = connection.execute(_POINTS, (series, span.start, span.end, *behind, limit))
    return [Point(time, order, _decode(value)) for time, order, value in rows]


def buckets(connection: sqlite3.Connection, span: Span, step: int, limit: int) -> list[Bucket]:
    series = _series(connection, (*span.device, span.name))
    return [Bucket(*row) for row in connection.execute(_BUCKETS, (series, span.start, span.end, step, limit))]


def all_series(connection: sqlite3.Connection) -> list[tuple[DeviceId, str]]:
    rows = connection.execute("SELECT namespace, device, name FROM series")
    return [(DeviceId(namespace, device), name) for namespace, device, name in rows]


def prune(connection: sqlite3.Connection, device: DeviceId, name: str, retention: int, now: int) -> int:
    series = _series(connection, (*device, name))
    return connection.execute(_PRUNE, (series, now, retention)).rowcount


def _series(connection: sqlite3.Connection, name: tuple[str, str | None, str], create: bool = False) -> int:
    """The series' id, 0 for one that is not there."""
    row = connection.execute(_GET_SERIES, name).fetchone()
    if row is None and create:
        row = connection.execute(_PUT_SERIES, name).fetchone()
    return 0 if row is None else int(row[0])


def _encode(value: Value) -> int | float | str:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else encode_value(value)


def _decode(value: int | float | str) -> Value:
    decoded: Value = json.loads(value) if isinstance(value, str) else value
    return decoded
