"""The QUIC streams of one connection: a packet reader for each, and what is held until the connection is open.

Stream 0 carries control packets. Between two of our nodes the client also opens stream 4, on which both sides write
state frames too big for a datagram. Every stream is a sequence of MQTT packets of its own, without any framing.
QUIC keeps no order between streams, so bytes of a data stream may arrive before the CONNECT or CONNACK they follow.
"""

from __future__ import annotations

from collections.abc import Iterator

from mqtt5 import Packet

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.reasons import ReasonCode

CONTROL_STREAM = 0
STATE_STREAM = 4
#: The stream of each of the journal's channels.
JOURNAL_STREAMS = tuple(range(8, 40, 4))

#: Bytes that a client may send behind CONNECT before CONNACK, and that a receiver holds until the connection is open.
EARLY_LIMIT = 256 * 1024

#: Neighbours on a stream are joined up to this size, so that on a link that is one stream others get their turn.
JOINED = 16 * 1024


class Streams:
    """Readers and outgoing bytes by stream id."""

    def __init__(self, max_packet: int) -> None:
        self._max_packet = max_packet
        self._readers: dict[int, PacketReader] = {}
        self._outgoing: list[tuple[int, bytes]] = []
        self._held: list[tuple[int, bytes | Packet]] = []
        self._room = EARLY_LIMIT

    def read(self, stream: int, data: bytes) -> Iterator[Packet]:
        """The packets that `data` completes on this stream. Raises ProtocolViolation."""
        reader = self._readers.get(stream)
        if reader is None:
            reader = self._readers[stream] = PacketReader(self._max_packet)
        return reader.read(data)

    def write(self, stream: int, data: bytes) -> None:
        self._outgoing.append((stream, data))

    def to_send(self) -> list[tuple[int, bytes]]:
        """(stream, whole packets) in the order written; neighbours on one stream are joined up to JOINED bytes."""
        if not self._outgoing:
            return []
        joined: list[tuple[int, bytearray]] = []
        for stream, data in self._outgoing:
            if not joined or joined[-1][0] != stream or len(joined[-1][1]) + len(data) > JOINED:
                joined.append((stream, bytearray()))
            joined[-1][1].extend(data)
        self._outgoing.clear()
        return [(stream, bytes(data)) for stream, data in joined]

    def hold(self, stream: int, early: bytes | Packet, size: int) -> None:
        """Keep bytes or a packet for `release`. Raises ProtocolViolation beyond EARLY_LIMIT bytes in all."""
        self._room -= size
        if self._room < 0:
            raise ProtocolViolation(
                f"more than {EARLY_LIMIT} bytes before the connection was accepted", ReasonCode.QUOTA_EXCEEDED
            )
        self._held.append((stream, early))

    @property
    def held(self) -> frozenset[int]:
        """The streams of what is kept for `release`."""
        return frozenset(stream for stream, _ in self._held)

    def release(self) -> list[tuple[int, bytes | Packet]]:
        """What was held, in order of arrival; nothing is kept."""
        held, self._held = self._held, []
        return held
