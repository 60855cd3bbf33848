"""Who a store is, and the numbers it has given out: its id, its boots, its counter of lsns, and what it passed over.

No lsn is given out twice: the counter is durable before any number of a block is used. `boot` keeps, for each opening
that is remembered, up to where it could reach; `gap` what none of them ever used.
"""

from __future__ import annotations

import secrets
import sqlite3

from twingateway.errors import StoreCorrupt
from twingateway.ports.store import StoreIdentity, passed_over
from twingateway.store import journal, rows

_PUT_STORE = "UPDATE store SET store_id = ?, floor = ?, checksum = ?"
_PUT_COUNTER = """
INSERT INTO counter VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET reserved = excluded.reserved, checksum = excluded.checksum
"""
#: The name of the only counter.
_LSN = "lsn"
_PUT_BOOT = "INSERT OR REPLACE INTO boot VALUES (?, ?, ?)"
_PUT_GAP = "INSERT OR REPLACE INTO gap VALUES (?, ?, ?)"
#: Openings that a store remembers. A peer that was last met before them is compared with from the ground up.
MOST_BOOTS = 4096
_PRUNE_BOOTS = "DELETE FROM boot WHERE boot_id IN (SELECT boot_id FROM boot ORDER BY lsn DESC LIMIT -1 OFFSET ?)"
_PRUNE_GAPS = "DELETE FROM gap WHERE below IN (SELECT below FROM gap ORDER BY below DESC LIMIT -1 OFFSET ?)"


def store_id(connection: sqlite3.Connection) -> bytes:
    """Raises StoreCorrupt if it is gone."""
    return _store(connection)[0]


def reserve(connection: sqlite3.Connection, boot_id: bytes, count: int) -> range:
    """The next `count` lsns, for this boot."""
    reserved = _reserved(connection) + count
    connection.execute(_PUT_COUNTER, rows.sealed(_LSN, reserved))
    connection.execute(_PUT_BOOT, rows.sealed(boot_id, reserved))
    return range(reserved - count + 1, reserved + 1)


def renew(connection: sqlite3.Connection, identity: StoreIdentity) -> None:
    """It is another store from now on, of which there was no boot before this one."""
    connection.execute(_PUT_STORE, rows.sealed(identity.store_id, _store(connection)[1]))
    connection.execute("DELETE FROM boot")
    connection.execute(_PUT_BOOT, rows.sealed(identity.boot_id, _reserved(connection)))


def raise_floor(connection: sqlite3.Connection, lsn: int) -> None:
    """A register with this lsn is removed."""
    store, floor = _store(connection)
    connection.execute(_PUT_STORE, rows.sealed(store, max(floor, lsn)))


def begin_boot(connection: sqlite3.Connection) -> bytes:
    """A boot begins a random distance behind the counter's end: even before it reserves, this store may tell a peer
    its last lsn."""
    boot_id = secrets.token_bytes(16)
    connection.execute("BEGIN IMMEDIATE")
    try:
        reserved = _reserved(connection)
        (highest,) = connection.execute("SELECT coalesce(max(lsn), 0) FROM register").fetchone()
        if reserved:
            reserved += passed_over(boot_id)
            connection.execute(_PUT_COUNTER, rows.sealed(_LSN, reserved))
            connection.execute(_PUT_GAP, rows.sealed(max(highest, _store(connection)[1]), reserved))
        connection.execute(_PUT_BOOT, rows.sealed(boot_id, reserved))
        connection.execute(_PRUNE_BOOTS, (MOST_BOOTS,))
        connection.execute(_PRUNE_GAPS, (MOST_BOOTS,))
        journal.forget_own_journals(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return boot_id


def _store(connection: sqlite3.Connection) -> tuple[bytes, int]:
    """Its id, and the highest lsn of any register that was removed. Raises StoreCorrupt if that is gone."""
    found = connection.execute("SELECT store_id, floor, checksum FROM store").fetchall()
    for store, floor in rows.verified("store", found):
        return store, floor
    raise StoreCorrupt("the file has lost its identity; restore a backup, or move it away to begin anew")


def _reserved(connection: sqlite3.Connection) -> int:
    """A store of an earlier version has a counter of seqs, too."""
    found = connection.execute("SELECT * FROM counter").fetchall()
    return max((int(reserved) for _, reserved in rows.verified("counter", found)), default=0)
