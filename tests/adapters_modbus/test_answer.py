"""What the simulator replies, against the examples of the Modbus application protocol's own text."""

from __future__ import annotations

import pytest
from twingateway_modbus.point import Table
from twingateway_modbus.reply import objects_of
from twingateway_modbus.simulator.answer import answer
from twingateway_modbus.simulator.memory import Memory


def unit() -> Memory:
    memory = Memory()
    memory.set(Table.HOLDING, 107, [0x022B, 0x0000, 0x0064])
    memory.set(Table.INPUT, 8, [0x000A])
    memory.set(Table.HOLDING, 1, [0, 0])
    memory.set(Table.HOLDING, 3, [0xFE, 0xACD, 1, 3, 0xD, 0xFF])
    memory.set(Table.HOLDING, 14, [0, 0, 0])
    memory.set(Table.COIL, 172, [0])
    bits = "1011 0011 1101 0110 101"  # coils 20 to 38: CD 6B 05, the lowest first
    memory.set(Table.COIL, 19, [int(bit) for bit in bits.replace(" ", "")])
    return memory


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("01 0013 0013", "01 03 CD 6B 05"),
        ("03 006B 0003", "03 06 022B 0000 0064"),
        ("04 0008 0001", "04 02 000A"),
        ("05 00AC FF00", "05 00AC FF00"),
        ("06 0001 0003", "06 0001 0003"),
        ("0F 0013 000A 02 CD01", "0F 0013 000A"),
        ("10 0001 0002 04 000A 0102", "10 0001 0002"),
        ("17 0003 0006 000E 0003 06 00FF 00FF 00FF", "17 0C 00FE 0ACD 0001 0003 000D 00FF"),
        ("03 0FFF 0001", "83 02"),
        ("03 006B 0000", "83 03"),
        ("10 0001 0002 03 000A 01", "90 03"),
        ("08 0000 A537", "88 01"),
    ],
)
def test_a_request_of_the_specification_has_its_reply(request_: str, reply: str) -> None:
    assert answer(bytes.fromhex(request_), unit()) == bytes.fromhex(reply)


def test_a_mask_is_applied_as_the_specification_says() -> None:
    """(12 AND F2) OR (25 AND NOT F2) is 17."""
    memory = unit()
    memory.set(Table.HOLDING, 4, [0x12])
    request = bytes.fromhex("16 0004 00F2 0025")
    assert answer(request, memory) == request
    assert memory.get(Table.HOLDING, 4, 1) == [0x17]


def test_what_was_written_is_there() -> None:
    memory = unit()
    for request in ("0F 0013 000A 02 CD01", "10 0001 0002 04 000A 0102", "05 00AC FF00"):
        answer(bytes.fromhex(request), memory)
    assert memory.get(Table.COIL, 19, 10) == [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]
    assert memory.get(Table.HOLDING, 1, 2) == [0x000A, 0x0102]
    assert memory.get(Table.COIL, 172, 1) == [1]


def test_an_identification_that_does_not_fit_goes_on_in_the_next_reply() -> None:
    memory = unit()
    memory.objects = {0: b"a" * 100, 1: b"b" * 100, 2: b"c" * 60, 3: b"d", 0x80: b"e"}
    first = answer(bytes.fromhex("2B 0E 03 00"), memory)
    assert len(first) <= 253
    assert objects_of(first) == ({0: b"a" * 100, 1: b"b" * 100}, 2)
    assert objects_of(answer(bytes.fromhex("2B 0E 03 02"), memory)) == ({2: b"c" * 60, 3: b"d", 0x80: b"e"}, None)
    assert objects_of(answer(bytes.fromhex("2B 0E 01 02"), memory)) == ({2: b"c" * 60}, None)
    assert objects_of(answer(bytes.fromhex("2B 0E 04 03"), memory)) == ({3: b"d"}, None)
    assert answer(bytes.fromhex("2B 0E 04 09"), memory) == bytes.fromhex("AB 02")
    assert answer(bytes.fromhex("2B 0E 05 00"), memory) == bytes.fromhex("AB 03")
    assert answer(bytes.fromhex("2B 0D 01 00"), memory) == bytes.fromhex("AB 01")
