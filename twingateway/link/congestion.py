"""How fast a link may send: a congestion controller that measures the path and does not read loss as congestion.

Strategy. Reno and CUBIC take every lost packet for a full queue and halve; on a radio link that loses 20 % at random
they collapse. This controller keeps a model of the path instead, in the manner of BBR:

- **bandwidth**: the greatest rate of delivery that acknowledgements proved lately (`delivery`);
- **round trip**: the path's own, and whether a queue stands in it (`round_trip`); where it was not confirmed for
  long, the window is made least for a moment to see it;
- **random loss**: what is lost whatever we do (`random_loss`), among packets that left in the low phases below, or
  while the application had little to send and no queue stood. Sending is raised by 1/(1 - loss) to make up for it;
  loss caused by sending too fast vanishes in the low phases and is therefore never compensated;
- **share**: what may be in flight while others fill the queue as well (`share`).

The window is gain × bandwidth × round trip, the pacing rate gain × bandwidth. Phases: *startup* doubles and
more each round trip until three rounds bring no quarter more, or one that saw a queue stand; *drain* removes
the queue that this left; then the *cycle* sends a quarter more for one round trip, a quarter less for the next
(which drains what the first queued and measures loss), and at the measured rate for six, of which one is another
low one if a queue stands. All bytes are those of IP packets, since small ones are a quarter headers.
The rule: nothing but a measured bandwidth, round trip or share changes the window; a loss by itself never does,
except that after an outage the first round trip starts from the initial window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum

from aioquic.quic.congestion.base import K_INITIAL_WINDOW, QuicCongestionControl, register_congestion_control
from aioquic.quic.packet_builder import QuicSentPacket

from twingateway.link.delivery import Delivery, Departure
from twingateway.link.queueing import STANDS, TIGHT, is_queued
from twingateway.link.random_loss import RandomLoss
from twingateway.link.round_trip import RoundTrip
from twingateway.link.share import Share

#: The name under which aioquic knows this controller.
ALGORITHM = "twingateway-bandwidth"

STARTUP_GAIN = 2.885
WINDOW_GAIN = 2.0
LOW_GAIN = 0.75
CYCLE = (1.25, LOW_GAIN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
CRUISE = 2

#: The step of the cycle that is another low one while a queue stands.
RELIEF = 5

#: The window never falls below this many packets, and is this many packets larger than the model says, for peers that
#: delay or lose acknowledgements.
MINIMUM_PACKETS = 4
SPARE_PACKETS = 3

#: Bytes of the IPv4 and UDP headers around each packet.
HEADERS = 28


class Phase(Enum):
    STARTUP = "startup"
    DRAIN = "drain"
    CYCLE = "cycle"


class BandwidthControl(QuicCongestionControl):
    """The phases, and the window that follows from them and the model."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.packets_lost = 0
        self.phase = Phase.STARTUP
        self._packet = max_datagram_size
        self._initial_window = K_INITIAL_WINDOW * max_datagram_size
        self._departures: dict[int, Departure] = {}
        self._delivery = Delivery()
        self._round_trip = RoundTrip()
        self._loss = RandomLoss()
        self._share = Share(max_datagram_size + HEADERS)
        self._queue_stands = self._queues = False
        # the phases
        self._full_rate = 0.0
        self._full_rounds = 0
        self._step = CRUISE
        self._step_time = 0.0
        self._relief = False
        self._careful = False

    @property
    def bandwidth(self) -> float:
        """Bytes per second that the path has been seen to deliver; 0 while unknown."""
        return self._delivery.bandwidth

    @property
    def delivered(self) -> int:
        """Bytes acknowledged so far."""
        return self._delivery.delivered

    @property
    def queues(self) -> bool:
        """Whether even the quickest packets of the last round trip had waited, if only for little."""
        return self._queues

    @property
    def random_loss(self) -> float:
        """Share of packets that the path loses whatever we do."""
        return self._loss.share

    def pacing_rate(self, smoothed_rtt: float) -> float:
        """Bytes per second at which to send now."""
        if self.phase is Phase.STARTUP:
            return STARTUP_GAIN * max(self._initial_window / max(smoothed_rtt, 0.001), self._sending_rate())
        gain = 1 / STARTUP_GAIN if self.phase is Phase.DRAIN else self._cycle_gain()
        return max(gain * (self.bandwidth if gain < 1 else self._sending_rate()), self._packet / 1.0)

    def application_limited(self) -> None:
        """Everything there was to send has been sent: what is in flight proves no upper bound, unless it queues."""
        if not self._queue_stands:
            self._delivery.limited(self.bytes_in_flight)

    # --- what aioquic tells ---------------------------------------------------------------------------------------

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        assert packet.sent_time is not None
        if self.bytes_in_flight == 0:
            self._delivery.restarts(packet.sent_time)
        self._departures[packet.packet_number] = self._delivery.departs(low=self._is_low())
        self.bytes_in_flight += packet.sent_bytes + HEADERS

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        assert packet.sent_time is not None
        self._share.acked(packet.sent_time, self.bytes_in_flight)
        size = packet.sent_bytes + HEADERS
        self.bytes_in_flight -= size
        departure = self._departures.pop(packet.packet_number)
        new_round = self._delivery.arrived(now, packet.sent_time, size, departure)
        self._count_low(departure, lost=False)
        if new_round:
            self._careful = False
            self._look_for_queue(now)
        self._delivery.sample(now, packet.sent_time, departure)
        self._advance(now, new_round and (self._queue_stands or not departure.application_limited))
        self._set_window()

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes + HEADERS
            self._departures.pop(packet.packet_number, None)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes + HEADERS
            self.packets_lost += 1
            self._share.lost(packet.sent_time or 0.0)
            departure = self._departures.pop(packet.packet_number, None)
            if departure is not None:
                self._count_low(departure, lost=True)

    def on_persistent_congestion(self) -> None:
        self._careful = True
        self._set_window()

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        self._round_trip.sample(now, rtt)

    # --- the model ------------------------------------------------------------------------------------------------

    def _look_for_queue(self, now: float) -> None:
        """A round is over: see whether even its shortest round trip had waited."""
        shortest, own = self._round_trip.round_over(), self._round_trip.shortest
        self._queue_stands = shortest is not None and is_queued(shortest, own, STANDS)
        self._queues = shortest is not None and is_queued(shortest, own, TIGHT)
        if shortest is not None:
            self._share.round_over(now, shortest, self.random_loss)

    def _count_low(self, departure: Departure, *, lost: bool) -> None:
        if departure.low and self._share.limit == math.inf:
            self._loss.count(lost=lost)

    def _sending_rate(self) -> float:
        """What must be sent for `bandwidth` to arrive."""
        return self.bandwidth / (1 - self.random_loss)

    def _in_path(self) -> float:
        """Bytes that fill the path without a queue."""
        known = self.bandwidth and math.isfinite(self._round_trip.shortest)
        return self._sending_rate() * self._round_trip.shortest if known else 0.0

    def _is_low(self) -> bool:
        """Whether what leaves now leaves more slowly than the path can carry."""
        if self.phase is Phase.CYCLE:
            return self._cycle_gain() < 1 or (self._delivery.application_limited and not self._queue_stands)
        return self.phase is Phase.DRAIN

    def _cycle_gain(self) -> float:
        return LOW_GAIN if self._step == RELIEF and self._relief else CYCLE[self._step]

    # --- the phases and the window --------------------------------------------------------------------------------

    def _advance(self, now: float, full_round: bool) -> None:
        """Move on to the next phase where the present one is done; `full_round`: a round trip with enough to send, as
        a standing queue proves too."""
        if self.phase is Phase.STARTUP:
            if full_round:
                self._look_for_plateau()
        elif self.phase is Phase.DRAIN:
            if self.bytes_in_flight <= self._in_path():
                self.phase, self._step, self._step_time = Phase.CYCLE, CRUISE, now
        elif now - self._step_time > self._round_trip.shortest:
            self._step = (self._step + 1) % len(CYCLE)
            self._step_time = now
            self._relief = self._queue_stands

    def _look_for_plateau(self) -> None:
        if self.bandwidth >= 1.25 * self._full_rate:
            self._full_rate, self._full_rounds = self.bandwidth, 0
            return
        self._full_rounds += 1
        if self._queue_stands or self._full_rounds >= 3:
            self.phase = Phase.DRAIN

    def _set_window(self) -> None:
        spare = SPARE_PACKETS * self._packet
        if self._round_trip.emptying:
            self.congestion_window = MINIMUM_PACKETS * self._packet
            return
        if self.phase is Phase.STARTUP:
            wanted = max(self.congestion_window, int(STARTUP_GAIN * self._in_path()) + spare, self._initial_window)
        else:
            model = min(WINDOW_GAIN * self._in_path() + spare, self._share.limit)
            wanted = max(int(model), MINIMUM_PACKETS * self._packet)
        self.congestion_window = min(wanted, self._initial_window) if self._careful else wanted


register_congestion_control(ALGORITHM, BandwidthControl)
