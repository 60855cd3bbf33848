"""What may pass before a handshake is complete (0-RTT), where both ends ask for it: datagrams and nothing else.

Whoever recorded a first flight can send it again, from any address; so what it carries must do no harm the second
time, and little can be said in it. The rules:

- The server takes early datagrams only on a ticket that was given to a peer that then proved who it is, once for
  each ticket, and after its owner has judged that peer again (`gate`). They are passed on as such, up to a number.
  A frame about a stream in early data ends the connection.
- The client builds early datagrams anew each time its first packet leaves, until the server answers; they wait for
  nothing. The first of them takes the room that would be padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aioquic._buffer import Buffer
from aioquic.buffer import size_uint_var
from aioquic.quic.connection import (
    MAX_EARLY_DATA,
    NetworkAddress,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import QuicEvent
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.stream import QuicStream
from aioquic.tls import CipherSuite, Direction, Epoch

from twingateway.link.limits import LimitedConnection
from twingateway.ports.link import EarlyTaker

#: Datagrams of the first flight, and the most that a server takes on one connection (a first packet that is sent
#: again brings another one).
FLIGHT = 4
MOST = 16

#: Bytes of a long packet header with connection ids of eight bytes (without an Initial's token), of the tag behind a
#: packet, and of a CRYPTO frame's head.
_LONG_HEADER, _TAG, _CRYPTO_HEAD = 27, 16, 4

#: Less room than this beside the first packet is left to padding.
_LEAST_ROOM = 128

#: (room of each datagram, now) → datagrams, at most one for each room.
EarlySource = Callable[[Sequence[int], float], Sequence[bytes]]


@dataclass
class EarlyDatagram(QuicEvent):
    """A datagram that came ahead of the handshake, from a peer that the gate let in."""

    data: bytes


class EarlyConnection(LimitedConnection):
    """Set `early_source` (client) before `connect`, `offers_early` and `early_gate` (server) before the first packet
    is received, where there is to be early data."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.early_source: EarlySource | None = None
        self.offers_early = False
        self.early_gate: Callable[[], EarlyTaker | None] | None = None
        self.early_taker: EarlyTaker | None = None
        self._early_flights = 0
        self._early_taken = 0
        self._in_early = False

    # --- the client ------------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        early = self._early_flight(now)
        for data in early:
            self.send_datagram_frame(data)
        sent = super().datagrams_to_send(now)
        while early and self._datagrams_pending and (more := super().datagrams_to_send(now)):
            sent += more
        if early:
            self._datagrams_pending.clear()
        return sent

    def _early_flight(self, now: float) -> Sequence[bytes]:
        """What to send along with the first packet, if that is about to leave."""
        if self.early_source is None or self._state is not QuicConnectionState.FIRSTFLIGHT:
            return ()
        hello = self._crypto_streams[Epoch.INITIAL].sender
        if hello.buffer_is_empty or not self._cryptos[Epoch.ZERO_RTT].send.is_valid():
            return ()
        packet = self._max_datagram_size - _LONG_HEADER - _TAG
        token = size_uint_var(len(self._peer_token)) + len(self._peer_token)
        beside = packet - _LONG_HEADER - token - _TAG - _CRYPTO_HEAD - len(hello._buffer)
        rooms = [datagram_payload(beside)] if beside >= _LEAST_ROOM else []
        if not self._early_flights:
            rooms += [datagram_payload(packet)] * (FLIGHT - len(rooms))
        self._early_flights += 1
        return self.early_source(rooms, now)

    # --- the server ------------------------------------------------------------------------------------------------

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._max_early_data = MAX_EARLY_DATA if self.offers_early else None

    def _update_traffic_key(
        self, direction: Direction, epoch: Epoch, cipher_suite: CipherSuite, secret: bytes
    ) -> None:
        if epoch is Epoch.ZERO_RTT and not self._lets_early(direction):
            self.tls.early_data_accepted = False
            return
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    def _lets_early(self, direction: Direction) -> bool:
        if direction is Direction.ENCRYPT:
            return self.early_source is not None
        if self.offers_early and self.early_gate is not None:
            self.early_taker = self.early_gate()
        return self.early_taker is not None

    def _payload_received(self, context: QuicReceiveContext, *arguments: Any, **options: Any) -> tuple[bool, bool]:
        self._in_early = context.epoch is Epoch.ZERO_RTT
        return super()._payload_received(context, *arguments, **options)

    def _handle_datagram_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_datagram_frame(context, frame_type, buf)
        if self._in_early:
            event = self._events.pop()
            if self._early_taken < MOST:
                self._early_taken += 1
                self._events.append(EarlyDatagram(event.data))  # type: ignore[attr-defined]

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        if self._in_early:
            raise QuicConnectionError(
                error_code=QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type=QuicFrameType.STREAM_BASE,
                reason_phrase="early data is for datagrams only",
            )
        return super()._get_or_create_stream(frame_type, stream_id)


def datagram_payload(frame: int) -> int:
    """Largest payload of a DATAGRAM frame with length that takes at most `frame` bytes."""
    payload = frame - 2
    while payload > 0 and 1 + size_uint_var(payload) + payload > frame:
        payload -= 1
    return max(payload, 0)
