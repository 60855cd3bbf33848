"""The rows of one commit, and how they get into the tables: the newest version of a register wins, whatever the order
in which they come.
"""

from __future__ import annotations

import sqlite3

from twingateway.ports.store import Changes
from twingateway.store import identity, journal, rows
from twingateway.store.bulk import Bulk
from twingateway.twin.register import Section

# The hot way. What is not news, by version or by lsn, is left to `_merge_register`.
_PUT_REGISTER = """
INSERT INTO register VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    incarnation = excluded.incarnation, epoch = excluded.epoch, seq = excluded.seq,
    value = excluded.value, time = excluded.time, lsn = excluded.lsn, checksum = excluded.checksum
WHERE (excluded.incarnation, excluded.epoch, excluded.seq) > (incarnation, epoch, seq) AND excluded.lsn >= lsn
"""
_GET_REGISTER = "SELECT * FROM register WHERE namespace = ? AND device = ? AND section = ? AND name = ?"
_REPLACE_REGISTER = "REPLACE INTO register VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_REGISTERS = Bulk(_PUT_REGISTER)
_PUT_PEER = "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?)"
_PUT_MODEL = """
INSERT INTO model VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET digest = excluded.digest, document = excluded.document, checksum = excluded.checksum
"""
_PUT_ATTEMPT = "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVE_REGISTER = "DELETE FROM register WHERE namespace = ? AND device = ? AND section = ? AND name = ?"
_REMOVE_ATTEMPT = "DELETE FROM attempt WHERE namespace = ? AND device = ? AND name = ?"


class Batch:
    """The rows of some `Changes`, taken when `commit` is called: the caller may change its records afterwards."""

    def __init__(self, changes: Changes, boot_id: bytes) -> None:
        self.boot_id = boot_id
        self.journal = list(changes.journal)
        self.delivered = dict(changes.delivered)
        self.registers = [rows.register_row(stored) for stored in changes.registers]
        self.peers = [rows.peer_row(peer) for peer in changes.peers]
        self.models = [rows.model_row(model) for model in changes.models]
        self.attempts = [rows.attempt_row(attempt) for attempt in changes.attempts]
        self.forget = [rows.removal_row(removal) for removal in changes.forget]

    def apply(self, connection: sqlite3.Connection) -> None:
        put = connection.executemany
        if self.registers and _PUT_REGISTERS.run(connection, self.registers) < len(self.registers):
            for row in self.registers:
                _merge_register(connection, row)
        put(_PUT_PEER, self.peers)
        put(_PUT_MODEL, self.models)
        put(_PUT_ATTEMPT, self.attempts)
        for row in self.forget:
            _remove(connection, row)
        journal.begin(connection, self.journal, self.boot_id)
        journal.delivered(connection, self.delivered)


def _remove(connection: sqlite3.Connection, row: rows.Row) -> None:
    """`row`: key and version. One that is newer by now stays."""
    key, version = row[:4], row[4:7]
    for held in rows.verified("register", connection.execute(_GET_REGISTER, key).fetchall()):
        if held[4:7] <= version:
            connection.execute(_REMOVE_REGISTER, key)
            identity.raise_floor(connection, held[9])
            if row[2] == Section.DESIRED:
                connection.execute(_REMOVE_ATTEMPT, (*row[:2], row[3]))


def _merge_register(connection: sqlite3.Connection, row: rows.Row) -> None:
    """Newest version's content, greatest lsn, whatever the order in which they come. What stands there is looked at
    first: no checksum is made anew over damage."""
    for held in rows.verified("register", connection.execute(_GET_REGISTER, row[:4]).fetchall()):
        newest = row if row[4:7] > held[4:7] else held
        merged = rows.sealed(*newest[:9], max(row[9], held[9]))
        if merged[:-1] != held:
            connection.execute(_REPLACE_REGISTER, merged)
