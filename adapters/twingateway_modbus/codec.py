"""Registers ⇄ values, for every type and byte order. Pure.

Strategy: a value passes three stages, each the inverse of itself on the way back:
registers → raw number or text (type and order) → bit field (optional) → scaled number.
Rule: scaling is integer arithmetic over a power of ten, so 235 × 0.1 is 23.5 and nothing else.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import NamedTuple, TypeGuard

from twingateway.adapter import Value


class CodecError(ValueError):
    """Registers that are no value, or a value that no registers can hold. The message says why."""


class DataType(StrEnum):
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BOOL = "bool"


class Order(StrEnum):
    """How the bytes A (most significant) to D of a value lie on the wire; 64 bits by the same rule.

    The first letter pair is the first register: CDAB reverses the registers, BADC the bytes in each, DCBA both.
    """

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"


#: Registers and struct format of the numbers.
_NUMBERS: dict[DataType, tuple[int, str]] = {
    DataType.INT16: (1, "h"),
    DataType.UINT16: (1, "H"),
    DataType.INT32: (2, "i"),
    DataType.UINT32: (2, "I"),
    DataType.INT64: (4, "q"),
    DataType.UINT64: (4, "Q"),
    DataType.FLOAT32: (2, "f"),
    DataType.FLOAT64: (4, "d"),
}
FLOATS = frozenset({DataType.FLOAT32, DataType.FLOAT64})
UNSIGNED = frozenset({DataType.UINT16, DataType.UINT32, DataType.UINT64})

#: Byte order within a register, and whether the registers come last first.
_ORDERS: dict[Order, tuple[str, bool]] = {
    Order.ABCD: (">", False),
    Order.CDAB: (">", True),
    Order.BADC: ("<", False),
    Order.DCBA: ("<", True),
}

#: How far, relative to its size, a float may be off and still be the same value.
_FLOAT_TOLERANCE = {DataType.FLOAT32: 1e-6, DataType.FLOAT64: 1e-12}


class BitField(NamedTuple):
    """Bits `low` to `high` of an unsigned number, both included; bit 0 is the least significant.

    `flag`: one bit that is a boolean, not a number.
    """

    low: int
    high: int
    flag: bool

    @property
    def mask(self) -> int:
        return ((1 << (self.high - self.low + 1)) - 1) << self.low


class Linear(NamedTuple):
    """value = (raw × factor + addend) ÷ divisor, the divisor a power of ten."""

    factor: int
    addend: int
    divisor: int

    @classmethod
    def of(cls, scale: Decimal, offset: Decimal) -> Linear:
        places = max(0, *(-_exponent(number) for number in (scale, offset)))
        divisor = 10**places
        return cls(int(scale * divisor), int(offset * divisor), divisor)

    @property
    def step(self) -> float:
        """The distance between two neighbouring values."""
        return abs(self.factor) / self.divisor

    def value(self, raw: int) -> int | float:
        scaled = raw * self.factor + self.addend
        return scaled if self.divisor == 1 else scaled / self.divisor

    def raw(self, value: Decimal) -> Decimal:
        return (value * self.divisor - self.addend) / self.factor

    @property
    def is_identity(self) -> bool:
        return self == (1, 0, 1)


IDENTITY = Linear(1, 0, 1)


def _exponent(number: Decimal) -> int:
    return int(number.normalize().as_tuple().exponent)


def decimal(number: int | float) -> Decimal:
    """The decimal a person reads: 0.1 is a tenth."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def registers_of(data_type: DataType, length: int = 0) -> int:
    """Registers one value takes; `length` is a string's."""
    if data_type is DataType.STRING:
        return length
    return _NUMBERS.get(data_type, (1, ""))[0]


