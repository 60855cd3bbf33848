"""The QUIC connection under a link: it asks for datagrams when it can send them, and probes through silence.

The pull rule. aioquic queues datagrams without bound and sends them in order, so what was queued into an outage
is sent after it, stale. Here nothing is queued ahead: while the queue is empty and window and pacing let a
packet go, `pull` is asked for one datagram of at most the room there is; it leaves in the next packet, before
stream data. One whose packet turned out to be full of acknowledgements stays for the packet after it; so at
most one ever waits. aioquic lets an acknowledgement that is due go whatever pacing says, and fills its packet
with stream data, which would pass the datagrams that pacing holds back: here it goes alone then. It costs
nothing (RFC 9002, section 7.7): who acknowledges much and says little could not say it otherwise.

The silence rule, a stated deviation from RFC 9002. Packets lost in an outage fill the window until
acknowledgements return, and the probe time-out doubles without limit: 2 to 4 s of silence after a 30 s outage.
So while nothing has been heard for a probe time-out and the window is full, one small datagram may leave every
50 ms beyond the window, and the doubling stops at one second. At 130 bytes a packet that is at most 21 kbit/s,
and it ends with the first answer.

How the first packet is repeated stands in `knocking`, what may pass before the handshake is complete in `early`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from aioquic.buffer import size_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, NetworkAddress, QuicNetworkPath
from aioquic.quic.packet_builder import PACKET_NUMBER_SEND_SIZE, QuicPacketBuilder
from aioquic.tls import Epoch

from twingateway.link.congestion import ALGORITHM, BandwidthControl
from twingateway.link.early import datagram_payload
from twingateway.link.knocking import INITIAL_ROUND_TRIP, KnockingConnection
from twingateway.link.limits import CONNECTION_WINDOW, STREAM_WINDOW
from twingateway.link.pacer import BandwidthPacer
from twingateway.link.server_identity import ALPN
from twingateway.link.spare_room import SpareRoom

#: Seconds after which a link that hears nothing is given up.
IDLE_TIMEOUT = 60.0

#: The largest UDP payload we send: what every IPv6 path, and nearly every IPv4 path, carries whole.
PACKET_SIZE = 1200

#: The largest DATAGRAM frame that we accept (RFC 9221 §3 recommends the maximum).
DATAGRAM_FRAME_LIMIT = 65_535

#: No datagram is asked for when less than this is left of the window; in silence, this much may leave beyond it: the
#: least that the state lane makes a frame in (its probes take up to 100 bytes), and what wraps that.
LEAST_ROOM = 256
PROBE_ROOM = 160
PROBE_INTERVAL = 0.05

#: An acknowledgement waits for company for a share of the round trip, within these seconds. aioquic waits for a
#: millisecond only: where frames come every four, each would be answered by a packet of its own.
ACK_SHARE, ACK_SOONEST, ACK_LATEST = 0.2, 0.001, 0.02

#: Bounds the doubling of the probe time-out, in seconds.
LONGEST_PROBE_TIMEOUT = 1.0

_TAG_SIZE = 16

# What aioquic says there of a connection that failed, its link reports as an error, and who uses that tells it.
logging.getLogger("quic").setLevel(logging.CRITICAL)

Pull = Callable[[int, float], bytes | None]


def configuration(*, is_client: bool, idle_timeout: float = IDLE_TIMEOUT) -> QuicConfiguration:
    """What both ends of our links have in common."""
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        congestion_control_algorithm=ALGORITHM,
        initial_rtt=INITIAL_ROUND_TRIP,
        idle_timeout=idle_timeout,
        is_client=is_client,
        max_data=CONNECTION_WINDOW,
        max_datagram_frame_size=DATAGRAM_FRAME_LIMIT,
        max_datagram_size=PACKET_SIZE,
        max_stream_data=STREAM_WINDOW,
    )


def _nothing(room: int, now: float) -> bytes | None:
    del room, now
    return None


class PulledConnection(KnockingConnection):
    """A connection for `configuration(…)`. Set `pull` once datagrams may be sent: (room, now) → datagram or None."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        assert isinstance(self._loss._cc, BandwidthControl)
        self.control: BandwidthControl = self._loss._cc
        self._pacer = BandwidthPacer(self.control, max_datagram_size=self._max_datagram_size)
        self._loss._pacer = self._pacer
        self._probed_at = -math.inf
        self._probing = False
        self._spare_room = SpareRoom()
        self.pull: Pull = _nothing

    @property
    def datagram_room(self) -> int:
        """Largest datagram payload that a packet of ours, and the peer, can take; 0 if the peer takes none."""
        frame = self._max_datagram_size - self._packet_overhead()
        return datagram_payload(min(frame, self._remote_max_datagram_frame_size or 0))

    @property
    def peer_stream_limit(self) -> int:
        """Bidirectional streams that the peer lets us open, in all so far."""
        return self._remote_max_streams_bidi

    def is_unopened(self, stream: int) -> bool:
        """Whether this stream is the peer's to open, and we have not heard of it."""
        ours = (stream % 2 == 0) == self._is_client
        return not ours and stream not in self._streams and not self._stream_is_discarded(stream)

    @property
    def is_closing(self) -> bool:
        return self._close_event is not None or self._state in END_STATES

    def probe_at(self, now: float) -> float | None:
        """When the next datagram may leave beyond a window that silence keeps full; None if it is not so."""
        if not self._handshake_confirmed or self.is_closing or not self.datagram_room or not self._is_blocked():
            return None
        return max(self._silent_from(), self._probed_at + PROBE_INTERVAL, now)

    def is_roomy(self, now: float) -> bool:
        """Whether nothing had to wait for the path lately."""
        return self._spare_room.is_there(now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        sent: list[tuple[bytes, NetworkAddress]] = []
        emptied = False
        self._ack_delay = min(max(ACK_SHARE * self._loss._rtt_smoothed, ACK_SOONEST), ACK_LATEST)
        if self._datagrams_pending:
            self._take_probe(now)
        while room := self._room(now):
            data = self.pull(room, now)
            if data is None:
                emptied = True
                break
            self.send_datagram_frame(data)
            sent += self._send(now)
        sent += self._send(now)
        if emptied and self._free() >= self._max_datagram_size and not self._stream_data_waits():
            self.control.application_limited()
        return sent

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        doublings = math.log2(LONGEST_PROBE_TIMEOUT / self._loss.get_probe_timeout())
        self._loss._pto_count = min(self._loss._pto_count, max(0, math.floor(doublings)))

    # --- room -----------------------------------------------------------------------------------------------------

    def _packet_overhead(self) -> int:
        return 1 + len(self._peer_cid.cid) + PACKET_NUMBER_SEND_SIZE + _TAG_SIZE

    def _packet_size(self, payload: int) -> int:
        """Size of a packet with a datagram of this payload and nothing else."""
        return self._packet_overhead() + 1 + size_uint_var(payload) + payload

    def _free(self) -> int:
        return self._loss.congestion_window - self._loss.bytes_in_flight

    def _silent_from(self) -> float:
        """When silence begins if nothing more is heard: a probe time-out after the last packet of the peer's."""
        heard = self._spaces[Epoch.ONE_RTT].largest_received_time
        return (0.0 if heard is None else heard) + self._loss.get_probe_timeout()

    def _room(self, now: float) -> int:
        """Payload of a datagram that can leave in a packet right now; 0 for none."""
        if not self._handshake_complete or self.is_closing or self._datagrams_pending:
            return 0
        room = self._open_room(now)
        if room == 0 or self._is_blocked() or self.control.queues:
            self._spare_room.waited(now)
        return room

    def _open_room(self, now: float) -> int:
        """What window, pacing and probing let go."""
        largest = self.datagram_room
        if not self._is_blocked():
            open_now = self._pacer.next_send_time(now) is None
            return min(largest, datagram_payload(self._free() - self._packet_overhead())) if open_now else 0
        return min(largest, PROBE_ROOM) if self._take_probe(now) else 0

    def _is_blocked(self) -> bool:
        """Whether the window has no room for the datagram that waits, or for one that is worth asking for."""
        waiting = self._datagrams_pending
        size = len(waiting[0]) if waiting else min(LEAST_ROOM, self.datagram_room)
        return self._free() < self._packet_size(size)

    def _take_probe(self, now: float) -> bool:
        """Whether one datagram may leave now although the window is full."""
        at = self.probe_at(now)
        if at is None or at > now:
            return False
        self._probed_at = now
        self._probing = True
        return True

    def _stream_data_waits(self) -> bool:
        return any(not stream.sender.buffer_is_empty for stream in self._streams_queue)

    # --- sending --------------------------------------------------------------------------------------------------

    def _send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        before = self.control.bytes_in_flight
        sent = super().datagrams_to_send(now)
        self._probing = self._probing and bool(self._datagrams_pending)
        if self._handshake_confirmed:
            self._pacer.settle(self.control.bytes_in_flight - before)
        return sent

    def _write_application(self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float) -> None:
        if self._probing and self._datagrams_pending and builder.max_flight_bytes is not None:
            self._pacer.let_one_go()
            size = self._packet_size(len(self._datagrams_pending[0]))
            builder.max_flight_bytes = max(builder.max_flight_bytes, size)
        elif self._pacer.next_send_time(now) is not None:
            builder.max_flight_bytes = 0  # but for an acknowledgement that is due
        super()._write_application(builder, network_path, now)
