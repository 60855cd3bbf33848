"""Two QUIC connections joined in virtual time by a path with rate, delay, queue and loss: seconds cost little."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.tls import SessionTicket

from twingateway.link.connection import PulledConnection, configuration
from twingateway.link.doorbell import answer_to
from twingateway.link.early import EarlySource
from twingateway.link.tickets import TicketBook, TicketDesk
from twingateway.ports.link import EarlyGate, Knocking

CLIENT = ("192.0.2.1", 1000)
SERVER = ("192.0.2.2", 2000)


@dataclass
class Direction:
    """One direction: bytes per second, seconds, seconds of queue, share lost (before the bottleneck). `sent`: bytes
    handed to it, `passed`: those that got through the bottleneck, `waits`: how long each packet of them waited."""

    rate: float
    delay: float
    queue: float
    loss: float
    down: bool = False
    free_at: float = 0.0
    longest_wait: float = 0.0
    sent: int = 0
    passed: int = 0
    waits: list[float] = field(default_factory=list)

    def arrival(self, size: int, now: float, chance: random.Random) -> float | None:
        self.sent += size
        if self.down or chance.random() < self.loss:
            return None
        wait = max(self.free_at - now, 0.0)
        if wait > self.queue:
            return None
        self.longest_wait = max(self.longest_wait, wait)
        self.passed += size
        self.waits.append(wait)
        self.free_at = now + wait + size / self.rate
        return self.free_at + self.delay


class Simulation:
    """Runs a client and a server until a time; events go to `heard`."""

    def __init__(
        self,
        make: Callable[[QuicConfiguration, bytes | None], QuicConnection],
        client_config: QuicConfiguration,
        server_config: QuicConfiguration,
        *,
        rate: float,
        delay: float = 0.05,
        queue: float = 0.3,
        loss: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.forth = Direction(rate, delay, queue, loss)
        self.back = Direction(rate, delay, queue, loss)
        self.client = make(client_config, None)
        self.client.connect(SERVER, now=0.0)
        self.server = make(server_config, self.client.original_destination_connection_id)
        self.heard: list[tuple[float, QuicConnection, QuicEvent]] = []
        self.received: dict[QuicConnection, int] = {self.client: 0, self.server: 0}
        self._packets: list[tuple[float, int, QuicConnection, bytes]] = []
        self._count = 0
        self._served = False
        self.answers_rings = True
        self.sent_by_client: list[bytes] = []

    def _send(self) -> None:
        for end, peer, path in ((self.client, self.server, self.forth), (self.server, self.client, self.back)):
            if end is self.server and not self._served:
                continue
            for data, _ in end.datagrams_to_send(now=self.now):
                if end is self.client:
                    self.sent_by_client.append(data)
                self._travel(data, peer, path)

    def _travel(self, data: bytes, to: QuicConnection, path: Direction, leaves: bool = True) -> None:
        at = path.arrival(len(data), self.now, self.chance) if leaves else None
        if at is not None:
            self._count += 1
            heapq.heappush(self._packets, (at, self._count, to, data))

    def _drain(self) -> None:
        for end in (self.client, self.server):
            while (event := end.next_event()) is not None:
                self.heard.append((self.now, end, event))
                if isinstance(event, StreamDataReceived):
                    self.received[end] += len(event.data)

    def run(self, until: float, step: Callable[[float], None] | None = None, tick: float | None = None) -> None:
        """Advance to `until`; `step` is called at each event's time, before packets are sent, and every `tick`."""
        while True:
            if step:
                step(self.now)
            self._send()
            times = [self._packets[0][0]] if self._packets else []
            ends = [self.client, self.server] if self._served else [self.client]
            timers = {end: end.get_timer() for end in ends}
            times += [at for at in timers.values() if at is not None]
            times += [self.now + tick] if tick else []
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now + 1e-6, min(times))
            while self._packets and self._packets[0][0] <= self.now:
                _, _, end, data = heapq.heappop(self._packets)
                answer = answer_to(data) if end is self.server else None
                if answer is not None:
                    self._travel(answer, self.client, self.back, self.answers_rings)
                    continue
                if end is self.server:
                    self._served = True
                end.receive_datagram(data, CLIENT if end is self.server else SERVER, now=self.now)
            for end, at in timers.items():
                if at is not None and at <= self.now:
                    end.handle_timer(now=self.now)
            self._drain()


def controlled(
    files: tuple[Path, Path],
    ca_file: Path,
    algorithm: str | None = None,
    *,
    tickets: TicketBook | None = None,
    keep: Callable[[SessionTicket], None] | None = None,
    ticket: SessionTicket | None = None,
    hostile: bool = False,
    early: EarlySource | None = None,
    gate: EarlyGate | None = None,
    holder: bytes | None = None,
    knocking: Knocking | None = None,
    unasked_at: float = 0.0,
    **path: float,
) -> Simulation:
    """A simulation of our connections, or of aioquic's own with one of its controllers. `tickets` is the server's
    book, `ticket` and `keep` the client's; a `hostile` client is aioquic's, which sends early data where it can.
    `early` is the client's source of it, `gate` the server's judge; tickets are given to `holder`. `knocking` and
    `unasked_at`: the client's."""
    ends = []
    for is_client in (True, False):
        config = configuration(is_client=is_client)
        if algorithm is not None:
            config.congestion_control_algorithm = algorithm
        ends.append(config)
    ends[0].load_verify_locations(cafile=str(ca_file))
    ends[0].server_name = "localhost"
    ends[0].session_ticket = ticket
    ends[1].load_cert_chain(*files)

    def make(config: QuicConfiguration, original: bytes | None) -> QuicConnection:
        plain = algorithm is not None or (hostile and config.is_client)
        desk = TicketDesk(tickets, gate) if tickets is not None else None

        def give(ticket: SessionTicket) -> None:
            assert desk is not None
            desk.give(ticket)
            if holder is not None:
                desk.admit(holder)

        connection = (QuicConnection if plain else PulledConnection)(
            configuration=config,
            original_destination_connection_id=original,
            session_ticket_fetcher=desk.fetch if desk else None,
            session_ticket_handler=keep if config.is_client else desk and give,
        )
        if isinstance(connection, PulledConnection):
            connection.early_source = early
            connection.knocking, connection.unasked_at = knocking, unasked_at
            connection.offers_early = gate is not None
            connection.early_gate = desk.early_taker if desk else None
        return connection

    return Simulation(make, *ends, **path)
