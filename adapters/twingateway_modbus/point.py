"""One property of one device as this adapter handles it: where it lies, how it is encoded, when it is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from twingateway.adapter import Value
from twingateway.errors import DeviceError, DeviceReplyInvalid, InvalidValue, Problem
from twingateway_modbus.bounds import NO_BOUNDS, Bounds
from twingateway_modbus.codec import Codec, element
from twingateway_modbus.raw import CodecError
from twingateway_modbus.reporting import Reporting


class Table(StrEnum):
    """The four address spaces of a Modbus unit."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def of_bits(self) -> bool:
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def writable(self) -> bool:
        return self in (Table.HOLDING, Table.COIL)

    @property
    def width(self) -> int:
        """Bytes in which one cell is handled: a register is two, a bit one that is 0 or 1."""
        return 1 if self.of_bits else 2


class WriteWith(StrEnum):
    """The request that writes a property."""

    AUTO = "auto"
    """One register or coil by itself (function 6 or 5), several with 16 or 15."""
    MULTIPLE = "multiple"
    """Always function 16 or 15, for devices that know no other."""
    MASK = "mask"
    """Bits inside a register with function 22, in the device itself."""
    READ_WRITE = "read-write"
    """Written and read back in one request, function 23."""


class NoValue(DeviceError):
    """The device says, by a sentinel, that it has no value for a property, or for `part` of it. No fault, but no
    value either."""

    def __init__(self, name: str, part: str = "") -> None:
        about = f"{name}: {part}" if part else name
        super().__init__(f"{about}: the device has no value for it", property=name)


@dataclass(frozen=True, slots=True)
class Point:
    """`address` is the zero-based protocol address; `count` is in registers, or bits for the tables of bits.

    `scale_at`: the address, in the same table, of the register with the power of ten by which it is multiplied.
    `is_scale`: this is such a register itself and is reported to nobody.
    """

    name: str
    table: Table
    address: int
    codec: Codec
    period: float
    reporting: Reporting = field(default_factory=Reporting)
    writable: bool = False
    scale_at: int | None = None
    is_scale: bool = False
    write_with: WriteWith = WriteWith.AUTO
    tolerance: float = 0.0
    bounds: Bounds = NO_BOUNDS
    is_whole: bool = False
    """An array whose model says what its elements are: none of them can be null."""

    @property
    def count(self) -> int:
        return (self.codec.count or 1) if self.table.of_bits else self.codec.registers

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.count

    def decode(self, cells: bytes, exponent: int | None = None) -> Value:
        """`count` cells → value; None: the device has none. Raises DeviceReplyInvalid, or NoValue for an array that
        has to be whole and is not."""
        if self.table.of_bits:
            return bool(cells[0]) if self.codec.count is None else [bool(cell) for cell in cells]
        try:
            codec = self._codec(exponent)
        except DeviceReplyInvalid:
            value = self.codec.decode(cells)
            if _is_nothing(value):  # what a device has not, it has no scale for either
                return self._whole(value)
            raise
        try:
            return self._whole(codec.decode(cells))
        except CodecError as error:
            raise DeviceReplyInvalid(f"{self.name}: {error}", property=self.name) from error

    def _whole(self, value: Value) -> Value:
        """`value`, unless it has to be whole: then nothing if it has no element at all, and no value if it lacks
        some."""
        if not self.is_whole or not isinstance(value, list) or None not in value:
            return value
        if _is_nothing(value):
            return None
        raise NoValue(self.name, element(value.index(None), len(value)))

    def encode(self, value: Value, current: bytes = b"", exponent: int | None = None) -> bytes:
        """Value → `count` cells; `current` ones where only some bits change. Raises InvalidValue for what they cannot
        hold, DeviceReplyInvalid for an `exponent` that is none."""
        codec = None if self.table.of_bits else self._codec(exponent)
        try:
            return self._encode_bits(value) if codec is None else codec.encode(value, current)
        except CodecError as error:
            raise InvalidValue(Problem(str(error), self.name, "registers")) from error

    def _encode_bits(self, value: Value) -> bytes:
        bits = [value] if self.codec.count is None else value
        if not isinstance(bits, list) or len(bits) != self.count or not all(type(bit) is bool for bit in bits):
            raise CodecError(f"{value!r} is not {'true or false' if self.codec.count is None else 'a list of them'}")
        return bytes(bits)  # type: ignore[arg-type]

    def _codec(self, exponent: int | None) -> Codec:
        if self.scale_at is None:
            return self.codec
        if exponent is None:
            raise DeviceReplyInvalid(f"{self.name}: its scale factor could not be read", property=self.name)
        try:
            return self.codec.scaled_by(exponent)
        except CodecError as error:
            raise DeviceReplyInvalid(f"{self.name}: {error}", property=self.name) from error

    def matches(self, wanted: Value, observed: Value, exponent: int | None = None) -> bool:
        """Whether `observed` is `wanted` within the resolution of the registers, or the tolerance if that is more."""
        try:
            return self._codec(exponent).matches(wanted, observed, self.tolerance)
        except (CodecError, DeviceReplyInvalid):
            return False

    def reads_as(self, value: Value, exponent: int | None = None) -> Value:
        """What is read where `value` is held, all else being zero. Raises InvalidValue, DeviceReplyInvalid."""
        return self.decode(self.encode(value, bytes(self.table.width * self.count), exponent), exponent)


def _is_nothing(value: Value) -> bool:
    return value is None or (isinstance(value, list) and bool(value) and all(each is None for each in value))
