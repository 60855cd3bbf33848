"""Registers ⇄ values against independent vectors: `struct` for types and orders, decimal arithmetic for scales."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twingateway_modbus.codec import BitField, Codec, CodecError, DataType, Linear, Order

NUMBERS: dict[DataType, tuple[str, Any]] = {
    DataType.INT16: ("h", -12345),
    DataType.UINT16: ("H", 0xA1B2),
    DataType.INT32: ("i", -1234567890),
    DataType.UINT32: ("I", 0xA1B2C3D4),
    DataType.INT64: ("q", -1234567890123456789),
    DataType.UINT64: ("Q", 0xA1B2C3D4E5F60718),
    DataType.FLOAT32: ("f", 230.5),
    DataType.FLOAT64: ("d", -230.1),
}


def on_the_wire(data: bytes, order: Order) -> list[int]:
    """Big-endian bytes of a value → its registers in `order`, by naming each byte's place."""
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    laid_out = {
        Order.ABCD: words,
        Order.CDAB: words[::-1],
        Order.BADC: [word[::-1] for word in words],
        Order.DCBA: [word[::-1] for word in words[::-1]],
    }[order]
    return [int.from_bytes(word, "big") for word in laid_out]


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
    assert Codec(DataType.UINT32, order).decode(registers) == 0x01020304


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
    decoded = codec.decode([raw & 0xFFFF])

    assert repr(decoded) == repr(value)
    assert codec.encode(value) == [raw & 0xFFFF]


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
    registers = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=codec.registers, max_size=codec.registers))
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
    registers = [raw >> 16, raw & 0xFFFF]
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
        Codec(DataType.FLOAT32).decode([bits >> 16, bits & 0xFFFF])


def test_a_bit_is_a_boolean_and_writing_it_leaves_its_neighbours() -> None:
    codec = Codec(DataType.UINT16, bits=BitField(3, 3, flag=True))

    assert codec.decode([0b1000]) is True
    assert codec.decode([0b0111]) is False
    assert codec.encode(False, [0b1111]) == [0b0111]
    assert codec.encode(True, [0b0001]) == [0b1001]


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
        (Codec(DataType.FLOAT32), 1e39, "does not fit float32"),
        (Codec(DataType.STRING, length=2), "Zürich", "there is room for 4"),
        (Codec(DataType.STRING, length=2), 5, "not a string"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(codec: Codec, value: Any, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        codec.encode(value, [0])


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(CodecError, match="not text"):
        Codec(DataType.STRING, length=1).decode([0xFFFE])
