"""Requests found in what a client sends, in each framing. Pure.

A server does not know how long an RTU request is until it has read its function; bytes that cannot be a request are
thrown away until one fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from twingateway_modbus.address import FramingName
from twingateway_modbus.framing import HEADER, crc16, lrc
from twingateway_modbus.request import ENCAPSULATED, MASK_WRITE, READ_WRITE


class Asked(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes


#: Function → the length of its request, or the place of the byte that counts those after it.
_LENGTHS = {**dict.fromkeys(range(1, 7), 5), MASK_WRITE: 7, ENCAPSULATED: 4}
_COUNTED = {15: 5, 16: 5, READ_WRITE: 9}
_LONGEST = 256


class Inbox:
    """Of one connection."""

    def __init__(self, framing: FramingName) -> None:
        self._framing = framing
        self._data = bytearray()

    def take(self, data: bytes) -> Iterator[Asked]:
        """The requests that are complete with `data`."""
        self._data += data
        find = {FramingName.TCP: self._tcp, FramingName.RTU: self._rtu, FramingName.ASCII: self._ascii}[self._framing]
        while (found := find()) is not None:
            yield found

    def _tcp(self) -> Asked | None:
        data = self._data
        if len(data) < HEADER:
            return None
        end = 6 + int.from_bytes(data[4:6], "big")
        if len(data) < end:
            return None
        asked = Asked(int.from_bytes(data[:2], "big"), data[6], bytes(data[HEADER:end]))
        del data[:end]
        return asked

    def _rtu(self) -> Asked | None:
        while len(self._data) >= 2:
            size = _rtu_length(self._data[1:])
            if size is None and len(self._data) < _LONGEST:
                return None
            end = 0 if size is None else 1 + size + 2
            if end and len(self._data) < end:
                return None
            frame = bytes(self._data[:end])
            if end and crc16(frame[:-2]) == frame[-2:]:
                del self._data[:end]
                return Asked(0, frame[0], frame[1:-2])
            del self._data[0]
        return None

    def _ascii(self) -> Asked | None:
        while b"\r\n" in self._data:
            line, _, rest = bytes(self._data).partition(b"\r\n")
            self._data[:] = rest
            try:
                body = bytes.fromhex(line[line.rindex(b":") + 1 :].decode("ascii"))
            except ValueError:
                continue
            if len(body) > 2 and lrc(body[:-1]) == body[-1:]:
                return Asked(0, body[0], body[1:-1])
        return None


def _rtu_length(pdu: bytearray) -> int | None:
    """Of the request that begins with `pdu`; 0 if there is none like it, None if it takes more to tell."""
    function = pdu[0]
    if function in _LENGTHS:
        return _LENGTHS[function]
    if function not in _COUNTED:
        return 0
    place = _COUNTED[function]
    return None if len(pdu) <= place else place + 1 + pdu[place]
