"""When the next packet may leave, so that the controller's rate is kept."""

from __future__ import annotations

from aioquic.quic.recovery import QuicPacketPacer

from twingateway.link.congestion import HEADERS, BandwidthControl


class BandwidthPacer(QuicPacketPacer):
    """Spreads packets in time at the controller's rate: a bucket of bytes, so that small packets cost little.

    aioquic charges a full packet before it knows the size, and only then what it is; `settle` charges what it was.
    """

    #: Bytes that may leave at once, as a time at the present rate; never less than two packets.
    BURST_SECONDS = 0.01

    def __init__(self, control: BandwidthControl, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._control = control
        self._rate: float | None = None
        self._credit = 0.0
        self._credit_time = 0.0
        self._charged = 0

    def next_send_time(self, now: float) -> float | None:  # type: ignore[override]  # it returns None there, too
        if self._rate is None:
            return None
        self.update_bucket(now)
        return None if self._credit > 0 else now + max((1 - self._credit) / self._rate, 0.001)

    def update_after_send(self, now: float) -> None:
        if self._rate is not None:
            self.update_bucket(now)
            self._charged += self._max_datagram_size + HEADERS
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

    def settle(self, sent: int) -> None:
        """What was charged since the last time was for packets of so many bytes in flight, headers included. One of
        acknowledgements alone is not in flight: it does not wait for the rate, so it must cost none of it, or enough
        of them would let nothing else go any more."""
        if self._rate is not None:
            self._credit += self._charged - sent
            self._charged = 0
