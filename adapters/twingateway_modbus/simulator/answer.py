"""What a well-behaved unit replies: request PDU → reply PDU. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable

from twingateway_modbus.identity import BASIC, EXTENDED, REGULAR
from twingateway_modbus.point import Table
from twingateway_modbus.reply import EXCEPTION, LONGEST
from twingateway_modbus.request import (
    ENCAPSULATED,
    IDENTIFICATION,
    MASK_WRITE,
    READ_FUNCTIONS,
    READ_WRITE,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_REGISTER,
    WRITE_REGISTERS,
    pack_bits,
    unpack_bits,
)
from twingateway_modbus.simulator.memory import Memory, NoSuchCell

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_TABLES = {function: table for table, function in READ_FUNCTIONS.items()}
_MOST = {True: 2000, False: 125}
#: Level of identification → the number behind its last object; the last level asks for one.
_BEHIND = {BASIC: 3, REGULAR: 0x80, EXTENDED: 0x100, 4: 0x100}
_INDIVIDUAL = 4
#: Bytes for objects in one reply.
_ROOM = LONGEST - 7


class _Illegal(Exception):
    """`args[0]` is the exception code."""


def answer(request: bytes, memory: Memory) -> bytes:
    """The reply, or the exception that says what is wrong with the request."""
    function = request[0]
    handler = _HANDLERS.get(function)
    try:
        if handler is None:
            raise _Illegal(ILLEGAL_FUNCTION)
        return handler(request, memory)
    except NoSuchCell:
        code = ILLEGAL_ADDRESS
    except (struct.error, IndexError):
        code = ILLEGAL_VALUE
    except _Illegal as illegal:
        code = illegal.args[0]
    return bytes([function | EXCEPTION, code])


def _read(request: bytes, memory: Memory) -> bytes:
    address, count = struct.unpack(">HH", request[1:])
    table = _TABLES[request[0]]
    if not 1 <= count <= _MOST[table.of_bits]:
        raise _Illegal(ILLEGAL_VALUE)
    cells = memory.get(table, address, count)
    data = pack_bits(bytes(cells)) if table.of_bits else struct.pack(f">{count}H", *cells)
    return bytes([request[0], len(data)]) + data


def _write_coil(request: bytes, memory: Memory) -> bytes:
    address, value = struct.unpack(">HH", request[1:])
    if value not in (0, 0xFF00):
        raise _Illegal(ILLEGAL_VALUE)
    memory.change(Table.COIL, address, [int(value != 0)])
    return request


def _write_register(request: bytes, memory: Memory) -> bytes:
    address, value = struct.unpack(">HH", request[1:])
    memory.change(Table.HOLDING, address, [value])
    return request


def _write_coils(request: bytes, memory: Memory) -> bytes:
    address, count, size = struct.unpack(">HHB", request[1:6])
    if size != len(request) - 6 or size != (count + 7) // 8:
        raise _Illegal(ILLEGAL_VALUE)
    memory.change(Table.COIL, address, list(unpack_bits(request[6:], count)))
    return request[:5]


def _registers(data: bytes, size: int, count: int) -> list[int]:
    if size != len(data) or size != 2 * count:
        raise _Illegal(ILLEGAL_VALUE)
    return list(struct.unpack(f">{count}H", data))


def _write_registers(request: bytes, memory: Memory) -> bytes:
    address, count, size = struct.unpack(">HHB", request[1:6])
    memory.change(Table.HOLDING, address, _registers(request[6:], size, count))
    return request[:5]


def _mask_write(request: bytes, memory: Memory) -> bytes:
    address, keep, put = struct.unpack(">HHH", request[1:])
    (now,) = memory.get(Table.HOLDING, address, 1)
    memory.change(Table.HOLDING, address, [now & keep | put & ~keep & 0xFFFF])
    return request


def _read_write(request: bytes, memory: Memory) -> bytes:
    read_from, read_count, address, count, size = struct.unpack(">HHHHB", request[1:10])
    memory.change(Table.HOLDING, address, _registers(request[10:], size, count))
    cells = memory.get(Table.HOLDING, read_from, read_count)
    return bytes([READ_WRITE, 2 * read_count]) + struct.pack(f">{read_count}H", *cells)


def _identify(request: bytes, memory: Memory) -> bytes:
    """As many objects as fit, and where to go on."""
    if request[1] != IDENTIFICATION:
        raise _Illegal(ILLEGAL_FUNCTION)
    level, first = request[2], request[3]
    if level not in _BEHIND:
        raise _Illegal(ILLEGAL_VALUE)
    if level == _INDIVIDUAL and first not in memory.objects:
        raise _Illegal(ILLEGAL_ADDRESS)
    wanted = [number for number in sorted(memory.objects) if first <= number < _BEHIND[level]]
    if level == _INDIVIDUAL:
        wanted = wanted[:1]
    body, count = b"", 0
    for number in wanted:
        each = bytes([number, len(memory.objects[number])]) + memory.objects[number]
        if len(body) + len(each) > _ROOM:
            break
        body, count = body + each, count + 1
    more, following = (0xFF, wanted[count]) if count < len(wanted) else (0, 0)
    conformity = 0x80 | min(level, 3)
    return bytes([ENCAPSULATED, IDENTIFICATION, level, conformity, more, following, count]) + body


_HANDLERS: dict[int, Callable[[bytes, Memory], bytes]] = {
    **dict.fromkeys(READ_FUNCTIONS.values(), _read),
    WRITE_COIL: _write_coil,
    WRITE_REGISTER: _write_register,
    WRITE_COILS: _write_coils,
    WRITE_REGISTERS: _write_registers,
    MASK_WRITE: _mask_write,
    READ_WRITE: _read_write,
    ENCAPSULATED: _identify,
}
