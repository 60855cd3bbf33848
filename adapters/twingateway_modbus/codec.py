"""Registers ⇄ values, for every type and byte order. Pure.

Strategy: a value passes these stages, each the inverse of itself on the way back:
bytes as they came → most significant first (order) → raw number or text (type) → bit field → nothing (sentinel),
a name, names of flags, or a scaled number. An array does so for each element.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, TypeGuard

from twingateway.adapter import Value
from twingateway_modbus.layout import (
    ADDRESSES,
    ARRANGEMENTS,
    BCDS,
    BYTES,
    FLOATS,
    SIGNED,
    TIMES,
    UNSIGNED,
    DataType,
    Half,
    Order,
    registers_of,
)
from twingateway_modbus.linear import IDENTITY, Linear, decimal
from twingateway_modbus.network_address import ADDRESS_TEXTS
from twingateway_modbus.raw import FORMATS, CodecError, Raw, RawCodec, raw_codec
from twingateway_modbus.shortcuts import not_a_number, scaled_integer, shortest_float32

#: How far, relative to its size, a float may be off and still be the same value.
_FLOAT_TOLERANCE = {DataType.FLOAT16: 1e-3, DataType.FLOAT32: 1e-6, DataType.FLOAT64: 1e-12}
#: Struct format of a float, its greatest number, and how many digits to try for the shortest decimal that is it.
_SHORTEST: dict[DataType, tuple[struct.Struct, float, tuple[int, ...]]] = {
    DataType.FLOAT16: (struct.Struct(">e"), 65504.0, (3, 4)),
    DataType.FLOAT32: (struct.Struct(">f"), 3.4028234e38, (6, 7, 8)),
}
_ENOUGH_DIGITS = {DataType.FLOAT16: 5, DataType.FLOAT32: 9}
#: Exponents a scale-factor register may hold (SunSpec: -10 to 10).
_LARGEST_EXPONENT = 10
_BIT = "bit "


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


@dataclass(frozen=True, slots=True)
class Codec:
    """One property's way between registers and value. Every failure is a CodecError.

    length: registers of a string. half: which byte of a register an 8-bit number, or each character, lies in.
    count: elements of an array. sentinels: raw numbers by which the device says that it has no value; `nan` too where
    `nan_is_nothing`. names: raw number → its name. flags: bit → its name; the value is the list of those set.
    """

    type: DataType
    order: Order = Order.ABCD
    linear: Linear = IDENTITY
    bits: BitField | None = None
    length: int = 0
    half: Half | None = None
    count: int | None = None
    sentinels: frozenset[int] = frozenset()
    nan_is_nothing: bool = False
    names: Mapping[int, str] | None = field(default=None, hash=False)
    flags: Mapping[int, str] | None = field(default=None, hash=False)
    _raw: RawCodec = field(init=False, repr=False, compare=False)
    decode: Callable[[bytes], Value] = field(init=False, repr=False, compare=False)
    """Exactly `2 * self.registers` bytes → value; None is a sentinel: the device has none."""
    _scaled: dict[int, Codec] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_raw", raw_codec(self.type, self.length, self.half))
        object.__setattr__(self, "decode", self._shortcut() or self._decode)

    @property
    def width(self) -> int:
        """Registers of one element."""
        return registers_of(self.type, self.length)

    @property
    def registers(self) -> int:
        return self.width * (self.count or 1)

    @property
    def is_partial(self) -> bool:
        """Whether its registers hold more than this value, which a write has to keep."""
        return self.bits is not None or self.type in BYTES

    def scaled_by(self, exponent: int) -> Codec:
        """The codec while the device's scale-factor register holds `exponent`."""
        if exponent not in self._scaled:
            if not -_LARGEST_EXPONENT <= exponent <= _LARGEST_EXPONENT:
                raise CodecError(f"the device sent {exponent} as a scale factor, which is none")
            self._scaled[exponent] = replace(self, linear=self.linear.shifted(exponent))
        return self._scaled[exponent]

    # --- registers → value --------------------------------------------------------------------------------

    def _shortcut(self) -> Callable[[bytes], Value] | None:
        """For what most devices hold most of, the stages below in one."""
        if self.order not in (Order.ABCD, Order.DCBA) or self.count or self.bits or self.names or self.flags:
            return None
        sign = "<" if self.order is Order.DCBA else ">"
        if self.type is DataType.FLOAT32 and self.linear == IDENTITY and not self.nan_is_nothing:
            return shortest_float32(struct.Struct(f"{sign}f"))
        if self.type in (SIGNED | UNSIGNED) - BYTES:
            unpack = struct.Struct(sign + FORMATS[self.type]).unpack
            return scaled_integer(unpack, self.linear, self.sentinels)
        return None

    def _decode(self, data: bytes) -> Value:
        if self.count is None:
            return self._decode_one(data)
        size, elements = 2 * self.width, list[Value]()
        for start in range(0, len(data), size):
            try:
                elements.append(self._decode_one(data[start : start + size]))
            except CodecError as error:
                raise CodecError(f"{element(len(elements), self.count)}: {error}") from None
        return elements

    def _decode_one(self, data: bytes) -> Value:
        if self.order is not Order.ABCD:
            data = ARRANGEMENTS[self.order](data)
        raw = self._raw.unpack(data)
        if isinstance(raw, str):
            return raw
        if isinstance(raw, float):
            return self._decode_float(raw)
        if raw in self.sentinels:
            return None
        if self.type is DataType.BOOL:
            return bool(raw)
        if self.bits is not None:
            raw = (raw & self.bits.mask) >> self.bits.low
            if self.bits.flag:
                return bool(raw)
        if self.type in ADDRESSES:
            return ADDRESS_TEXTS[self.type].shown(raw)
        if self.names is not None:
            return self._name(raw)
        if self.flags is not None:
            return [self.flags.get(bit, f"{_BIT}{bit}") for bit in range(raw.bit_length()) if raw >> bit & 1]
        return self.linear.value(raw)

    def _name(self, raw: int) -> str:
        assert self.names is not None
        name = self.names.get(raw)
        if name is None:
            raise CodecError(f"the device sent {raw}, which stands for none of the names given")
        return name

    def _decode_float(self, raw: float) -> float | None:
        if not math.isfinite(raw):
            if self.nan_is_nothing and math.isnan(raw):
                return None
            raise not_a_number(raw)
        clean = raw if self.type is DataType.FLOAT64 else _shortest(raw, self.type)
        if self.linear == IDENTITY:
            return clean
        factor, addend, divisor = self.linear
        return float((decimal(clean) * factor + addend) / divisor)

    # --- value → registers --------------------------------------------------------------------------------

    def encode(self, value: Value, current: bytes = b"") -> bytes:
        """Value → `2 * self.registers` bytes; a partial value is put into the `current` ones."""
        if self.count is None:
            return self._encode_one(value, current)
        if not isinstance(value, list) or len(value) != self.count:
            raise CodecError(f"{value!r} is not a list of {self.count}")
        size = 2 * self.width
        parts = list[bytes]()
        for index, wanted in enumerate(value):
            try:
                parts.append(self._encode_one(wanted, current[index * size : (index + 1) * size]))
            except CodecError as error:
                raise CodecError(f"{element(index, self.count)}: {error}") from None
        return b"".join(parts)

    def _encode_one(self, value: Value, current: bytes) -> bytes:
        arrange = ARRANGEMENTS[self.order]
        if self.bits is not None:
            whole = self._raw.unpack(arrange(current))
            data = self._raw.pack(int(whole) & ~self.bits.mask | self._raw_bits(value, self.bits) << self.bits.low)
        else:
            data = self._raw.pack(self._raw_of(value))
        if self.type in BYTES and current:
            kept = 1 if self.half is Half.HIGH else 0
            other = arrange(current)[kept : kept + 1]
            data = data[:1] + other if kept else other + data[1:]
        return arrange(data)

    def _raw_of(self, value: Value) -> Raw:
        if self.type is DataType.STRING or self.type in TIMES | ADDRESSES:
            if not isinstance(value, str):
                raise CodecError(f"{value!r} is not a string")
            return ADDRESS_TEXTS[self.type].parsed(value) if self.type in ADDRESSES else value
        if self.type is DataType.BOOL:
            return int(_flag(value))
        if self.type in FLOATS:
            return float(self.linear.raw(_number(value)))
        low, high = self._range()
        if self.names is not None or self.flags is not None:
            return self._raw_name(value, high)
        return self._scaled_raw(value, low, high)

    def _raw_bits(self, value: Value, bits: BitField) -> int:
        highest = bits.mask >> bits.low
        if bits.flag:
            return int(_flag(value))
        if self.names is not None or self.flags is not None:
            return self._raw_name(value, highest)
        return self._scaled_raw(value, 0, highest)

    def _raw_name(self, value: Value, highest: int) -> int:
        if self.names is not None:
            found = next((raw for raw, name in self.names.items() if name == value), None)
            if found is None:
                raise CodecError(f"{value!r} is none of {', '.join(self.names.values())}")
            return found
        raw = 0
        for name in value if isinstance(value, list) else [value]:
            raw |= 1 << self._bit_named(name)
        if raw > highest:
            raise CodecError(f"{value!r} needs more bits than there are")
        return raw

    def _bit_named(self, name: Value) -> int:
        assert self.flags is not None
        for bit, known in self.flags.items():
            if known == name:
                return bit
        if isinstance(name, str) and name.removeprefix(_BIT).isdecimal() and name.startswith(_BIT):
            return min(int(name.removeprefix(_BIT)), 64)
        raise CodecError(f"{name!r} is none of {', '.join(self.flags.values())}")

    def _scaled_raw(self, value: Value, low: int, high: int) -> int:
        raw = int(self.linear.raw(_number(value)).to_integral_value(ROUND_HALF_UP))
        if not low <= raw <= high:
            least, most = sorted((self.linear.value(low), self.linear.value(high)))
            raise CodecError(f"{value} does not fit; the register holds {least} to {most}")
        if raw in self.sentinels:
            raise CodecError(f"{value} would be {raw} in the register, by which the device says that it has no value")
        return raw

    def _range(self) -> tuple[int, int]:
        if self.type in BCDS:
            return 0, int(10 ** (4 * self.width)) - 1
        width = 8 if self.type in BYTES else 16 * self.width
        return (0, (1 << width) - 1) if self.type in UNSIGNED else (-(1 << width - 1), (1 << width - 1) - 1)

    # --- comparing ----------------------------------------------------------------------------------------

    def matches(self, wanted: Value, observed: Value, tolerance: float = 0.0) -> bool:
        """Whether `observed` is `wanted` as well as these registers can hold it: within half a step of the scale, or
        within `tolerance` where that is more."""
        if isinstance(wanted, list) and isinstance(observed, list):
            if self.flags is not None:
                return sorted(map(str, wanted)) == sorted(map(str, observed))
            pairs = zip(wanted, observed, strict=False)
            return len(wanted) == len(observed) and all(self.matches(a, b, tolerance) for a, b in pairs)
        if self.type in TIMES | ADDRESSES and isinstance(wanted, str):
            return bool(self.decode(self.encode(wanted)) == observed)
        if not _is_number(wanted) or not _is_number(observed):
            return type(wanted) is type(observed) and wanted == observed
        difference = abs(decimal(wanted) - decimal(observed))
        if difference <= decimal(tolerance):
            return True
        if self.type in FLOATS:
            return difference <= abs(decimal(wanted)) * Decimal(_FLOAT_TOLERANCE[self.type])
        return difference * 2 <= decimal(self.linear.step)


def element(index: int, count: int) -> str:
    """One of an array, in words."""
    return f"element {index} of 0 to {count - 1}"


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


def _shortest(raw: float, data_type: DataType) -> float:
    """The shortest decimal that is the same float: 230.1, not 230.10000610351562."""
    packer, greatest, attempts = _SHORTEST[data_type]
    packed = packer.pack(raw)
    for digits in attempts:
        candidate = float(f"{raw:.{digits}g}")
        if abs(candidate) < greatest and packer.pack(candidate) == packed:
            return candidate
    return float(f"{raw:.{_ENOUGH_DIGITS[data_type]}g}")
