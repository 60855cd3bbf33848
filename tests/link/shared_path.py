"""Flows that share one bottleneck in virtual time, without packets' contents: a minute costs about a second."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from twingateway.link.congestion import HEADERS, BandwidthControl
from twingateway.link.pacer import BandwidthPacer

PACKET = 1200
#: Packets that must have arrived behind one for it to count as lost.
REORDERED = 3


@dataclass
class Bottleneck:
    """Bytes per second, seconds one way, seconds of queue."""

    rate: float
    delay: float = 0.05
    queue: float = 0.3
    free_at: float = 0.0

    def answered_at(self, size: int, now: float) -> float | None:
        """When the acknowledgement of a packet comes back; None if the queue had no room."""
        wait = max(self.free_at - now, 0.0)
        if wait > self.queue:
            return None
        self.free_at = now + wait + size / self.rate
        return self.free_at + 2 * self.delay


class Flow(Protocol):
    """Always has something to send."""

    arrived: int

    def may_send(self, now: float) -> float | None:
        """When the next packet may leave; None: not before an acknowledgement."""
        ...

    def send(self, now: float) -> int:
        """The number of the packet that leaves now."""
        ...

    def acknowledged(self, number: int, now: float) -> None: ...


class Ours:
    """The controller under test, with the loss detection of RFC 9002's packet threshold."""

    def __init__(self) -> None:
        self.control = BandwidthControl(max_datagram_size=PACKET)
        self._pacer = BandwidthPacer(self.control, max_datagram_size=PACKET)
        self._pacer.update_rate(0, 0.1)
        self._numbers = itertools.count()
        self._flying: dict[int, QuicSentPacket] = {}
        self._smoothed = 0.1
        self.arrived = 0

    def may_send(self, now: float) -> float | None:
        if self.control.congestion_window - self.control.bytes_in_flight < PACKET:
            return None
        return self._pacer.next_send_time(now) or now

    def send(self, now: float) -> int:
        number = next(self._numbers)
        packet = QuicSentPacket(Epoch.ONE_RTT, True, True, True, number, 1, now, PACKET)
        self._flying[number] = packet
        self.control.on_packet_sent(packet=packet)
        self._pacer.update_after_send(now)
        return number

    def acknowledged(self, number: int, now: float) -> None:
        packet = self._flying.pop(number, None)
        if packet is None:
            return
        self.arrived += PACKET + HEADERS
        assert packet.sent_time is not None
        trip = now - packet.sent_time
        self._smoothed += (trip - self._smoothed) / 8
        self.control.on_rtt_measurement(now=now, rtt=trip)
        self.control.on_packet_acked(now=now, packet=packet)
        lost = [number_ for number_ in self._flying if number_ <= number - REORDERED]
        if lost:
            self.control.on_packets_lost(now=now, packets=[self._flying.pop(number_) for number_ in lost])
        self._pacer.update_rate(self.control.congestion_window, self._smoothed)


class Cubic:
    """RFC 9438 in brief: slow start until a round trip grows, then the cubic function and its friendly region."""

    LESS, SCALE, SIZE = 0.7, 0.4, 1500

    def __init__(self) -> None:
        self.window = 10.0
        self.arrived = 0
        self._numbers = itertools.count()
        self._flying: dict[int, float] = {}
        self._shortest = 1.0
        self._slow_start = True
        self._most = 0.0
        self._since: float | None = None
        self._recovered = -1
        self._highest = -1

    def may_send(self, now: float) -> float | None:
        return now if len(self._flying) < self.window else None

    def send(self, now: float) -> int:
        self._highest = next(self._numbers)
        self._flying[self._highest] = now
        return self._highest

    def acknowledged(self, number: int, now: float) -> None:
        sent = self._flying.pop(number, None)
        if sent is None:
            return
        self.arrived += self.SIZE
        trip = now - sent
        self._shortest = min(self._shortest, trip)
        if self._slow_start:
            self.window += 1
            self._slow_start = trip < self._shortest + 0.016
        else:
            self._grow(now)
        for lost in [other for other in self._flying if other <= number - REORDERED]:
            del self._flying[lost]
            if lost > self._recovered:
                self._recovered, self._most, self._since = self._highest, self.window, None
                self.window, self._slow_start = max(2.0, self.window * self.LESS), False

    def _grow(self, now: float) -> None:
        if self._since is None:
            self._since, self._friendly, self._most = now, self.window, max(self._most, self.window)
            self._turn = ((self._most - self.window) / self.SCALE) ** (1 / 3)
        wanted = self._most + self.SCALE * (now - self._since + self._shortest - self._turn) ** 3
        self._friendly += 3 * (1 - self.LESS) / (1 + self.LESS) / self.window
        self.window += min(max(wanted - self.window, 0.0) / self.window, 0.5)
        self.window = max(self.window, self._friendly)


def shares(bottleneck: Bottleneck, flows: Sequence[Flow], *, warm_up: float, seconds: float) -> list[float]:
    """What part of the bottleneck's rate each flow had after the warm-up. Sizes are of IP packets."""
    answers: list[tuple[float, int, Flow, int]] = []
    order = itertools.count()
    now, before = 0.0, [0] * len(flows)
    while now < warm_up + seconds:
        wake = now + 0.1
        for flow in flows:
            while (at := flow.may_send(now)) is not None:
                if at > now:
                    wake = min(wake, at)
                    break
                number = flow.send(now)
                size = Cubic.SIZE if isinstance(flow, Cubic) else PACKET + HEADERS
                back = bottleneck.answered_at(size, now)
                if back is not None:
                    heapq.heappush(answers, (back, next(order), flow, number))
        earlier, now = now, max(now + 1e-9, min(wake, answers[0][0] if answers else wake))
        while answers and answers[0][0] <= now:
            _, _, flow, number = heapq.heappop(answers)
            flow.acknowledged(number, now)
        if earlier < warm_up <= now:
            before = [flow.arrived for flow in flows]
    return [(flow.arrived - was) / (seconds * bottleneck.rate) for flow, was in zip(flows, before, strict=True)]
