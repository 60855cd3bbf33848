"""How fast a link may send: a congestion controller that measures the path and does not read loss as congestion.

Strategy. Reno and CUBIC take every lost packet for a full queue and halve; on a radio link that loses 20 % at random
they collapse. This controller keeps a model of the path instead, in the manner of BBR:

- **bandwidth**: the delivery rate that each acknowledged packet proves (bytes acknowledged between its
  departure and its acknowledgement, over the longer of the sending and the acknowledging interval); the maximum
  over ten round trips. A sample taken while the application had nothing to send may raise the maximum, never
  age or lower it.
- **round trip**: the shortest that was confirmed in the last ten seconds; if none was, the window is made least
  for a moment to see it again.
- **standing queue**: a round trip's worth of samples of which even the shortest has waited.
- **random loss**: the share lost among packets that left *while we sent more slowly than the path can carry*
  (the low phases below, or an application with little to send and no queue standing). Such loss cannot be our
  own doing, so sending is raised by 1/(1 - loss) to make up for it; loss caused by sending too fast vanishes in
  the low phases and is therefore never compensated.
- **share**: what may be in flight while others fill the queue as well (see `share`).

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
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from aioquic.quic.congestion.base import K_INITIAL_WINDOW, QuicCongestionControl, register_congestion_control
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer

from twingateway.link.share import Share, queue_stands

#: The name under which aioquic knows this controller.
ALGORITHM = "twingateway-bandwidth"

STARTUP_GAIN = 2.885
WINDOW_GAIN = 2.0
LOW_GAIN = 0.75
CYCLE = (1.25, LOW_GAIN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
CRUISE = 2

#: The step of the cycle that is another low one while a queue stands.
RELIEF = 5

#: Whether a queue stands is judged by at least so many samples.
STANDING_SAMPLES = 3

#: How far back the filters look: round trips for bandwidth, seconds for the round trip.
BANDWIDTH_ROUNDS = 10
ROUND_TRIP_SECONDS = 10.0

#: A round trip up to this factor confirms the shortest known. If none did for so long, the window is made least for
#: a round trip and this time (seconds), so that a queue of ours empties and the path's own round trip shows.
SAME_ROUND_TRIP = 1.1
EMPTYING_SECONDS = 0.2

#: The window never falls below this many packets, and is this many packets larger than the model says, for peers that
#: delay or lose acknowledgements.
MINIMUM_PACKETS = 4
SPARE_PACKETS = 3

#: Bytes of the IPv4 and UDP headers around each packet.
HEADERS = 28

#: Loss is believed from this many packets on, over a memory of about twice that many, and up to this share.
LOSS_SAMPLE = 16
LOSS_MEMORY = 128
LOSS_LIMIT = 0.5


class Phase(Enum):
    STARTUP = "startup"
    DRAIN = "drain"
    CYCLE = "cycle"


@dataclass(frozen=True, slots=True)
class Departure:
    """The state of the connection when a packet left. Bytes and seconds."""

    delivered: int
    delivered_time: float
    first_sent_time: float
    application_limited: bool
    low: bool


class BandwidthControl(QuicCongestionControl):
    """The model, and the window that follows from it."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.packets_lost = 0
        self.phase = Phase.STARTUP
        self._packet = max_datagram_size
        self._initial_window = K_INITIAL_WINDOW * max_datagram_size
        self._departures: dict[int, Departure] = {}
        # the connection's progress, in bytes acknowledged
        self._delivered = 0
        self._delivered_time = 0.0
        self._first_sent_time = 0.0
        self._limited_until = 0
        # the model
        self._rates: deque[tuple[int, float]] = deque()
        self._round = 0
        self._round_end = 0
        self._round_trip = math.inf
        self._round_trip_time = 0.0
        self._emptying_until = 0.0
        self._emptied_trip = math.inf
        self._round_shortest = math.inf
        self._round_samples = 0
        self._queue_stands = False
        self._share = Share(max_datagram_size + HEADERS)
        self._low_sent = 0.0
        self._low_lost = 0.0
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
        return self._rates[0][1] if self._rates else 0.0

    @property
    def delivered(self) -> int:
        """Bytes acknowledged so far."""
        return self._delivered

    @property
    def random_loss(self) -> float:
        """Share of packets that the path loses whatever we do."""
        if self._low_sent < LOSS_SAMPLE:
            return 0.0
        return min(self._low_lost / self._low_sent, LOSS_LIMIT)

    def pacing_rate(self, smoothed_rtt: float) -> float:
        """Bytes per second at which to send now."""
        if self.phase is Phase.STARTUP:
            return STARTUP_GAIN * max(self._initial_window / max(smoothed_rtt, 0.001), self._sending_rate())
        gain = 1 / STARTUP_GAIN if self.phase is Phase.DRAIN else self._cycle_gain()
        return max(gain * (self.bandwidth if gain < 1 else self._sending_rate()), self._packet / 1.0)

    def application_limited(self) -> None:
        """Everything there was to send has been sent: what is in flight proves no upper bound, unless it queues."""
        if not self._queue_stands:
            self._limited_until = max(self._delivered + self.bytes_in_flight, 1)

    # --- what aioquic tells ---------------------------------------------------------------------------------------

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        assert packet.sent_time is not None
        if self.bytes_in_flight == 0:
            self._first_sent_time = self._delivered_time = packet.sent_time
        limited = self._limited_until > 0
        self._departures[packet.packet_number] = Departure(
            delivered=self._delivered,
            delivered_time=self._delivered_time,
            first_sent_time=self._first_sent_time,
            application_limited=limited,
            low=self._is_low(limited),
        )
        self.bytes_in_flight += packet.sent_bytes + HEADERS

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        assert packet.sent_time is not None
        self._share.acked(packet.sent_time, self.bytes_in_flight)
        self.bytes_in_flight -= packet.sent_bytes + HEADERS
        departure = self._departures.pop(packet.packet_number)
        self._delivered += packet.sent_bytes + HEADERS
        self._delivered_time = now
        self._first_sent_time = packet.sent_time
        if self._delivered > self._limited_until:
            self._limited_until = 0
        self._count_low(departure, lost=False)
        if new_round := departure.delivered >= self._round_end:
            self._round += 1
            self._round_end = self._delivered
            self._careful = False
            self._look_for_queue(now)
        self._sample(now, packet.sent_time, departure)
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
        if rtt <= self._round_trip:
            self._round_trip = rtt
        if rtt <= SAME_ROUND_TRIP * self._round_trip:
            self._round_trip_time = now
            self._emptying_until = 0.0
        elif self._emptying_until:
            self._emptied_trip = min(self._emptied_trip, rtt)
            if now >= self._emptying_until:
                self._round_trip, self._round_trip_time, self._emptying_until = self._emptied_trip, now, 0.0
        elif now - self._round_trip_time > ROUND_TRIP_SECONDS:
            self._emptying_until, self._emptied_trip = now + EMPTYING_SECONDS + rtt, math.inf
        self._round_shortest = min(self._round_shortest, rtt)
        self._round_samples += 1

    # --- the model ------------------------------------------------------------------------------------------------

    def _sample(self, now: float, sent_time: float, departure: Departure) -> None:
        """Take the delivery rate that one acknowledgement proves into the windowed maximum."""
        interval = max(sent_time - departure.first_sent_time, now - departure.delivered_time)
        if interval <= 0:
            return
        rate = (self._delivered - departure.delivered) / interval
        if departure.application_limited and rate < self.bandwidth:
            return
        while self._rates and self._rates[-1][1] <= rate:
            self._rates.pop()
        self._rates.append((self._round, rate))
        while self._rates[0][0] <= self._round - BANDWIDTH_ROUNDS:
            self._rates.popleft()

    def _look_for_queue(self, now: float) -> None:
        """A round is over: see whether even its shortest round trip had waited."""
        enough = self._round_samples >= STANDING_SAMPLES
        self._queue_stands = enough and queue_stands(self._round_shortest, self._round_trip)
        if enough:
            self._share.round_over(now, self._round_shortest, self.random_loss)
        self._round_shortest, self._round_samples = math.inf, 0

    def _count_low(self, departure: Departure, *, lost: bool) -> None:
        if not departure.low or self._share.limit < math.inf:
            return
        self._low_sent += 1
        self._low_lost += lost
        if self._low_sent >= LOSS_MEMORY:
            self._low_sent /= 2
            self._low_lost /= 2

    def _sending_rate(self) -> float:
        """What must be sent for `bandwidth` to arrive."""
        return self.bandwidth / (1 - self.random_loss)

    def _in_path(self) -> float:
        """Bytes that fill the path without a queue."""
        return self._sending_rate() * self._round_trip if self._rates and math.isfinite(self._round_trip) else 0.0

    def _is_low(self, limited: bool) -> bool:
        """Whether what leaves now leaves more slowly than the path can carry."""
        if self.phase is Phase.CYCLE:
            return self._cycle_gain() < 1 or (limited and not self._queue_stands)
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
        elif now - self._step_time > self._round_trip:
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
        if self._emptying_until:
            self.congestion_window = MINIMUM_PACKETS * self._packet
            return
        if self.phase is Phase.STARTUP:
            wanted = max(self.congestion_window, int(STARTUP_GAIN * self._in_path()) + spare, self._initial_window)
        else:
            model = min(WINDOW_GAIN * self._in_path() + spare, self._share.limit)
            wanted = max(int(model), MINIMUM_PACKETS * self._packet)
        self.congestion_window = min(wanted, self._initial_window) if self._careful else wanted


