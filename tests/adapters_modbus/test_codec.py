"""Registers ⇄ values against independent vectors: `struct` for types and orders, decimal arithmetic for scales."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twingateway_modbus.codec import BitField, Codec
from twingateway_modbus.layout import DataType, Half, Order
from twingateway_modbus.linear import Linear
from twingateway_modbus.raw import CodecError

NUMBERS: dict[DataType, tuple[str, Any]] = {
    DataType.INT16: ("h", -12345),
    DataType.UINT16: ("H", 0xA1B2),
    DataType.INT32: ("i", -1234567890),
    DataType.UINT32: ("I", 0xA1B2C3D4),
    DataType.INT64: ("q", -1234567890123456789),
    DataType.UINT64: ("Q", 0xA1B2C3D4E5F60718),
    DataType.FLOAT16: ("e", 230.5),
    DataType.FLOAT32: ("f", 230.5),
    DataType.FLOAT64: ("d", -230.1),
}


def words(*registers: int) -> bytes:
    """Registers as they travel."""
    return struct.pack(f">{len(registers)}H", *registers)


def on_the_wire(data: bytes, order: Order) -> bytes:
    """Big-endian bytes of a value → as they travel in `order`, by naming each byte's place."""
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    laid_out = {
        Order.ABCD: pairs,
        Order.CDAB: pairs[::-1],
        Order.BADC: [word[::-1] for word in pairs],
        Order.DCBA: [word[::-1] for word in pairs[::-1]],
    }[order]
    return b"".join(laid_out)


def linear(scale: str, offset: str = "0") -> Linear:
    return Linear.of(Decimal(scale), Decimal(offset))


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("data_type", NUMBERS)
def test_every_type_in_every_order_agrees_with_struct(data_type: DataType, order: Order) -> None:
    letter, value = NUMBERS[data_type]
    registers = on_the_wire(struct.pack(f">{letter}", value), order)
    codec = Codec(data_type, order)

    assert codec.decode(registers) == value
    assert codec.encode(value) == registers


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        (Order.ABCD, [0x0102, 0x0304]),
        (Order.CDAB, [0x0304, 0x0102]),
        (Order.BADC, [0x0201, 0x0403]),
        (Order.DCBA, [0x0403, 0x0201]),
    ],
)
def test_the_orders_are_what_their_names_say(order: Order, registers: list[int]) -> None:
    assert Codec(DataType.UINT32, order).decode(words(*registers)) == 0x01020304


@pytest.mark.parametrize("order", [Order.ABCD, Order.BADC])
def test_a_string_ends_at_nul_and_is_padded_with_it(order: Order) -> None:
    codec = Codec(DataType.STRING, order, length=4)
    registers = on_the_wire(b"AB-12\0\0\0", order)

    assert codec.decode(registers) == "AB-12"
    assert codec.encode("AB-12") == registers
    assert codec.decode(on_the_wire(b"AB-12   ", order)) == "AB-12"


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "value"),
    [
        (235, "0.1", "0", 23.5),
        (3, "0.1", "0", 0.3),
        (1001, "0.001", "0", 1.001),
        (-17, "0.01", "-40", -40.17),
        (7, "10", "0", 70),
        (7, "1", "5", 12),
        (2301, "0.1", "0.05", 230.15),
    ],
)
def test_scaling_gives_the_decimal_a_person_expects(raw: int, scale: str, offset: str, value: float) -> None:
    codec = Codec(DataType.INT16, linear=linear(scale, offset))
    decoded = codec.decode(words(raw & 0xFFFF))

    assert repr(decoded) == repr(value)
    assert codec.encode(value) == words(raw & 0xFFFF)


@given(raw=st.integers(-(2**63), 2**63 - 1), places=st.integers(0, 6), factor=st.integers(1, 99))
def test_scaling_is_the_double_nearest_to_the_exact_decimal(raw: int, places: int, factor: int) -> None:
    scale = Decimal(factor).scaleb(-places)
    registers = on_the_wire(struct.pack(">q", raw), Order.ABCD)

    decoded = Codec(DataType.INT64, linear=Linear.of(scale, Decimal(0))).decode(registers)

    assert isinstance(decoded, int | float)
    assert decoded == float(raw * scale) or decoded == raw * scale


@given(data=st.data(), order=st.sampled_from(Order), data_type=st.sampled_from(list(NUMBERS)))
def test_numbers_survive_the_way_there_and_back(data: st.DataObject, order: Order, data_type: DataType) -> None:
    codec = Codec(data_type, order)
    registers = data.draw(st.binary(min_size=2 * codec.registers, max_size=2 * codec.registers))
    try:
        value = codec.decode(registers)
    except CodecError:
        assume(False)

    assert codec.encode(value) == registers
    assert codec.matches(value, codec.decode(codec.encode(value)))


