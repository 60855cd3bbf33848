"""The small packet by which a client asks whether its parent can be reached, while an outage lasts.

A first QUIC packet has 1,200 bytes, since a server answers no smaller one (RFC 9000 §14.1): two a second are 212 MB
a day. A ring has 12, and so has its answer. Neither can be taken for QUIC: the bit that each of its packets sets
(RFC 9000 §17) is not set, and the first byte is none of those that RFC 9443 gives to others.

A ring proves nothing and nothing is kept of it, so it may be answered whoever sends it: the answer is not longer, is
no ring itself, and all that it brings about is a first packet. That it repeats the client's own number makes it one
of somebody who saw the ring.
"""

from __future__ import annotations

RING, ANSWER = b"\x0ftg?", b"\x0ftg!"
#: Of the number that a client chooses, in bytes.
NUMBER_SIZE = 8


def ring(number: bytes) -> bytes:
    return RING + number


def answer_to(packet: bytes) -> bytes | None:
    """What to answer, None if this is no ring."""
    is_ring = len(packet) == len(RING) + NUMBER_SIZE and packet.startswith(RING)
    return ANSWER + packet[len(RING) :] if is_ring else None


def answers(packet: bytes, number: bytes) -> bool:
    """Whether this is the answer to the ring with that number."""
    return packet == ANSWER + number
