"""A reply is believed only if every field of it fits the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twingateway_modbus.reply import fault

READ = bytes.fromhex("0007 0000 0006 03 04 0064 0002")
GOOD = bytes.fromhex("0007 0000 0007 03 04 04 0102 0304")
WRITE = bytes.fromhex("0008 0000 0006 03 06 0064 00d7")


def test_a_reply_is_good_at_every_byte_of_its_way() -> None:
    for end in range(len(GOOD) + 1):
        assert fault(READ, GOOD[:end]) == ""


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        ("0006 0000 0007 03 04 04 0102 0304", "transaction 6 instead of 7"),
        ("0007 0001 0007 03 04 04 0102 0304", "protocol identifier 1"),
        ("0007 0000 0007 02 04 04 0102 0304", "unit 2 instead of 3"),
        ("0007 0000 0007 03 03 04 0102 0304", "function 3 instead of 4"),
        ("0007 0000 0007 03 83 02", "function 131 instead of 4"),
        ("0007 0000 0005 03 04 02 0102", "2 bytes of values instead of 4"),
        ("0007 0000 0009 03 04 06 0102 0304 0506", "6 bytes of values instead of 4"),
        ("0007 0000 0006 03 04 04 0102 0304", "a length of 6 bytes instead of 7"),
        ("0007 0000 0007 03 04 04 0102 0304 ff", "1 bytes behind the reply"),
        ("0007 0000 0001 03", "a length of 1 bytes"),
        ("0007 0000 0004 03 84 02 02", "a length of 4 bytes instead of 3"),
    ],
)
def test_a_reply_that_does_not_fit_is_named(reply: str, wrong: str) -> None:
    assert wrong in fault(READ, bytes.fromhex(reply))


def test_an_exception_to_the_request_is_a_reply() -> None:
    assert fault(READ, bytes.fromhex("0007 0000 0003 03 84 02")) == ""


def test_a_write_is_answered_by_its_echo() -> None:
    assert fault(WRITE, WRITE) == ""
    assert "an echo of 00 65 instead of 00 64" in fault(WRITE, WRITE[:9] + b"\x65" + WRITE[10:])
    several = bytes.fromhex("0009 0000 000b 03 10 0064 0002 04 0102 0304")
    assert fault(several, bytes.fromhex("0009 0000 0006 03 10 0064 0002")) == ""
    assert "echo" in fault(several, bytes.fromhex("0009 0000 0006 03 10 0064 0001"))


def test_what_a_clamping_device_echoes_is_left_to_the_read_back() -> None:
    assert fault(WRITE, WRITE[:-1] + b"\xd6") == ""


@given(reply=st.binary(max_size=40))
def test_only_the_reply_itself_passes_whole(reply: bytes) -> None:
    whole = len(reply) >= 9 and len(reply) == 6 + int.from_bytes(reply[4:6], "big")
    if whole and not fault(READ, reply):
        assert reply[:4] == READ[:4]
        assert reply[6] == 3
        assert reply[7:9] == b"\x04\x04" or reply[7] == 0x84