@given(value=st.floats(-3200, 3200), scale=st.sampled_from(["0.1", "0.01", "0.5", "2", "-0.1"]))
def test_a_written_value_is_read_back_within_half_a_step(value: float, scale: str) -> None:
    codec = Codec(DataType.INT32, linear=linear(scale))

    observed = codec.decode(codec.encode(value))

    assert codec.matches(value, observed)
    assert isinstance(observed, int | float)
    assert not codec.matches(value, observed + 1.51 * abs(float(scale)))


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8))
def test_strings_survive_the_way_there_and_back(text: str) -> None:
    codec = Codec(DataType.STRING, length=16)
    assert codec.decode(codec.encode(text)) == text.rstrip()


@given(raw=st.integers(0, 0xFFFFFFFF))
def test_a_32_bit_float_is_shown_as_the_shortest_decimal_that_is_it(raw: int) -> None:
    registers = words(raw >> 16, raw & 0xFFFF)
    (exact,) = struct.unpack(">f", struct.pack(">I", raw))
    assume(math.isfinite(exact))

    shown = Codec(DataType.FLOAT32).decode(registers)

    assert isinstance(shown, float)
    assert struct.pack(">f", shown) == struct.pack(">I", raw)
    assert len(repr(shown).partition("e")[0].strip("-0.").replace(".", "")) <= 9 or abs(shown) >= 1e9


def test_230_1_volts_in_a_32_bit_float_are_230_1_volts() -> None:
    assert Codec(DataType.FLOAT32).decode(on_the_wire(struct.pack(">f", 230.1), Order.ABCD)) == 230.1
    scaled = Codec(DataType.FLOAT32, linear=linear("0.001"))
    assert scaled.decode(on_the_wire(struct.pack(">f", 230.1), Order.ABCD)) == 0.2301


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000])
def test_nan_and_infinities_are_no_values(bits: int) -> None:
    with pytest.raises(CodecError, match="not a number"):
        Codec(DataType.FLOAT32).decode(words(bits >> 16, bits & 0xFFFF))


def test_a_bit_is_a_boolean_and_writing_it_leaves_its_neighbours() -> None:
    codec = Codec(DataType.UINT16, bits=BitField(3, 3, flag=True))

    assert codec.decode(words(0b1000)) is True
    assert codec.decode(words(0b0111)) is False
    assert codec.encode(False, words(0b1111)) == words(0b0111)
    assert codec.encode(True, words(0b0001)) == words(0b1001)


