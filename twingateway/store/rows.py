"""How records become rows, and rows records.

Values are kept as canonical JSON text (sorted keys, no spaces): the standard library encodes and decodes it in C, any
SQLite shell can read it, and it keeps integers and floats apart, which is all that a `Value` needs of CBOR too.
Each row carries a CRC-32 of its content, because SQLite notices damage to its pages' structure only; the points of
history, which are many and are summed up in SQL, carry what SQL itself can compare (see `history`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, TypeAlias
from zlib import crc32

from twingateway.errors import StoreCorrupt, StoreError
from twingateway.ports.store import Attempt, PeerRecord, Removal, Snapshot, StoredModel
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

Row: TypeAlias = tuple[Any, ...]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode
_SECTIONS = {section.value: section for section in Section}


def encode_value(value: Value) -> str:
    """Canonical JSON; raises StoreError for what no `Value` may hold (NaN, lone surrogates, foreign types)."""
    if type(value) is int or (type(value) is float and isfinite(value)):
        return repr(value)  # what the encoder says, at a fifth of the cost
    try:
        text = _encode(value)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"a value cannot be stored: {error}") from error
    return text


def checksum(*content: object) -> int:
    """CRC-32 of a row's columns, in the table's order."""
    return crc32("\0".join(map(str, content)).encode())


def sealed(*content: Any) -> Row:
    """The row with its checksum."""
    return (*content, checksum(*content))


def verified(table: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows without their checksums. Raises StoreCorrupt at the first whose content is not what was written."""
    for row in rows:
        if checksum(*row[:-1]) != row[-1]:
            raise StoreCorrupt(f"a row of the store's table {table} is damaged")
        yield row[:-1]


def register_row(stored: StoredRegister) -> Row:
    register = stored.register
    (namespace, device), section, name = register.key
    incarnation, epoch, seq = register.version
    value, time, lsn = encode_value(register.value), register.time, stored.lsn
    text = f"{namespace}\0{device}\0{section.value}\0{name}\0{incarnation}\0{epoch}\0{seq}\0{value}\0{time}\0{lsn}"
    seal = crc32(text.encode())  # what `checksum` says, in half the time
    return namespace, device, section.value, name, incarnation, epoch, seq, value, time, lsn, seal


def read_registers(rows: Iterable[Row]) -> list[StoredRegister]:
    """Raises StoreCorrupt at the first register whose content is not what was written."""
    registers = []
    devices: dict[tuple[str, str], DeviceId] = {}
    for *content, expected in rows:
        namespace, device, section, name, incarnation, epoch, seq, value, time, lsn = content
        if checksum(*content) != expected:
            raise StoreCorrupt(f"the stored register {namespace}/{device}/{section}/{name} is damaged")
        identity = devices.get((namespace, device))
        if identity is None:
            identity = devices[namespace, device] = DeviceId(namespace, device)
        key = RegisterKey(identity, _SECTIONS[section], name)
        register = Register(key, Version(incarnation, epoch, seq), _decode(value), time)
        registers.append(StoredRegister(register, lsn))
    return registers


def peer_row(peer: PeerRecord) -> Row:
    return sealed(peer.peer, peer.store_id, peer.low, peer.boot_id, peer.lsn)


def model_row(model: StoredModel) -> Row:
    return sealed(model.namespace, model.ref, model.digest, model.document)


def attempt_row(attempt: Attempt) -> Row:
    return sealed(*attempt.device, attempt.name, *attempt.version)


def removal_row(removal: Removal) -> Row:
    return (*removal.key.device, removal.key.section.value, removal.key.name, *removal.version)


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Everything in the file, from one consistent state of it."""

    def read(table: str, order: str = "", columns: str = "*") -> Iterator[Row]:
        return verified(table, connection.execute(f"SELECT {columns} FROM {table} {order}").fetchall())

    connection.execute("BEGIN")
    registers = connection.execute("SELECT * FROM register")
    try:
        return Snapshot(
            registers=read_registers(registers),
            peers={row[0]: PeerRecord(*row) for row in read("peer")},
            models=[StoredModel(*row) for row in read("model", "ORDER BY rowid")],
            attempts=[
                Attempt(DeviceId(namespace, device), name, Version(*version))
                for namespace, device, name, *version in read("attempt")
            ],
            boots=dict(read("boot")),
            gaps=[(below, upto) for below, upto in read("gap", "ORDER BY below")],
            floor=max(floor for _, floor in read("store", columns="store_id, floor, checksum")),
        )
    finally:
        registers.close()  # one left half read would keep the file from being closed
        connection.execute("ROLLBACK")
