"""The schema, as a sequence of steps that is only ever appended to.

Each step runs in one transaction together with its row in `schema_version`, so a crash leaves a file at exactly one
version. A file of a later version than this code knows is left alone. `require_schema` tells a file whose tables are
not those that the steps make: its text is content like any other, and a damaged one changes what rows mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache

from twingateway.errors import StoreCorrupt, StoreError
from twingateway.store.rows import checksum

#: Marks the file as ours ("TWGW"), so that another program's database is refused rather than changed.
APPLICATION_ID = 0x54574757

FIRST = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT;
CREATE TABLE store (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), store_id BLOB NOT NULL) STRICT;
INSERT INTO store VALUES (1, randomblob(16));
CREATE TABLE counter (name TEXT PRIMARY KEY, reserved INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE boot (boot_id BLOB PRIMARY KEY, lsn INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE register (
    namespace TEXT NOT NULL,
    device TEXT NOT NULL,
    section TEXT NOT NULL,
    name TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value TEXT NOT NULL,
    time INTEGER NOT NULL,
    lsn INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, device, section, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE peer (
    peer TEXT PRIMARY KEY,
    store_id BLOB NOT NULL,
    low INTEGER NOT NULL,
    boot_id BLOB NOT NULL,
    lsn INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE model (
    namespace TEXT NOT NULL,
    ref TEXT NOT NULL,
    digest TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (namespace, ref)
) STRICT;
CREATE TABLE attempt (
    namespace TEXT NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (namespace, device, name)
) STRICT, WITHOUT ROWID;
"""

#: The journal and history.
SECOND = """
CREATE TABLE journal_cursor (
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    class TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (namespace, journal, class)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_hole (
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    class TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (namespace, journal, class, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_class (
    class TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_queue (
    class TEXT NOT NULL,
    position INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    size INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    gap TEXT NOT NULL,
    node TEXT NOT NULL,
    device TEXT,
    name TEXT NOT NULL,
    time INTEGER NOT NULL,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (class, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_kept (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    class TEXT NOT NULL,
    size INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    gap TEXT NOT NULL,
    node TEXT NOT NULL,
    device TEXT,
    name TEXT NOT NULL,
    time INTEGER NOT NULL,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX journal_kept_class ON journal_kept (class, position);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (namespace, device, name)
) STRICT;
CREATE TABLE history (id INTEGER PRIMARY KEY, series INTEGER NOT NULL, time INTEGER NOT NULL, value ANY) STRICT;
CREATE INDEX history_time ON history (series, time);
"""

#: Step n (from 1) makes version n of version n - 1.
#: What was given up at each opening: lsns above the highest that was stored, up to the highest that was reserved.
THIRD = "CREATE TABLE gap (below INTEGER PRIMARY KEY, upto INTEGER NOT NULL) STRICT;"

#: The highest lsn of any register that was removed.
FOURTH = "ALTER TABLE store ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;"

#: Tables whose rows get a checksum over all that they hold, and the columns it covers, in the table's order.
_SEALED = {
    "store": "store_id, floor",
    "counter": "name, reserved",
    "boot": "boot_id, lsn",
    "gap": "below, upto",
    "peer": "peer, store_id, low, boot_id, lsn",
    "model": "namespace, ref, digest, document",
    "attempt": "namespace, device, name, incarnation, epoch, seq",
    "journal_hole": "namespace, journal, class, first, last",
    "journal_class": "class, position, entries, bytes",
    "series": "id, namespace, device, name",
}
_ENTRY = "namespace, journal, seq, count, gap, node, device, name, time, value"

