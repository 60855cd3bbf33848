"""The client's first packet, and when it is sent again: whoever repeats it often is soon let in after an outage.

QUIC's own rule (RFC 9002 §6.2) doubles the pause without limit. Here it goes at 0, 0.25, 0.75 and then every second;
while `knocking` says so, as often as that says: the packet is 1,200 bytes, so this is what an outage costs. Once
anything has come from the server, QUIC's own rules hold.

What was sent before stays known, so that the first answer tells the round trip whichever packet it answers, but it
counts neither as being in flight nor as lost: of a server that does not answer, nothing follows about the path.
"""

from __future__ import annotations

import math
from typing import Any

from aioquic.quic.connection import NetworkAddress, QuicConnectionState
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

from twingateway.link.early import EarlyConnection
from twingateway.ports.link import Knocking

#: Pauses before the first packet is sent again, in seconds; the last one goes on.
PAUSES = (0.25, 0.5, 1.0)

#: What the round trip is taken for before one was measured, in seconds: half of QUIC's first probe time-out.
INITIAL_ROUND_TRIP = PAUSES[0] / 2

#: Seconds for which an unanswered first packet stays known.
KNOWN_FOR = 2.0


class KnockingConnection(EarlyConnection):
    """Set `knocking` (client) before `connect`, where the parent is to be asked more often."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.knocking: Knocking | None = None
        self._knocks = 0
        self._knocked_at = math.inf

    def connect(self, addr: NetworkAddress, now: float) -> None:
        super().connect(addr, now)
        self._knocked_at = now

    def get_timer(self) -> float | None:
        at = super().get_timer()
        if not self._is_knocking:
            return at
        self._loss_at = None
        return min(self._close_at or math.inf, self._next_knock())

    def handle_timer(self, now: float) -> None:
        if self._is_knocking and self._next_knock() <= now < (self._close_at or math.inf):
            self._knock(now)
        super().handle_timer(now)

    @property
    def _is_knocking(self) -> bool:
        return self._is_client and self._state is QuicConnectionState.FIRSTFLIGHT and math.isfinite(self._knocked_at)

    def _next_knock(self) -> float:
        pause = PAUSES[min(self._knocks, len(PAUSES) - 1)]
        wanted = self._knocked_at + pause
        often = self.knocking
        if often is None:
            return wanted
        eager = max(self._knocked_at + often.every, often.begin)
        return min(wanted, eager) if eager < often.end else wanted

    def _knock(self, now: float) -> None:
        self._knocks += 1
        self._knocked_at = now
        space = self._spaces[Epoch.INITIAL]
        for number, packet in list(space.sent_packets.items()):
            if packet.in_flight:
                self._loss._cc.on_packets_expired(packets=[packet])
                packet.in_flight = False
                packet.delivery_handlers.clear()
            if packet.sent_time is not None and packet.sent_time < now - KNOWN_FOR:
                del space.sent_packets[number]
                space.ack_eliciting_in_flight -= packet.is_ack_eliciting
        sender = self._crypto_streams[Epoch.INITIAL].sender
        sender.on_data_delivery(QuicDeliveryState.LOST, sender._buffer_start, sender._buffer_stop, False)
        self._probe_pending = True
