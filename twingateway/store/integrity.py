"""Looks for damage when a store is opened, and now and then while it is open.

SQLite tells whether its pages fit together, and (for the price of a search per row and index) whether indexes and
tables agree. Checksums tell whether a row holds what was written, once it is read. What neither of them tells is
looked for here: bytes of the file's head that change what SQLite makes of the rest, and rows that a damaged key has
put where nobody looks for them.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twingateway.errors import StoreCorrupt
from twingateway.store.rows import verified

#: Bytes up to which a file is looked at from end to end while it is opened; a larger one is once it is open.
SMALL = 16 * 1024 * 1024
#: The head of a file of ours: from byte, to before byte, what can stand there. All else in it counts something.
_HEAD: tuple[tuple[int, int, tuple[bytes, ...]], ...] = (
    (16, 18, (b"\x10\x00",)),  # bytes of a page
    (18, 20, (b"\x01\x01", b"\x02\x02")),  # how it is written: the second with a write-ahead log
    (20, 24, (b"\x00\x40\x20\x20",)),
    (44, 48, (b"\x00\x00\x00\x04",)),  # format of the schema
    (52, 56, (bytes(4),)),  # no automatic vacuum
    (56, 60, (b"\x00\x00\x00\x01",)),  # UTF-8
    (60, 68, (bytes(8),)),
    (72, 92, (bytes(20),)),
)
_MAGIC, _APPLICATION = b"SQLite format 3\0", slice(68, 72)
#: Tables that are read row by row, not all at the opening.
_KEYED = ("counter", "journal_class", "journal_cursor", "journal_hole", "series")
_TOTALS = "SELECT class, count(*), sum(size) FROM journal_queue GROUP BY class ORDER BY class"
_KNOWN_TOTALS = "SELECT class, entries, bytes FROM journal_class WHERE entries OR bytes ORDER BY class"


def require_head(path: Path, application: int) -> None:
    """Raises StoreCorrupt if the head of a file of ours (by its mark `application`) is not as it must be."""
    head = _head(path)
    if not _is_of(head, application):
        return  # new, or SQLite and the schema will tell what it is
    if any(head[start:end] not in allowed for start, end, allowed in _HEAD):
        raise StoreCorrupt("the head of the store's file is damaged; restore a backup, or move it away")


def is_of(path: Path, application: int) -> bool:
    """By its mark, be it damaged or not."""
    return _is_of(_head(path), application)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _is_of(head: bytes, application: int) -> bool:
    return head[:16] == _MAGIC and head[_APPLICATION] == application.to_bytes(4, "big")


def require_sound(connection: sqlite3.Connection) -> None:
    """What is looked at at each opening. Raises StoreCorrupt."""
    (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    _require_pages(connection, "integrity_check" if pages * size <= SMALL else "quick_check")


def require_keys(connection: sqlite3.Connection) -> None:
    """Rows are where they are looked for. Raises StoreCorrupt."""
    for table in _KEYED:
        for _ in verified(table, connection.execute(f"SELECT * FROM {table} NOT INDEXED").fetchall()):
            pass
    if connection.execute(_TOTALS).fetchall() != connection.execute(_KNOWN_TOTALS).fetchall():
        raise StoreCorrupt("the queues of the store's journal are damaged; restore a backup, or move it away")


def require_whole_file(connection: sqlite3.Connection) -> None:
    """From end to end: seconds for each gigabyte. Raises StoreCorrupt."""
    _require_pages(connection, "integrity_check")
    require_keys(connection)


def _require_pages(connection: sqlite3.Connection, pragma: str) -> None:
    (verdict,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(f"the file is damaged ({verdict}); restore a backup, or move it away to begin anew")