#: Every row can be told from one that was damaged. Cursors know which node a journal is of, and which of its journals
#: came later (`since`), so that old ones can go.
FIFTH = (
    "".join(
        f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;"
        f"UPDATE {table} SET checksum = row_checksum({columns});"
        for table, columns in _SEALED.items()
    )
    + f"""
UPDATE journal_queue SET checksum = row_checksum(class, position, stamp, size, {_ENTRY});
UPDATE journal_kept SET checksum = row_checksum(class, size, {_ENTRY});
ALTER TABLE history ADD COLUMN again ANY;
UPDATE history SET again = iif(typeof(value) = 'text', row_checksum(value), value);
ALTER TABLE journal_cursor RENAME TO old_cursor;
CREATE TABLE journal_cursor (
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    class TEXT NOT NULL,
    seq INTEGER NOT NULL,
    node TEXT NOT NULL,
    since INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, journal, class)
) STRICT, WITHOUT ROWID;
CREATE INDEX journal_cursor_since ON journal_cursor (namespace, node, class, since);
INSERT INTO journal_cursor
    SELECT namespace, journal, class, seq, '', 0, row_checksum(namespace, journal, class, seq, '', 0) FROM old_cursor;
DROP TABLE old_cursor;
CREATE TABLE history_total (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), bytes INTEGER NOT NULL, checksum INTEGER NOT NULL
) STRICT;
INSERT INTO history_total SELECT 1, bytes, row_checksum(bytes) FROM (
    SELECT coalesce(sum(60 + iif(typeof(value) = 'text', length(CAST(value AS BLOB)), 0)), 0) AS bytes FROM history);
"""
)

#: How far each journal was queued for the parent. Of those that are known already only what comes from now on counts.
SIXTH = """
ALTER TABLE journal_cursor RENAME TO old_cursor;
DROP INDEX journal_cursor_since;
CREATE TABLE journal_cursor (
    namespace TEXT NOT NULL,
    journal BLOB NOT NULL,
    class TEXT NOT NULL,
    seq INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    node TEXT NOT NULL,
    since INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, journal, class)
) STRICT, WITHOUT ROWID;
CREATE INDEX journal_cursor_since ON journal_cursor (namespace, node, class, since);
INSERT INTO journal_cursor
    SELECT namespace, journal, class, seq, 0, node, since,
        row_checksum(namespace, journal, class, seq, 0, node, since) FROM old_cursor;
DROP TABLE old_cursor;
"""

STEPS: tuple[str, ...] = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH)


def schema_version(connection: sqlite3.Connection) -> int:
    """The file's version, 0 for an empty one; changes nothing.

    Raises StoreError for another program's file, StoreCorrupt for ours without its version; sqlite3.Error passes.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return 0
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and not tables >= _OURS:
        raise StoreError("the file is a database of another program: give the store a file of its own")
    versions = _versions(connection)
    known = versions[: len(STEPS)]
    if application != APPLICATION_ID or not versions or known != list(range(1, len(known) + 1)):
        raise StoreCorrupt("the file has lost its schema version: restore a backup, or move it away to begin anew")
    return versions[-1]


def known_version(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> int:
    """The file's version. Raises what `schema_version` does, and StoreError for one that this code does not know."""
    version = schema_version(connection)
    if version > len(steps):
        raise StoreError(
            f"the file has schema version {version}, this program knows {len(steps)}: "
            "use the twingateway release that wrote it, or a later one"
        )
    return version


def _versions(connection: sqlite3.Connection) -> list[int]:
    """Ascending; none if the table is not what it was."""
    try:
        return [version for (version,) in connection.execute("SELECT version FROM schema_version ORDER BY version")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return []


#: Tables by which a file of ours is known, should its mark be damaged.
_OURS = {"schema_version", "store", "register"}


def migrate(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Bring the file to the newest version. Raises what `known_version` does."""
    version = known_version(connection, steps)
    connection.create_function("row_checksum", -1, checksum, deterministic=True)
    for number in range(version + 1, len(steps) + 1):
        script = f"BEGIN IMMEDIATE; {steps[number - 1]}; INSERT INTO schema_version VALUES ({number}); COMMIT;"
        try:
            connection.executescript(script)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def require_schema(connection: sqlite3.Connection) -> None:
    """Raises StoreCorrupt unless the tables and indexes are those that the steps make."""
    if _schema(connection) != _expected():
        raise StoreCorrupt("the tables of the store are not what they were; restore a backup, or move it away")


@cache
def _expected() -> list[tuple[str, str, str, str | None]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection)
        return _schema(connection)
    finally:
        connection.close()


def _schema(connection: sqlite3.Connection) -> list[tuple[str, str, str, str | None]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
