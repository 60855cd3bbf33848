"""Whether bytes that came back are the reply to a request. Pure.

Rule: every field is held against the request before anything decodes it: transaction, protocol, unit, function,
length, and for writes what they wrote to. A Modbus/TCP frame is transaction, protocol (0), length (2 bytes each),
unit, function, data.
"""

from __future__ import annotations

from collections.abc import Callable

HEADER = 7
_EXCEPTION = 0x80
_LONGEST = 254
#: The PDU of every good reply to a write.
_WRITTEN = 5


def _bits(pdu: bytes) -> bytes:
    count = int.from_bytes(pdu[3:5], "big")
    return bytes([pdu[0], (count + 7) // 8])


def _registers(pdu: bytes) -> bytes:
    count = int.from_bytes(pdu[3:5], "big")
    return bytes([pdu[0], 2 * count])


def _address(pdu: bytes) -> bytes:
    """A device that clamps may echo what it holds instead of what was sent; reading back tells."""
    return pdu[:3]


def _address_and_count(pdu: bytes) -> bytes:
    return pdu[:5]


#: Function code → from the request's PDU, the bytes with which a good reply's PDU begins.
_BEGINNINGS: dict[int, Callable[[bytes], bytes]] = {
    1: _bits,
    2: _bits,
    3: _registers,
    4: _registers,
    5: _address,
    6: _address,
    15: _address_and_count,
    16: _address_and_count,
}
_READS = frozenset({1, 2, 3, 4})


def fault(request: bytes, reply: bytes) -> str:
    """What is wrong with the bytes received so far, empty while they can still be, or are, the reply."""
    return _header_fault(request, reply) or _body_fault(request, reply)


def _header_fault(request: bytes, reply: bytes) -> str:
    if len(reply) < HEADER:
        return ""
    transaction, protocol = int.from_bytes(reply[:2], "big"), int.from_bytes(reply[2:4], "big")
    if protocol != 0:
        return f"protocol identifier {protocol} instead of 0"
    if reply[:2] != request[:2]:
        return f"transaction {transaction} instead of {int.from_bytes(request[:2], 'big')}"
    if reply[6] != request[6]:
        return f"unit {reply[6]} instead of {request[6]}"
    length = int.from_bytes(reply[4:6], "big")
    if not 3 <= length <= _LONGEST:
        return f"a length of {length} bytes"
    return ""


def _body_fault(request: bytes, reply: bytes) -> str:
    asked, pdu = request[HEADER:], reply[HEADER:]
    if not pdu:
        return ""
    if pdu[0] == asked[0] | _EXCEPTION:
        expected = 2
    elif pdu[0] != asked[0]:
        return f"function {pdu[0]} instead of {asked[0]}"
    else:
        beginning = _BEGINNINGS[asked[0]](asked)
        if pdu[: len(beginning)] != beginning[: len(pdu)]:
            return _difference(asked[0], beginning, pdu)
        expected = 2 + beginning[1] if asked[0] in _READS else _WRITTEN
    length = int.from_bytes(reply[4:6], "big")
    if length != expected + 1:
        return f"a length of {length} bytes instead of {expected + 1}"
    if len(pdu) > expected:
        return f"{len(pdu) - expected} bytes behind the reply"
    return ""


def _difference(function: int, beginning: bytes, pdu: bytes) -> str:
    if function in _READS:
        return f"{pdu[1]} bytes of values instead of {beginning[1]}"
    return f"an echo of {pdu[1 : len(beginning)].hex(' ')} instead of {beginning[1:].hex(' ')}"
