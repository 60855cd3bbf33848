"""Single reads and writes, without a document."""

from __future__ import annotations

from pydantic import ValidationError

from twingateway.adapter import Value
from twingateway.errors import DeviceRefused, InvalidConfig
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.exceptions import ILLEGAL_ADDRESS
from twingateway_modbus.identity import EXTENDED, name_of, text_of
from twingateway_modbus.layout import ADDRESSES, FLOATS, TIMES, DataType, Order, registers_of
from twingateway_modbus.link import Link, Turn
from twingateway_modbus.plan import Block, plan
from twingateway_modbus.point import Point, Table
from twingateway_modbus.property import Common, PropertySettings
from twingateway_modbus.request import Cells
from twingateway_modbus.writer import put_point, write_point

_COMMON = Common()
#: What manuals call input and holding registers.
_MANUALS = range(30001, 50000)


def point_of(table: Table, address: int, data_type: DataType, order: Order, length: int | None, index: int) -> Point:
    """The value number `index` from `address` on. Raises InvalidConfig."""
    size = 1 if table.of_bits else registers_of(data_type, length or 0)
    settings = {"table": table, "address": address + index * size, "length": length}
    if not table.of_bits:
        settings |= {"type": data_type, "order": order}
    try:
        return PropertySettings.model_validate(settings).point(str(settings["address"]), _COMMON)
    except ValidationError as error:
        raise InvalidConfig(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def value_of(point: Point, text: str) -> Value:
    """Raises InvalidConfig."""
    if point.table.of_bits or point.codec.type is DataType.BOOL:
        words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
        if text.lower() not in words:
            raise InvalidConfig(f"{text!r} is neither on nor off")
        return words[text.lower()]
    if point.codec.type is DataType.STRING or point.codec.type in TIMES | ADDRESSES:
        return text
    try:
        return float(text) if point.codec.type in FLOATS else int(text, 0)
    except ValueError:
        raise InvalidConfig(f"{text!r} is not a number") from None


def in_other_numbers(error: DeviceRefused, address: int) -> DeviceRefused:
    """`error`, with a hint where somebody may have taken the address from a manual that counts in another way."""
    if error.detail.get("exception") != ILLEGAL_ADDRESS or address not in _MANUALS:
        return error
    return DeviceRefused(f"{error.message}; {address} may be a manual's number: its 40001, like its 30001, is 0 here")


async def read_once(address: AddressSettings, points: list[Point]) -> list[tuple[Point, Value]]:
    link = Link(address)
    try:
        async with link.turn(address.unit, address.timeout) as turn:
            found = [pair for block in plan(points)[_COMMON.period] for pair in await _read(turn, block)]
            return sorted(found, key=lambda pair: points.index(pair[0]))
    except DeviceRefused as error:
        raise in_other_numbers(error, points[0].address) from None
    finally:
        link.close()


async def _read(turn: Turn, block: Block) -> list[tuple[Point, Value]]:
    """All values of one request."""
    data = await turn.read(Cells(block.table, block.address, block.count))
    width = block.table.width
    starts = [width * (point.address - block.address) for point in block.points]
    return [
        (point, point.decode(data[start : start + width * point.count]))
        for point, start in zip(block.points, starts, strict=True)
    ]


async def identify_once(address: AddressSettings) -> list[tuple[str, str]]:
    """Every object of the device's identification, by its name."""
    link = Link(address)
    try:
        async with link.turn(address.unit, address.timeout) as turn:
            objects = await turn.identify(EXTENDED)
            return [(name_of(number), text_of(content)) for number, content in sorted(objects.items())]
    finally:
        link.close()


async def write_once(address: AddressSettings, point: Point, value: Value) -> Value:
    """What the device then holds; nothing where all units of a line were written to."""
    link = Link(address)
    try:
        async with link.turn(address.unit, address.timeout) as turn:
            if address.is_everybody(address.unit):
                await put_point(turn, point, value, None)
                return None
            return await write_point(turn, point, value, None)
    except DeviceRefused as error:
        raise in_other_numbers(error, point.address) from None
    finally:
        link.close()
