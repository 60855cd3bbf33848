"""Replies held against their requests in every framing: taken whole, and only if everything fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from twingateway_modbus.framing import FramingName, Sent, make_framing
from twingateway_modbus.point import Table
from twingateway_modbus.reply import ReplyFault, length_of, objects_of, size_of
from twingateway_modbus.request import (
    Cells,
    Request,
    identification,
    mask_write,
    pack_bits,
    read,
    read_write,
    unpack_bits,
    write_coils,
    write_registers,
)

REQUESTS: dict[str, tuple[Request, bytes]] = {
    "coils": (read(Cells(Table.COIL, 3, 10)), bytes.fromhex("01 02 ff 01")),
    "discrete inputs": (read(Cells(Table.DISCRETE, 0, 8)), bytes.fromhex("02 01 05")),
    "holding registers": (read(Cells(Table.HOLDING, 7, 2)), bytes.fromhex("03 04 00010002")),
    "input registers": (read(Cells(Table.INPUT, 7, 1)), bytes.fromhex("04 02 ffff")),
    "one coil": (write_coils(9, b"\x01"), bytes.fromhex("05 0009 ff00")),
    "one register": (write_registers(9, b"\x12\x34"), bytes.fromhex("06 0009 1234")),
    "several coils": (write_coils(9, b"\1\0\1"), bytes.fromhex("0f 0009 0003")),
    "several registers": (write_registers(9, bytes(4)), bytes.fromhex("10 0009 0002")),
    "mask": (mask_write(4, 0xF2, 0x25), bytes.fromhex("16 0004 00f2 0025")),
    "read and write": (read_write(14, bytes(4)), bytes.fromhex("17 04 00fe0acd")),
    "identification": (identification(1, 0), bytes.fromhex("2b 0e 01 01 00 00 02 00 03 616263 01 01 78")),
}
FRAMINGS = {"tcp": FramerSocket, "rtu": FramerRTU, "ascii": FramerAscii}


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("case", REQUESTS)
def test_frames_are_those_of_pymodbus(name: str, case: str) -> None:
    request, _ = REQUESTS[case]
    theirs = FRAMINGS[name](DecodePDU(True))
    frame = make_framing(FramingName(name)).frame(77, 5, request.pdu)

    used, unit, transaction, pdu = theirs.decode(frame)

    assert (used, unit, pdu) == (len(frame), 5, request.pdu)
    assert transaction == (77 if name == "tcp" else 0)


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("case", REQUESTS)
def test_a_reply_is_found_when_its_last_byte_came_and_not_before(name: str, case: str) -> None:
    request, pdu = REQUESTS[case]
    framing = make_framing(FramingName(name))
    sent = Sent(5, request.pdu, framing.frame(77, 5, request.pdu))
    reply = framing.frame(77, 5, pdu)

    assert [framing.find(sent, reply[:end]) for end in range(len(reply))] == [None] * len(reply)
    assert framing.find(sent, reply) == pdu
    with pytest.raises(ReplyFault, match="behind the reply"):
        framing.find(sent, reply + b"\0")


@pytest.mark.parametrize("name", ["rtu", "ascii"])
@pytest.mark.parametrize("case", REQUESTS)
def test_any_one_bit_turned_over_on_a_serial_line_is_noticed(name: str, case: str) -> None:
    request, pdu = REQUESTS[case]
    framing = make_framing(FramingName(name))
    sent = Sent(5, request.pdu, framing.frame(0, 5, request.pdu))
    reply = framing.frame(0, 5, pdu)

    for bit in range(8 * len(reply)):
        noisy = bytearray(reply)
        noisy[bit // 8] ^= 1 << bit % 8
        try:
            found = framing.find(sent, bytes(noisy))
        except ReplyFault:
            continue
        # Hexadecimal digits in lower case mean the same.
        assert found is None or (name == "ascii" and found == pdu)


@given(
    garbage=st.binary(max_size=300), name=st.sampled_from(sorted(FRAMINGS)), case=st.sampled_from(sorted(REQUESTS))
)
def test_garbage_is_no_reply(garbage: bytes, name: str, case: str) -> None:
    request, _ = REQUESTS[case]
    framing = make_framing(FramingName(name))
    sent = Sent(0x5A, request.pdu, framing.frame(0x1234, 0x5A, request.pdu))
    try:
        found = framing.find(sent, garbage)
    except ReplyFault:
        return
    assert found is None or framing.frame(0x1234, 0x5A, found) == garbage


@pytest.mark.parametrize("name", ["rtu", "ascii"])
def test_the_echo_of_a_two_wire_line_is_taken_off(name: str) -> None:
    request, pdu = REQUESTS["one register"]
    framing = make_framing(FramingName(name), echo=True)
    frame = framing.frame(0, 5, request.pdu)
    sent = Sent(5, request.pdu, frame)

    assert framing.find(sent, frame[:3]) is None
    assert framing.find(sent, frame) is None
    assert framing.find(sent, frame + framing.frame(0, 5, pdu)) == pdu
    with pytest.raises(ReplyFault, match="no echo"):
        framing.find(sent, framing.frame(0, 6, pdu))


def test_a_late_reply_to_a_transaction_given_up_is_thrown_away() -> None:
    request, pdu = REQUESTS["input registers"]
    framing = make_framing(FramingName.TCP)
    late, reply = framing.frame(76, 5, pdu), framing.frame(77, 5, pdu)
    sent = Sent(5, request.pdu, framing.frame(77, 5, request.pdu), {76})

    assert framing.find(sent, late) is None
    assert framing.find(sent, late + reply[:4]) is None
    assert framing.find(sent, late + reply) == pdu
    with pytest.raises(ReplyFault, match="transaction 75"):
        framing.find(sent, framing.frame(75, 5, pdu))


@pytest.mark.parametrize("case", REQUESTS)
def test_an_exception_is_two_bytes(case: str) -> None:
    request, _ = REQUESTS[case]
    assert length_of(request.pdu, bytes([request.function | 0x80, 2])) == 2


def test_the_objects_of_an_identification() -> None:
    assert objects_of(REQUESTS["identification"][1]) == ({0: b"abc", 1: b"x"}, None)
    assert objects_of(bytes.fromhex("2b 0e 01 01 ff 02 00")) == ({}, 2)


@given(bits=st.lists(st.sampled_from([0, 1]), min_size=1, max_size=2000).map(bytes))
def test_bits_survive_packing(bits: bytes) -> None:
    assert unpack_bits(pack_bits(bits), len(bits)) == bits


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("name", FRAMINGS)
def test_the_size_of_a_frame_is_known_before_it_is_made(name: str, kind: str) -> None:
    request, reply = REQUESTS[kind]
    framing = make_framing(FramingName(name))
    for pdu in (request.pdu, reply):
        assert framing.size(len(pdu)) == len(framing.frame(1, 5, pdu))
    assert size_of(request.pdu) == (253 if kind == "identification" else len(reply))
