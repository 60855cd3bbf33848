"""Modbus requests as bytes: function code and data, without unit and framing. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from twingateway_modbus.point import Table

#: Function codes by what they do.
READ_FUNCTIONS: dict[Table, int] = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
MASK_WRITE, READ_WRITE = 22, 23
ENCAPSULATED, IDENTIFICATION = 43, 14
_ON = 0xFF00


@dataclass(frozen=True, slots=True)
class Request:
    """`doing` completes “did not answer …” for people."""

    pdu: bytes
    doing: str

    @property
    def function(self) -> int:
        return self.pdu[0]


@dataclass(frozen=True, slots=True)
class Cells:
    """A range of one table."""

    table: Table
    address: int
    count: int

    def __str__(self) -> str:
        kind = "bit" if self.table.of_bits else "register"
        return f"{self.count} {self.table} {kind}{'s' * (self.count != 1)} at {self.address}"


def read(cells: Cells) -> Request:
    pdu = struct.pack(">BHH", READ_FUNCTIONS[cells.table], cells.address, cells.count)
    return Request(pdu, f"reading {cells}")


def write_registers(address: int, data: bytes, *, multiple: bool = False) -> Request:
    """One register with function 6, several (or one, if `multiple`) in one request with function 16."""
    count = len(data) // 2
    doing = f"writing {Cells(Table.HOLDING, address, count)}"
    if count == 1 and not multiple:
        return Request(struct.pack(">BH", WRITE_REGISTER, address) + data, doing)
    return Request(struct.pack(">BHHB", WRITE_REGISTERS, address, count, len(data)) + data, doing)


def write_coils(address: int, bits: bytes, *, multiple: bool = False) -> Request:
    """`bits`: one byte a coil, 0 or 1. One coil with function 5, several with function 15."""
    if len(bits) == 1 and not multiple:
        pdu = struct.pack(">BHH", WRITE_COIL, address, _ON if bits[0] else 0)
        return Request(pdu, f"writing the coil at {address}")
    packed = pack_bits(bits)
    pdu = struct.pack(">BHHB", WRITE_COILS, address, len(bits), len(packed)) + packed
    return Request(pdu, f"writing {len(bits)} coils at {address}")


def mask_write(address: int, keep: int, put: int) -> Request:
    """The register becomes (itself AND `keep`) OR (`put` AND NOT `keep`), in the device."""
    return Request(
        struct.pack(">BHHH", MASK_WRITE, address, keep, put), f"writing bits of holding register {address}"
    )


def read_write(address: int, data: bytes) -> Request:
    """Write registers and read the same ones back, in one request."""
    count = len(data) // 2
    head = struct.pack(">BHHHHB", READ_WRITE, address, count, address, count, len(data))
    return Request(head + data, f"writing and reading {count} holding registers at {address}")


def identification(level: int, first: int) -> Request:
    """Device identification: `level` 1 basic, 2 regular, 3 extended; from object `first` on."""
    return Request(bytes([ENCAPSULATED, IDENTIFICATION, level, first]), "reading the device's identification")


def pack_bits(bits: bytes) -> bytes:
    """One byte a bit → eight bits a byte, the first one least significant."""
    number = sum(1 << index for index, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def unpack_bits(packed: bytes, count: int) -> bytes:
    """The inverse of `pack_bits`, for the first `count` bits."""
    number = int.from_bytes(packed, "little")
    return bytes(number >> index & 1 for index in range(count))