@given(current=st.integers(0, 2**32 - 1), value=st.integers(0, 7), order=st.sampled_from(Order))
def test_writing_a_bit_field_changes_nothing_else(current: int, value: int, order: Order) -> None:
    codec = Codec(DataType.UINT32, order, bits=BitField(14, 16, flag=False))
    plain = Codec(DataType.UINT32, order)
    before = plain.encode(current)

    after = codec.encode(value, before)

    assert codec.decode(after) == value
    changed = plain.decode(after)
    assert isinstance(changed, int)
    assert (changed ^ current) & ~codec.bits.mask == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("codec", "value", "reason"),
    [
        (Codec(DataType.INT16, linear=linear("0.1")), 4000, "holds -3276.8 to 3276.7"),
        (Codec(DataType.UINT16), -1, "holds 0 to 65535"),
        (Codec(DataType.UINT16, bits=BitField(4, 6, flag=False)), 8, "holds 0 to 7"),
        (Codec(DataType.INT16), True, "not a number"),
        (Codec(DataType.INT16), "7", "not a number"),
        (Codec(DataType.INT16), math.nan, "not a number"),
        (Codec(DataType.BOOL), 1, "not true or false"),
        (Codec(DataType.UINT16, bits=BitField(0, 0, flag=True)), 1, "not true or false"),
        (Codec(DataType.FLOAT32), 1e39, "does not fit its registers"),
        (Codec(DataType.STRING, length=2), "Zürich", "there is room for 4"),
        (Codec(DataType.STRING, length=2), 5, "not a string"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(codec: Codec, value: Any, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        codec.encode(value, words(0))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(CodecError, match="not text"):
        Codec(DataType.STRING, length=1).decode(words(0xFFFE))


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    ("digits", "data_type"), [("9871", "bcd16"), ("98765431", "bcd32"), ("9876543210123451", "bcd64")]
)
def test_bcd_is_read_as_its_digits(digits: str, data_type: str, order: Order) -> None:
    codec = Codec(DataType(data_type), order)
    registers = on_the_wire(bytes.fromhex(digits), order)

    assert codec.decode(registers) == int(digits)
    assert codec.encode(int(digits)) == registers
    assert codec.encode(7) == on_the_wire(bytes.fromhex("7".zfill(len(digits))), order)
    with pytest.raises(CodecError, match="not BCD"):
        codec.decode(b"\x0a" * (len(digits) // 2))
    with pytest.raises(CodecError, match="holds 0 to 9"):
        codec.encode(10 ** len(digits))


@pytest.mark.parametrize(
    ("half", "order", "registers", "unsigned", "signed"),
    [
        (Half.HIGH, Order.ABCD, 0xFE07, 254, -2),
        (Half.LOW, Order.ABCD, 0x07FE, 254, -2),
        (Half.LOW, Order.BADC, 0xFE07, 254, -2),
    ],
)
def test_a_byte_of_a_register_is_a_number_and_writing_it_keeps_the_other(
    half: Half, order: Order, registers: int, unsigned: int, signed: int
) -> None:
    for data_type, value in ((DataType.UINT8, unsigned), (DataType.INT8, signed)):
        codec = Codec(data_type, order, half=half)
        assert codec.decode(words(registers)) == value
        assert codec.encode(value, words(registers)) == words(registers)
        assert codec.decode(codec.encode(1, words(registers))) == 1
        before, after = words(registers), codec.encode(1, words(registers))
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize(
    ("layout", "wire"),
    [
        ({}, b"AB-1"),
        ({"order": Order.BADC}, b"BA1-"),
        ({"half": Half.HIGH}, b"A\0B\0-\x001\0"),
        ({"half": Half.LOW}, b"\0A\0B\0-\x001"),
    ],
)
def test_the_four_layouts_of_a_string(layout: dict[str, Any], wire: bytes) -> None:
    codec = Codec(DataType.STRING, length=len(wire) // 2, **layout)

    assert codec.decode(wire) == "AB-1"
    assert codec.encode("AB-1") == wire
    with pytest.raises(CodecError, match="room for 4"):
        codec.encode("AB-12")


def test_an_array_is_a_list_of_its_elements() -> None:
    codec = Codec(DataType.INT32, Order.CDAB, linear("0.1"), count=3)
    registers = b"".join(on_the_wire(struct.pack(">i", raw), Order.CDAB) for raw in (10, -25, 70000))

    assert codec.registers == 6
    assert codec.decode(registers) == [1.0, -2.5, 7000.0]
    assert codec.encode([1, -2.5, 7000]) == registers
    assert codec.matches([1, -2.5, 7000], [1.0, -2.5, 7000.04])
    assert not codec.matches([1, -2.5, 7000], [1.0, -2.5])
    with pytest.raises(CodecError, match="not a list of 3"):
        codec.encode([1, 2])


def test_what_is_wrong_with_one_element_names_it() -> None:
    codec = Codec(DataType.UINT16, names={0: "off", 2: "on"}, count=3)
    with pytest.raises(CodecError, match=r"^element 1 of 0 to 2: the device sent 9, which stands for none"):
        codec.decode(words(0, 9, 2))
    with pytest.raises(CodecError, match=r"^element 2 of 0 to 2: 'auto' is none of off, on"):
        codec.encode(["off", "on", "auto"])


def test_names_stand_for_numbers_and_an_unknown_number_is_no_value() -> None:
    codec = Codec(DataType.UINT16, names={0: "off", 2: "on"})

    assert codec.decode(words(2)) == "on"
    assert codec.encode("off") == words(0)
    with pytest.raises(CodecError, match="the device sent 1"):
        codec.decode(words(1))
    with pytest.raises(CodecError, match="none of off, on"):
        codec.encode("auto")


def test_names_inside_a_bit_field() -> None:
    codec = Codec(DataType.UINT16, bits=BitField(4, 5, flag=False), names={0: "off", 3: "on"})
    assert codec.decode(words(0x0F3F)) == "on"
    assert codec.encode("off", words(0x0F3F)) == words(0x0F0F)


def test_flags_are_the_names_of_the_bits_that_are_set() -> None:
    codec = Codec(DataType.UINT32, flags={0: "ground fault", 17: "door open"})

    assert codec.decode(words(0b10, 1)) == ["ground fault", "door open"]
    assert codec.decode(words(0, 0b100)) == ["bit 2"]
    assert codec.encode(["door open", "bit 2"]) == words(0b10, 0b100)
    assert codec.matches(["door open", "ground fault"], ["ground fault", "door open"])
    with pytest.raises(CodecError, match="'window' is none of"):
        codec.encode(["window"])
    with pytest.raises(CodecError, match="more bits"):
        codec.encode(["bit 40"])


@pytest.mark.parametrize(
    ("codec", "registers"),
    [
        (Codec(DataType.INT16, sentinels=frozenset({-32768})), words(0x8000)),
        (Codec(DataType.UINT32, sentinels=frozenset({0xFFFFFFFF})), words(0xFFFF, 0xFFFF)),
        (Codec(DataType.FLOAT32, nan_is_nothing=True), words(0x7FC0, 0)),
        (Codec(DataType.UINT16, sentinels=frozenset({0xFFFF}), names={1: "on"}), words(0xFFFF)),
    ],
)
def test_a_sentinel_is_no_value(codec: Codec, registers: bytes) -> None:
    assert codec.decode(registers) is None


def test_a_sentinel_is_never_written() -> None:
    with pytest.raises(CodecError, match="has no value"):
        Codec(DataType.INT16, sentinels=frozenset({-32768})).encode(-32768)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    ("data_type", "wire", "shown"),
    [
        ("unix32", struct.pack(">I", 1_700_000_000), "2023-11-14T22:13:20Z"),
        ("unix64", struct.pack(">Q", 4_294_967_296), "2106-02-07T06:28:16Z"),
        ("unix64ms", struct.pack(">Q", 1_700_000_000_250), "2023-11-14T22:13:20.250Z"),
        ("calendar", struct.pack(">6H", 2024, 2, 29, 23, 59, 58), "2024-02-29T23:59:58Z"),
        ("cp56time", bytes.fromhex("0018 021d 173b e290"), "2024-02-29T23:59:58Z"),
    ],
)
def test_date_and_time_are_iso_8601(data_type: str, wire: bytes, shown: str, order: Order) -> None:
    codec, wire = Codec(DataType(data_type), order), on_the_wire(wire, order)

    assert codec.decode(wire) == shown
    assert codec.encode(shown) == wire
    local = shown.replace("Z", "+00:00")
    assert codec.matches(local, shown)


@pytest.mark.parametrize(
    ("data_type", "wire"), [("calendar", struct.pack(">6H", 2023, 2, 29, 0, 0, 0)), ("cp56time", bytes(8))]
)
def test_a_day_that_is_in_no_calendar_is_no_value(data_type: str, wire: bytes) -> None:
    with pytest.raises(CodecError, match="the device sent the date"):
        Codec(DataType(data_type)).decode(wire)


@given(raw=st.integers(-(2**15), 2**15 - 1), exponent=st.integers(-10, 10))
def test_a_scale_factor_register_multiplies_by_a_power_of_ten(raw: int, exponent: int) -> None:
    codec = Codec(DataType.INT16).scaled_by(exponent)
    value = codec.decode(struct.pack(">h", raw))

    assert value == float(Decimal(raw).scaleb(exponent))
    assert codec.encode(value) == struct.pack(">h", raw)


def test_a_scale_factor_that_is_none_is_refused() -> None:
    with pytest.raises(CodecError, match="-32768 as a scale factor"):
        Codec(DataType.INT16).scaled_by(-32768)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    ("data_type", "data", "text"),
    [
        (DataType.EUI48, "0000 001B C504 102F", "00:1b:c5:04:10:2f"),
        (DataType.IPV4, "C0A8 0105", "192.168.1.5"),
        (DataType.IPV6, "FE80 0000 0000 0000 0000 0000 0000 0001", "fe80::1"),
    ],
)
def test_network_addresses_are_text(data_type: DataType, data: str, text: str, order: Order) -> None:
    codec = Codec(data_type, order)
    registers = on_the_wire(bytes.fromhex(data), order)
    assert codec.decode(registers) == text
    assert codec.encode(text) == registers
    assert codec.matches(text, codec.decode(registers))


def test_an_address_written_in_another_way_is_the_same() -> None:
    assert Codec(DataType.EUI48).matches("00-1B-C5-04-10-2F", "00:1b:c5:04:10:2f")
    assert Codec(DataType.IPV6).matches("FE80:0:0:0:0:0:0:1", "fe80::1")
    assert not Codec(DataType.IPV4).matches("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("data_type", "text"),
    [
        (DataType.EUI48, "00:1b:c5:04:10"),
        (DataType.EUI48, "00:1b-c5:04:10:2f"),
        (DataType.IPV4, "10.0.0"),
        (DataType.IPV4, "fe80::1"),
        (DataType.IPV6, "10.0.0.1"),
    ],
)
def test_what_is_no_address_is_not_written(data_type: DataType, text: str) -> None:
    with pytest.raises(CodecError, match="is not an"):
        Codec(data_type).encode(text)


def test_an_address_that_the_device_does_not_have_is_nothing() -> None:
    nothing = frozenset({0, 0x0000FFFFFFFFFFFF})
    assert Codec(DataType.EUI48, sentinels=nothing).decode(bytes.fromhex("0000 FFFF FFFF FFFF")) is None
    assert Codec(DataType.IPV6, sentinels=nothing).decode(bytes(16)) is None
    with pytest.raises(CodecError, match="no EUI-48"):
        Codec(DataType.EUI48).decode(bytes.fromhex("0001 001B C504 102F"))