@dataclass(frozen=True, slots=True)
class Codec:
    """One property's way between registers and value. Every failure is a CodecError."""

    type: DataType
    order: Order = Order.ABCD
    linear: Linear = IDENTITY
    bits: BitField | None = None
    length: int = 0
    _words: struct.Struct = field(init=False, repr=False, compare=False)
    _number: struct.Struct = field(init=False, repr=False, compare=False)
    _reversed: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        byte_order, reversed_words = _ORDERS[self.order]
        object.__setattr__(self, "_words", struct.Struct(f"{byte_order}{self.registers}H"))
        object.__setattr__(self, "_number", struct.Struct(f">{_NUMBERS.get(self.type, (1, 'H'))[1]}"))
        object.__setattr__(self, "_reversed", reversed_words)

    @property
    def registers(self) -> int:
        return registers_of(self.type, self.length)

    # --- registers → value --------------------------------------------------------------------------------

    def decode(self, registers: Sequence[int]) -> Value:
        """Exactly `self.registers` registers → value."""
        data = self._words.pack(*(registers[::-1] if self._reversed else registers))
        if self.type is DataType.STRING:
            return _text(data)
        (raw,) = self._number.unpack(data)
        if self.type is DataType.BOOL:
            return bool(raw)
        if self.type in FLOATS:
            return self._decode_float(raw)
        if self.bits is not None:
            raw = (raw & self.bits.mask) >> self.bits.low
            if self.bits.flag:
                return bool(raw)
        return self.linear.value(raw)

    def _decode_float(self, raw: float) -> float:
        if not math.isfinite(raw):
            raise CodecError(f"the device sent {raw}, which is not a number a twin can hold")
        clean = _shortest(raw) if self.type is DataType.FLOAT32 else raw
        if self.linear.is_identity:
            return clean
        factor, addend, divisor = self.linear
        return float((decimal(clean) * factor + addend) / divisor)

    # --- value → registers --------------------------------------------------------------------------------

    def encode(self, value: Value, current: Sequence[int] = ()) -> list[int]:
        """Value → `self.registers` registers; a bit field is put into the `current` ones."""
        if self.type is DataType.STRING:
            data = self._encode_text(value)
        elif self.type is DataType.BOOL:
            data = self._number.pack(_flag(value))
        elif self.type in FLOATS:
            data = self._encode_float(value)
        elif self.bits is not None:
            data = self._number.pack(self._encode_bits(value, self.bits, current))
        else:
            low, high = self._range()
            data = self._number.pack(self._scaled(value, low, high))
        words = list(self._words.unpack(data))
        return words[::-1] if self._reversed else words

    def _encode_text(self, value: Value) -> bytes:
        if not isinstance(value, str):
            raise CodecError(f"{value!r} is not a string")
        data = value.encode()
        room = 2 * self.length
        if len(data) > room:
            raise CodecError(f"{value!r} takes {len(data)} bytes, there is room for {room}")
        if "\0" in value:
            raise CodecError("a string must not contain NUL")
        return data.ljust(room, b"\0")

    def _encode_float(self, value: Value) -> bytes:
        raw = float(self.linear.raw(_number(value)))
        try:
            return self._number.pack(raw)
        except OverflowError:
            raise CodecError(f"{value} does not fit {self.type}") from None

    def _encode_bits(self, value: Value, bits: BitField, current: Sequence[int]) -> int:
        words = current[::-1] if self._reversed else current
        (whole,) = self._number.unpack(self._words.pack(*words))
        raw = int(_flag(value)) if bits.flag else self._scaled(value, 0, bits.mask >> bits.low)
        return int(whole) & ~bits.mask | raw << bits.low

    def _scaled(self, value: Value, low: int, high: int) -> int:
        raw = int(self.linear.raw(_number(value)).to_integral_value(ROUND_HALF_UP))
        if not low <= raw <= high:
            least, most = sorted((self.linear.value(low), self.linear.value(high)))
            raise CodecError(f"{value} does not fit; the register holds {least} to {most}")
        return raw

    def _range(self) -> tuple[int, int]:
        width = 16 * self.registers
        return (0, (1 << width) - 1) if self.type in UNSIGNED else (-(1 << width - 1), (1 << width - 1) - 1)

    # --- comparing ----------------------------------------------------------------------------------------

    def matches(self, wanted: Value, observed: Value) -> bool:
        """Whether `observed` is `wanted` as well as these registers can hold it: within half a step of the scale."""
        if not _is_number(wanted) or not _is_number(observed):
            return type(wanted) is type(observed) and wanted == observed
        difference = abs(decimal(wanted) - decimal(observed))
        if self.type in FLOATS:
            return difference <= abs(decimal(wanted)) * Decimal(_FLOAT_TOLERANCE[self.type])
        return difference * 2 <= decimal(self.linear.step)


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Value) -> Decimal:
    if not _is_number(value) or not math.isfinite(value):
        raise CodecError(f"{value!r} is not a number")
    return decimal(value)


def _flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise CodecError(f"{value!r} is not true or false")
    return value


def _text(data: bytes) -> str:
    """Text up to the first NUL, without the blanks devices pad with."""
    try:
        return data.partition(b"\0")[0].decode().rstrip()
    except UnicodeDecodeError:
        raise CodecError(f"the device sent {data.hex(' ')}, which is not text") from None


def _shortest(raw: float) -> float:
    """The shortest decimal that is the same 32-bit float: 230.1, not 230.10000610351562."""
    packed = struct.pack(">f", raw)
    for digits in (6, 7, 8):
        candidate = float(f"{raw:.{digits}g}")
        if abs(candidate) < _FLOAT32_MAX and struct.pack(">f", candidate) == packed:
            return candidate
    return float(f"{raw:.9g}")


_FLOAT32_MAX = 3.4028234e38
