"""How a PDU travels: Modbus/TCP (also TLS and UDP), RTU and ASCII. Pure.

pymodbus builds the frames and their check sums. What comes back is judged here, byte by byte, because pymodbus takes
replies with a wrong function code or register count.

Rule: `find` is given all that was received since the request and answers with the reply's PDU, with None while it may
still come, or raises ReplyFault. Nothing is skipped, save what this side knows of: the echo of its own bytes on a
two-wire line, and late replies to transactions that were given up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from twingateway_modbus.address import FramingName
from twingateway_modbus.reply import LONGEST, ReplyFault, length_of

HEADER = 7

_DECODER = DecodePDU(is_server=False)
_SOCKET, _RTU, _ASCII = FramerSocket(_DECODER), FramerRTU(_DECODER), FramerAscii(_DECODER)


def crc16(data: bytes) -> bytes:
    """RTU's check sum, two bytes."""
    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


def lrc(data: bytes) -> bytes:
    """ASCII's check sum, one byte."""
    return bytes([FramerAscii.compute_LRC(data)])


@dataclass(frozen=True, slots=True)
class Sent:
    """A request on its way. `late`: transactions whose replies may still come."""

    unit: int
    pdu: bytes
    frame: bytes
    late: Collection[int] = field(default_factory=frozenset)


class Framing(Protocol):
    """`keeps_apart`: replies say which request they belong to, so that a late one does no harm."""

    keeps_apart: bool

    def size(self, pdu: int) -> int:
        """Bytes of the frame around a PDU of so many."""
        ...

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes: ...

    def find(self, sent: Sent, received: bytes) -> bytes | None: ...


class TcpFraming:
    """Transaction, protocol (0) and length in two bytes each, unit, PDU."""

    keeps_apart = True

    def size(self, pdu: int) -> int:
        return HEADER + pdu

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        return _SOCKET.encode(pdu, unit, transaction)

    def find(self, sent: Sent, received: bytes) -> bytes | None:
        received = _without_late(sent, received)
        if len(received) < HEADER:
            return None
        length = _checked_header(sent, received)
        pdu = received[HEADER:]
        expected = length_of(sent.pdu, pdu)
        if expected is None:
            return None
        if length != expected + 1:
            raise ReplyFault(f"a length of {length} bytes instead of {expected + 1}")
        return _complete(pdu, expected, expected)


def _without_late(sent: Sent, received: bytes) -> bytes:
    while len(received) >= HEADER and received[2:4] == b"\0\0":
        if int.from_bytes(received[:2], "big") not in sent.late:
            break
        end = 6 + int.from_bytes(received[4:6], "big")
        if len(received) < end:
            return b""
        received = received[end:]
    return received


def _checked_header(sent: Sent, received: bytes) -> int:
    if received[2:4] != b"\0\0":
        raise ReplyFault(f"protocol identifier {int.from_bytes(received[2:4], 'big')} instead of 0")
    if received[:2] != sent.frame[:2]:
        got, asked = int.from_bytes(received[:2], "big"), int.from_bytes(sent.frame[:2], "big")
        raise ReplyFault(f"transaction {got} instead of {asked}")
    if received[6] != sent.unit:
        raise ReplyFault(f"unit {received[6]} instead of {sent.unit}")
    length = int.from_bytes(received[4:6], "big")
    if not 3 <= length <= LONGEST + 1:
        raise ReplyFault(f"a length of {length} bytes")
    return length


def _complete(data: bytes, used: int, size: int) -> bytes | None:
    """The first `size` bytes once all `used` are there; more than that is a fault."""
    if len(data) < used:
        return None
    if len(data) > used:
        raise ReplyFault(f"{len(data) - used} bytes behind the reply")
    return data[:size]


@dataclass(frozen=True, slots=True)
class RtuFraming:
    """Unit, PDU, CRC. `echo`: the line returns what is sent before the reply."""

    echo: bool = False
    keeps_apart = False

    def size(self, pdu: int) -> int:
        return pdu + 3

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        return _RTU.encode(pdu, unit, transaction)

    def find(self, sent: Sent, received: bytes) -> bytes | None:
        own = _without_echo(sent, received) if self.echo else received
        if not own:
            return None
        if own[0] != sent.unit:
            raise ReplyFault(f"unit {own[0]} instead of {sent.unit}")
        expected = length_of(sent.pdu, own[1:])
        if expected is None:
            return None
        body = _complete(own, expected + 3, expected + 1)
        if body is None:
            return None
        if crc16(body) != own[-2:]:
            raise ReplyFault("a wrong check sum")
        return body[1:]


def _without_echo(sent: Sent, received: bytes) -> bytes:
    if received[: len(sent.frame)] != sent.frame[: len(received)]:
        raise ReplyFault("no echo of the request, which this line should give")
    return received[len(sent.frame) :]


@dataclass(frozen=True, slots=True)
class AsciiFraming:
    """A colon, unit, PDU and LRC in hexadecimal, CR LF."""

    echo: bool = False
    keeps_apart = False

    def size(self, pdu: int) -> int:
        return 2 * pdu + 7

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        return _ASCII.encode(pdu, unit, transaction)

    def find(self, sent: Sent, received: bytes) -> bytes | None:
        own = _without_echo(sent, received) if self.echo else received
        if own and own[:1] != b":":
            raise ReplyFault("something else than a colon at the beginning")
        line, end, rest = own.partition(b"\r\n")
        if not end:
            if len(own) > 2 * LONGEST + 7:
                raise ReplyFault("a line without end")
            return None
        if rest:
            raise ReplyFault(f"{len(rest)} bytes behind the reply")
        try:
            data = bytes.fromhex(line[1:].decode("ascii"))
        except ValueError:
            raise ReplyFault("something else than hexadecimal digits") from None
        if len(data) < 3 or lrc(data[:-1]) != data[-1:]:
            raise ReplyFault("a wrong check sum")
        return _ascii_pdu(sent, data)


def _ascii_pdu(sent: Sent, data: bytes) -> bytes:
    if data[0] != sent.unit:
        raise ReplyFault(f"unit {data[0]} instead of {sent.unit}")
    pdu = data[1:-1]
    expected = length_of(sent.pdu, pdu)
    if expected != len(pdu):
        raise ReplyFault(f"a length of {len(pdu)} bytes instead of {expected or 'more'}")
    return pdu


def make_framing(name: FramingName, *, echo: bool = False) -> Framing:
    if name is FramingName.TCP:
        return TcpFraming()
    return RtuFraming(echo) if name is FramingName.RTU else AsciiFraming(echo)
