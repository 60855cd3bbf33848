"""Bytes, most significant first ⇄ the number or text they stand for, for every type. Pure.

Whatever is no value of its type (a BCD digit above nine, the 31st of February) is a CodecError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from twingateway_modbus.layout import ADDRESSES, BCDS, TIMES, DataType, Half, registers_of

Raw: TypeAlias = "int | float | str"


class CodecError(ValueError):
    """Registers that are no value, or a value that no registers can hold. The message says why."""


@dataclass(frozen=True, slots=True)
class RawCodec:
    """`unpack` takes exactly the bytes that `pack` makes."""

    unpack: Callable[[bytes], Raw]
    pack: Callable[[Raw], bytes]


#: The struct format of the plain numbers.
FORMATS: dict[DataType, str] = {
    DataType.INT16: "h",
    DataType.UINT16: "H",
    DataType.BOOL: "H",
    DataType.INT32: "i",
    DataType.UINT32: "I",
    DataType.INT64: "q",
    DataType.UINT64: "Q",
    DataType.FLOAT16: "e",
    DataType.FLOAT32: "f",
    DataType.FLOAT64: "d",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def raw_codec(data_type: DataType, length: int = 0, half: Half | None = None) -> RawCodec:
    """`length`: registers of a string. `half`: the byte that holds an 8-bit number, or each character of a string."""
    if data_type in FORMATS:
        return _number(struct.Struct(">" + FORMATS[data_type]))
    if data_type is DataType.STRING:
        return _text(length, half)
    if data_type in BCDS:
        return _bcd({DataType.BCD16: 2, DataType.BCD32: 4, DataType.BCD64: 8}[data_type])
    if data_type in ADDRESSES:
        size = 2 * registers_of(data_type)
        return RawCodec(lambda data: int.from_bytes(data, "big"), lambda raw: int(raw).to_bytes(size, "big"))
    if data_type in TIMES:
        return _TIME_CODECS[data_type]
    return _byte(half or Half.LOW, signed=data_type is DataType.INT8)


def _number(packer: struct.Struct) -> RawCodec:
    unpack = packer.unpack

    def pack(raw: Raw) -> bytes:
        try:
            return packer.pack(raw)
        except (OverflowError, struct.error):
            raise CodecError(f"{raw} does not fit its registers") from None

    return RawCodec(lambda data: unpack(data)[0], pack)


def _byte(half: Half, *, signed: bool) -> RawCodec:
    """The other byte is packed as 0; whoever writes keeps what it held."""
    at = 0 if half is Half.HIGH else 1

    def pack(raw: Raw) -> bytes:
        data = bytearray(2)
        data[at] = int(raw) & 0xFF
        return bytes(data)

    def unpack(data: bytes) -> int:
        return data[at] - 256 if signed and data[at] > 127 else data[at]

    return RawCodec(unpack, pack)


def _bcd(size: int) -> RawCodec:
    """Four bits a decimal digit."""

    def unpack(data: bytes) -> int:
        try:
            return int(data.hex(), 10)
        except ValueError:
            raise CodecError(f"the device sent {data.hex()}, which is not BCD") from None

    return RawCodec(unpack, lambda raw: bytes.fromhex(str(raw).zfill(2 * size)))


def _text(length: int, half: Half | None) -> RawCodec:
    """Up to the first NUL, without the blanks devices pad with; two characters a register, or one in its `half`."""
    room = length if half else 2 * length

    def unpack(data: bytes) -> str:
        if half:
            data = data[0::2] if half is Half.HIGH else data[1::2]
        try:
            return data.partition(b"\0")[0].decode().rstrip()
        except UnicodeDecodeError:
            raise CodecError(f"the device sent {data.hex(' ')}, which is not text") from None

    def pack(raw: Raw) -> bytes:
        data = str(raw).encode()
        if len(data) > room:
            raise CodecError(f"{raw!r} takes {len(data)} bytes, there is room for {room}")
        if 0 in data:
            raise CodecError("a string must not contain NUL")
        data = data.ljust(room, b"\0")
        if half is None:
            return data
        spread = bytearray(2 * room)
        spread[0 if half is Half.HIGH else 1 :: 2] = data
        return bytes(spread)

    return RawCodec(unpack, pack)


# --- date and time: always text in ISO 8601, UTC ------------------------------------------------------------------


def _shown(moment: datetime) -> str:
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _moment(raw: Raw) -> datetime:
    try:
        moment = datetime.fromisoformat(str(raw))
    except ValueError:
        raise CodecError(f"{raw!r} is not a date and time such as 2026-05-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _since_1970(size: int, per_second: int) -> RawCodec:
    def unpack(data: bytes) -> str:
        number = int.from_bytes(data, "big")
        try:
            return _shown(_EPOCH + timedelta(milliseconds=number * (1000 // per_second)))
        except OverflowError:
            raise CodecError(f"the device sent the time {number}, which is in no calendar") from None

    def pack(raw: Raw) -> bytes:
        passed = _moment(raw) - _EPOCH
        number = passed // timedelta(milliseconds=1000 // per_second)
        if not 0 <= number < 1 << 8 * size:
            raise CodecError(f"{raw} does not fit; the registers begin at 1970-01-01")
        return number.to_bytes(size, "big")

    return RawCodec(unpack, pack)


def _calendar_moment(*parts: int) -> datetime:
    try:
        return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError as error:
        raise CodecError(f"the device sent the date {parts}: {error}") from None


def _unpack_calendar(data: bytes) -> str:
    """Six registers: year, month, day, hour, minute, second."""
    return _shown(_calendar_moment(*struct.unpack(">6H", data)))


def _pack_calendar(raw: Raw) -> bytes:
    return struct.pack(">6H", *_moment(raw).timetuple()[:6])


def _unpack_cp56(data: bytes) -> str:
    """IEC 60870-5 in four registers: year; month, day; hour, minute; milliseconds (with the seconds)."""
    year, month, day, hour, minute, milliseconds = struct.unpack(">HBBBBH", data)
    parts = (2000 + (year & 0x7F), month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F, milliseconds // 1000)
    return _shown(_calendar_moment(*parts, milliseconds % 1000 * 1000))


def _pack_cp56(raw: Raw) -> bytes:
    moment = _moment(raw)
    if not 2000 <= moment.year < 2128:
        raise CodecError(f"{raw} does not fit; the registers hold the years 2000 to 2127")
    milliseconds = moment.second * 1000 + moment.microsecond // 1000
    return struct.pack(
        ">HBBBBH", moment.year - 2000, moment.month, moment.day, moment.hour, moment.minute, milliseconds
    )


_TIME_CODECS: dict[DataType, RawCodec] = {
    DataType.UNIX32: _since_1970(4, 1),
    DataType.UNIX64: _since_1970(8, 1),
    DataType.UNIX64_MS: _since_1970(8, 1000),
    DataType.CP56: RawCodec(_unpack_cp56, _pack_cp56),
    DataType.CALENDAR: RawCodec(_unpack_calendar, _pack_calendar),
}
