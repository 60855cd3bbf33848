"""Writes one property of a device and reads it back, in one turn on the link."""

from __future__ import annotations

from twingateway.adapter import Value
from twingateway.errors import DeviceError, DeviceRefused
from twingateway_modbus.link import Turn
from twingateway_modbus.point import Point, Table, WriteWith
from twingateway_modbus.reader import about
from twingateway_modbus.request import Cells


async def read_point(turn: Turn, point: Point, exponent: int | None = None) -> Value:
    """The property's value now; `exponent` is that of its scale-factor register, if it has one."""
    try:
        return point.decode(await turn.read(_cells(point)), exponent)
    except DeviceError as error:
        raise about((point,), error) from error


async def read_exponent(turn: Turn, point: Point) -> int | None:
    """What the scale-factor register holds now; None if the property has none."""
    if point.scale_at is None:
        return None
    try:
        data = await turn.read(Cells(point.table, point.scale_at, 1))
    except DeviceError as error:
        raise about((point,), error) from error
    return int.from_bytes(data, "big", signed=True)


class NotReadBack(DeviceError):
    """It was written, and the device does not let it be read."""


async def write_point(turn: Turn, point: Point, value: Value, exponent: int | None) -> Value:
    """Write, and return what the device then holds. Raises NotReadBack."""
    cells = await put_point(turn, point, value, exponent)
    if cells is not None:
        return point.decode(cells)
    try:
        return await read_point(turn, point, exponent)
    except DeviceRefused as error:
        raise NotReadBack(error.message, **error.detail) from error


async def put_point(turn: Turn, point: Point, value: Value, exponent: int | None) -> bytes | None:
    """Write, all registers in one request; what they then hold if the reply says so.

    Bits inside a register are changed in what it holds now (the turn keeps others away meanwhile), or by the device
    itself with a mask.
    """
    try:
        if point.write_with is WriteWith.READ_WRITE:
            current = await _current(turn, point, value)
            return await turn.write_and_read(point.address, point.encode(value, current))
        if point.write_with is WriteWith.MASK:
            await _write_mask(turn, point, value, exponent)
        else:
            current = await _current(turn, point, value, exponent)
            multiple = point.write_with is WriteWith.MULTIPLE
            await turn.write(point.table, point.address, point.encode(value, current, exponent), multiple=multiple)
    except DeviceError as error:
        raise about((point,), error) from error
    return None


async def _current(turn: Turn, point: Point, value: Value, exponent: int | None = None) -> bytes:
    """What has to be kept of the registers; `value` is looked at before anything is sent."""
    if point.table is not Table.HOLDING or not point.codec.is_partial:
        return b""
    point.encode(value, bytes(2 * point.count), exponent)
    return await turn.read(_cells(point))


async def _write_mask(turn: Turn, point: Point, value: Value, exponent: int | None) -> None:
    """Bits that the value sets and bits that it leaves come from encoding it into zeros and into ones."""
    put = int.from_bytes(point.encode(value, b"\x00\x00", exponent), "big")
    kept = int.from_bytes(point.encode(value, b"\xff\xff", exponent), "big") & ~put & 0xFFFF
    await turn.write_masked(point.address, kept, put)


def _cells(point: Point) -> Cells:
    return Cells(point.table, point.address, point.count)