class BandwidthPacer(QuicPacketPacer):
    """Spreads packets in time at the controller's rate: a bucket of bytes, so that small packets cost little.

    aioquic charges a full packet before it knows the size; `refund` gives back what was not used.
    """

    #: Bytes that may leave at once, as a time at the present rate; never less than two packets.
    BURST_SECONDS = 0.01

    def __init__(self, control: BandwidthControl, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._control = control
        self._rate: float | None = None
        self._credit = 0.0
        self._credit_time = 0.0

    def next_send_time(self, now: float) -> float | None:  # type: ignore[override]  # it returns None there, too
        if self._rate is None:
            return None
        self.update_bucket(now)
        return None if self._credit > 0 else now + max((1 - self._credit) / self._rate, 0.001)

    def update_after_send(self, now: float) -> None:
        if self._rate is not None:
            self.update_bucket(now)
            self._credit -= self._max_datagram_size + HEADERS

    def update_bucket(self, now: float) -> None:
        if self._rate is None or now <= self._credit_time:
            return
        most = max(2 * self._max_datagram_size, self._rate * self.BURST_SECONDS)
        self._credit = min(self._credit + (now - self._credit_time) * self._rate, most)
        self._credit_time = now

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        if self._rate is None:
            self._credit = 2.0 * self._max_datagram_size
        self._rate = self._control.pacing_rate(smoothed_rtt)

    def let_one_go(self) -> None:
        """The next packet need not wait."""
        self._credit = max(self._credit, 1.0)

    def refund(self, unused: int) -> None:
        if self._rate is not None:
            self._credit += unused


register_congestion_control(ALGORITHM, BandwidthControl)
