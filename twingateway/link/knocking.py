"""The client's first packet, and when it is sent again: whoever repeats it often is soon let in after an outage.

QUIC's own rule (RFC 9002 §6.2) doubles the pause without limit. Here it goes at 0, 0.25, 0.75 and then every second;
while `knocking` says so, as often as that says: the packet is 1,200 bytes, so this is what an outage costs. After
that time a server which answers small packets (`doorbell`) is sent one of those twice a second instead, or often
where the network has just changed, and the first packet when it has answered. That also goes once a minute unasked:
another server may be there now, which answers none. Once anything else has come from it, QUIC's own rules hold.

What was sent before stays known, so that the first answer tells the round trip whichever packet it answers, but it
counts neither as being in flight nor as lost: of a server that does not answer, nothing follows about the path.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

from aioquic.quic.connection import NetworkAddress, QuicConnectionState
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

from twingateway.link import doorbell
from twingateway.link.early import EarlyConnection
from twingateway.ports.link import Knocking

#: Pauses before the first packet is sent again, in seconds; the last one goes on.
PAUSES = (0.25, 0.5, 1.0)

#: Seconds between rings, and between first packets that are sent meanwhile though no ring was answered.
RING_EVERY, UNASKED_EVERY = 0.5, 60.0

#: How long the first packet is sent often once a ring was answered, in seconds.
AFTER_ANSWER = 1.0

#: What the round trip is taken for before one was measured, in seconds: half of QUIC's first probe time-out.
INITIAL_ROUND_TRIP = PAUSES[0] / 2

#: Seconds for which an unanswered first packet stays known.
KNOWN_FOR = 2.0


class KnockingConnection(EarlyConnection):
    """Set `knocking` (client) before `connect`, where the parent is to be asked more often, and `unasked_at`: from
    when on a first packet may go where a ring would.

    `heard`: whether anything but answers to rings has come.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.knocking: Knocking | None = None
        self.unasked_at = -math.inf
        self.heard = False
        self._bell = os.urandom(doorbell.NUMBER_SIZE)
        self._rings = False
        """Whether the last knock was a ring, so that the first packet is kept back."""
        self._ring_due = False
        self._knocks = 0
        self._knocked_at = math.inf

    def connect(self, addr: NetworkAddress, now: float) -> None:
        super().connect(addr, now)
        self._begin_knock(now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        if not self._rings or not self._is_knocking or self._close_pending:
            return super().datagrams_to_send(now)
        due, self._ring_due = self._ring_due, False
        return [(doorbell.ring(self._bell), self._network_paths[0].addr)] if due else []

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        if self._is_knocking and doorbell.answers(data, self._bell):
            self._on_answer(now)
            return
        self.heard = True
        super().receive_datagram(data, addr, now)

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
        often = self.knocking
        if often is not None and self._is_rung(self._knocked_at):
            return self._knocked_at + (often.every if self._knocked_at < often.hurried else RING_EVERY)
        wanted = self._knocked_at + PAUSES[min(self._knocks, len(PAUSES) - 1)]
        if often is None:
            return wanted
        eager = max(self._knocked_at + often.every, often.begin)
        return min(wanted, eager) if eager < often.end else wanted

    def _is_rung(self, at: float) -> bool:
        """Whether the time of asking often is over, and rings are answered."""
        return self.knocking is not None and self.knocking.rings and at >= self.knocking.end

    def _begin_knock(self, now: float) -> None:
        self._knocked_at = now
        self._rings = self._ring_due = self._is_rung(now) and now < self.unasked_at
        if not self._rings:
            self.unasked_at = now + UNASKED_EVERY

    def _on_answer(self, now: float) -> None:
        """The server can be reached, so the first packet goes, and for a moment often."""
        if self._rings and self.knocking is not None:
            self.knocking = replace(self.knocking, begin=now, end=now + AFTER_ANSWER)
            self._knocks = 0
            self._knock(now)

    def _knock(self, now: float) -> None:
        self._knocks += 1
        self._begin_knock(now)
        if self._rings:
            return
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
