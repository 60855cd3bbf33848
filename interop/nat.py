"""An address translator between the edge and the link: it gives flows other ports, and forgets them at will. Pure.

At first it changes nothing. `rebind` is what a translator does that restarts or has run out of patience: from then on
each flow of the edge's comes from another port, and what is sent to the former one is dropped. Addresses stay, so
only checksums of TCP and UDP change.
"""

from __future__ import annotations

import struct

_TCP, _UDP = 6, 17
#: Where the checksum stands in a TCP and in a UDP header.
_CHECKSUM = {_TCP: 16, _UDP: 6}
_LOWEST, _PORTS = 1024, 65_536 - 1024
#: How far ports move at each rebinding; no divisor of their number, so that it is long until one comes again.
_MOVE = 4099


class Nat:
    """For IPv4 packets of TCP and UDP, whole in one packet; others pass as they are."""

    def __init__(self) -> None:
        self._moved = 0
        self._flows: dict[tuple[int, int], int] = {}
        """(protocol, outer port) → the edge's port, of the flows that the edge has said something in."""

    def rebind(self) -> None:
        self._moved = (self._moved + _MOVE) % _PORTS
        self._flows.clear()

    def outgoing(self, packet: bytes) -> bytes:
        """What the edge sent, as the link carries it."""
        place = _ports_at(packet) if self._moved else None
        if place is None:
            return packet
        (inner,) = struct.unpack_from("!H", packet, place)
        outer = _LOWEST + (inner - _LOWEST + self._moved) % _PORTS if inner >= _LOWEST else inner
        self._flows[packet[9], outer] = inner
        return _with_port(packet, place, 0, outer)

    def incoming(self, packet: bytes) -> bytes | None:
        """What came over the link, as the edge gets it; None: nobody is known at that port."""
        place = _ports_at(packet) if self._moved else None
        if place is None:
            return packet
        (outer,) = struct.unpack_from("!H", packet, place + 2)
        inner = self._flows.get((packet[9], outer))
        return None if inner is None else _with_port(packet, place, 2, inner)


def _ports_at(packet: bytes) -> int | None:
    """Where the ports stand; None if this has none."""
    place = (packet[0] & 0x0F) * 4
    first_fragment = not int.from_bytes(packet[6:8], "big") & 0x1FFF
    return place if packet[9] in _CHECKSUM and first_fragment and len(packet) >= place + 8 else None


def _with_port(packet: bytes, place: int, offset: int, port: int) -> bytes:
    changed = bytearray(packet)
    (former,) = struct.unpack_from("!H", changed, place + offset)
    struct.pack_into("!H", changed, place + offset, port)
    at = place + _CHECKSUM[packet[9]]
    (checksum,) = struct.unpack_from("!H", changed, at)
    if checksum or packet[9] == _TCP:  # a UDP packet may do without
        struct.pack_into("!H", changed, at, _updated(checksum, former, port) or 0xFFFF)
    return bytes(changed)


def _updated(checksum: int, former: int, now: int) -> int:
    """RFC 1624, equation 3."""
    total = (~checksum & 0xFFFF) + (~former & 0xFFFF) + now
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
