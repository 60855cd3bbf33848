"""Whether a PDU that came back is the reply to a request, and where it ends. Pure.

Rule: every field is held against the request before anything is decoded: function, length, and for writes what they
wrote to. The same rules serve every framing.
"""

from __future__ import annotations

from collections.abc import Callable

from twingateway_modbus.request import ENCAPSULATED, IDENTIFICATION, MASK_WRITE, READ_WRITE

EXCEPTION = 0x80
#: The longest PDU there is.
LONGEST = 253
#: Bytes of an identification reply before its objects; where in them their number stands.
_OBJECTS, _OBJECT_COUNT = 7, 6


class ReplyFault(Exception):
    """Bytes that are not the reply; the message says what is wrong with them."""


def _bits(pdu: bytes) -> bytes:
    return bytes([pdu[0], (int.from_bytes(pdu[3:5], "big") + 7) // 8])


def _registers(pdu: bytes) -> bytes:
    return bytes([pdu[0], 2 * int.from_bytes(pdu[3:5], "big") & 0xFF])


def _address(pdu: bytes) -> bytes:
    """A device that clamps may echo what it holds instead of what was sent; reading back tells."""
    return pdu[:3]


def _address_and_count(pdu: bytes) -> bytes:
    return pdu[:5]


def _everything(pdu: bytes) -> bytes:
    return pdu


def _level(pdu: bytes) -> bytes:
    return pdu[:3]


#: Function code → from the request, the bytes with which a good reply begins.
_BEGINNINGS: dict[int, Callable[[bytes], bytes]] = {
    1: _bits,
    2: _bits,
    3: _registers,
    4: _registers,
    5: _address,
    6: _address,
    15: _address_and_count,
    16: _address_and_count,
    MASK_WRITE: _everything,
    READ_WRITE: _registers,
    ENCAPSULATED: _level,
}
_COUNTED = frozenset({1, 2, 3, 4, READ_WRITE})
#: Function code → the length of a good reply, where it is always the same.
_LENGTHS = {5: 5, 6: 5, 15: 5, 16: 5, MASK_WRITE: 7}


def length_of(request: bytes, reply: bytes) -> int | None:
    """How many bytes the reply has that begins with `reply`; None until enough of it is there to tell.

    Raises ReplyFault if it cannot be the reply to `request`.
    """
    if not reply:
        return None
    function = request[0]
    if reply[0] == function | EXCEPTION:
        return 2
    if reply[0] != function:
        raise ReplyFault(f"function {reply[0]} instead of {function}")
    beginning = _BEGINNINGS[function](request)
    if reply[: len(beginning)] != beginning[: len(reply)]:
        raise ReplyFault(_difference(function, beginning, reply))
    if function in _COUNTED:
        return 2 + beginning[1]
    return _LENGTHS[function] if function in _LENGTHS else _identification_length(reply)


def size_of(request: bytes) -> int:
    """How many bytes a good reply to `request` has, at most."""
    function = request[0]
    if function in _COUNTED:
        return 2 + _BEGINNINGS[function](request)[1]
    return _LENGTHS.get(function, LONGEST)


def _identification_length(reply: bytes) -> int | None:
    if len(reply) < _OBJECTS:
        return None
    end = _OBJECTS
    for _ in range(reply[_OBJECT_COUNT]):
        if len(reply) < end + 2:
            return None
        end += 2 + reply[end + 1]
    if end > LONGEST:
        raise ReplyFault("an identification longer than a frame")
    return end


def _difference(function: int, beginning: bytes, reply: bytes) -> str:
    if function in _COUNTED:
        return f"{reply[1]} bytes of values instead of {beginning[1]}"
    return f"an echo of {reply[1 : len(beginning)].hex(' ')} instead of {beginning[1:].hex(' ')}"


def objects_of(reply: bytes) -> tuple[dict[int, bytes], int | None]:
    """An identification reply's objects by number, and the next one to ask for if there are more."""
    assert reply[:2] == bytes([ENCAPSULATED, IDENTIFICATION])
    objects: dict[int, bytes] = {}
    at = _OBJECTS
    for _ in range(reply[_OBJECT_COUNT]):
        number, size = reply[at], reply[at + 1]
        objects[number] = reply[at + 2 : at + 2 + size]
        at += 2 + size
    return objects, reply[5] if reply[4] == 0xFF else None
