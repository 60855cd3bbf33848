"""The codec's stages in one step each, for the two kinds of value that make up most register maps. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection

from twingateway.adapter import Value
from twingateway_modbus.linear import IDENTITY, Linear
from twingateway_modbus.raw import CodecError

Decode = Callable[[bytes], Value]


def not_a_number(raw: float) -> CodecError:
    return CodecError(f"the device sent {raw}, which is not a number a twin can hold")


def shortest_float32(packer: struct.Struct) -> Decode:
    """A short decimal that is the same 32-bit float: 230.1, not 230.10000610351562. Seven digits mostly serve."""
    pack, unpack, isfinite = packer.pack, packer.unpack, math.isfinite

    def decode(data: bytes) -> float:
        (raw,) = unpack(data)
        short = float("%.7g" % raw)  # noqa: UP031 - this runs for every value of every poll
        try:
            if pack(short) == data and isfinite(short):
                return short
        except OverflowError:
            pass
        return _longer(raw, data)

    def _longer(raw: float, data: bytes) -> float:
        if not isfinite(raw):
            raise not_a_number(raw)
        short = float(f"{raw:.8g}")
        try:
            return short if pack(short) == data else float(f"{raw:.9g}")
        except OverflowError:
            return raw

    return decode


def scaled_integer(unpack: Callable[[bytes], tuple[int, ...]], linear: Linear, sentinels: Collection[int]) -> Decode:
    factor, addend, divisor = linear
    if linear == IDENTITY and not sentinels:
        return lambda data: unpack(data)[0]

    def decode(data: bytes) -> int | float | None:
        (raw,) = unpack(data)
        if raw in sentinels:
            return None
        scaled = raw * factor + addend
        return scaled if divisor == 1 else scaled / divisor

    return decode
