"""The link port in memory: pairs of links over a path that can delay, lose and be cut, in real or in
hand-driven time.

Strategy: each end has an agenda, a heap of calls in order of time and then of entry, which one scheduler
drives: the event loop, or a `HandClock` that a test advances. Stream bytes are never lost, only late: a lost
piece is sent again and those behind it wait. A datagram is lost or delivered. As with QUIC, datagrams are
pulled while fewer than `window` are on their way: when the handler asks for it, and when there is room again.
A link that hears nothing for `idle_timeout` ends.
"""

from __future__ import annotations

import heapq
from collections import deque

from twingateway.errors import LinkError
from twingateway.ports.agenda import Agenda
from twingateway.ports.hand_clock import Scheduler
from twingateway.ports.link import LinkFacts, LinkHandler
from twingateway.ports.memory_path import MemoryPath

#: Seconds that `close` waits for what is queued to be acknowledged.
CLOSE_PATIENCE = 2.0

#: A lost piece of a stream is sent again this long after a round trip, in seconds.
RESEND_AFTER = 0.05

#: The shortest time a datagram counts as on its way, in seconds; bounds what a path without delay carries.
LEAST_FLIGHT = 0.001


class MemoryLink:
    """One end; implements `twingateway.ports.link.Link`. Made in pairs by `memory_pair`."""

    def __init__(
        self, scheduler: Scheduler, path: MemoryPath, *, name: str, certificate: bytes, first_stream: int
    ) -> None:
        self._agenda = Agenda(scheduler)
        self._path = path
        self._name = name
        self._certificate = certificate
        self._next_stream = first_stream
        self._goes_up = first_stream == 0
        self._peer: MemoryLink | None = None
        self._handler: LinkHandler | None = None
        self._closing: tuple[float, int, str] | None = None
        self._outgoing: dict[int, deque[bytes]] = {}
        self._unsent: dict[int, int] = {}
        self._arrived_by: dict[int, float] = {}
        self._landings: list[float] = []
        """A heap: until when each datagram counts as on its way."""
        self._paused: dict[int, list[bytes]] = {}
        self._refused: set[int] = set()
        self._round_due = False
        self._window_full = False
        self._wake_at: float | None = None
        self._heard_at = 0.0
        self._sent = 0
        self._received = 0
        self._lost = 0
        self.over = False

    # --- Link -----------------------------------------------------------------------------------------------------

    @property
    def server_certificate(self) -> bytes:
        return self._certificate

    @property
    def datagram_room(self) -> int:
        return 0 if self.over else self._path.datagram_room

    def facts(self) -> LinkFacts:
        return LinkFacts(
            transport="memory",
            peer_address=self._peer._name if self._peer else "nobody",
            smoothed_rtt=2 * self._path.delay,
            packets_lost=self._lost,
            bytes_sent=self._sent,
            bytes_received=self._received,
        )

    def is_roomy(self, now: float) -> bool:
        return True

    def open_stream(self) -> int:
        stream = self._next_stream
        if not self.over:
            self._next_stream += 4
        return stream

    def write(self, stream: int, data: bytes) -> None:
        if self.over or self._closing is not None or not data:
            return
        waiting = self._outgoing.setdefault(stream, deque())
        waiting.append(bytes(data))
        self._unsent[stream] = self._unsent.get(stream, 0) + len(data)
        if len(waiting) == 1:
            self._agenda.add(self._agenda.now(), self._send_stream, stream)

    def admit(self, holder: bytes) -> None:
        """There are no strangers to be counted here, and no early data."""

    def unsent(self, stream: int) -> int:
        return 0 if self.over else self._unsent.get(stream, 0)

    def waiting(self, stream: int) -> int:
        return 0 if self.over else sum(map(len, self._outgoing.get(stream, ())))

    def wake(self, at: float | None = None) -> None:
        if self.over:
            return
        if at is None:
            self._ask_for_round()
        elif self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self._agenda.add(max(at, self._agenda.now()), self._on_time)

    def close(self, code: int = 0, reason: str = "") -> None:
        if self.over or self._closing is not None:
            return
        deadline = self._agenda.now() + CLOSE_PATIENCE
        self._closing = (deadline, code, reason)
        self._agenda.add(self._agenda.now(), self._close_when_done)
        self._agenda.add(deadline, self._close_when_done)

    def hand_over(self, handler: LinkHandler) -> None:
        self._handler = handler

    def pause(self, stream: int) -> None:
        self._paused.setdefault(stream, [])

    def resume(self, stream: int) -> None:
        for data in self._paused.pop(stream, []):
            self._agenda.add(self._agenda.now(), self._take, stream, data)

    def refuse(self, stream: int) -> None:
        if stream not in self._refused and self._peer is not None:
            self._refused.add(stream)
            self._peer._agenda.add(self._agenda.now() + self._path.delay, self._peer._stream_ends, stream)

    def keep_alive(self, every: float) -> None:
        """Both ends hear each other anyway, see `_watch`."""

    # --- what tests do to a link ----------------------------------------------------------------------------------

    def drop(self, reason: str = "the link broke") -> None:
        """End the link at once at both ends, with a LinkError."""
        for end in (self, self._peer):
            if end is not None:
                end._agenda.add(end._agenda.now(), end._finish, LinkError(reason))

    def vanish(self) -> None:
        """Fall silent, as a process that is killed: no further call at this end; the peer finds out by itself."""
        self.over = True
        self._agenda.clear()

    # --- set-up ---------------------------------------------------------------------------------------------------

    def _join(self, peer: MemoryLink, handler: LinkHandler, connects_at: float) -> None:
        self._peer = peer
        self._handler = handler
        self._heard_at = connects_at
        self._agenda.add(connects_at, self._connect)

    def _connect(self, now: float) -> None:
        if (handler := self._told) is not None:
            handler.connected(self, now)
        self._agenda.add(now + self._path.idle_timeout / 10, self._watch)
        self._ask_for_round()

    def _watch(self, now: float) -> None:
        """A path that is whole lets both ends hear each other's keep-alives."""
        if not self._path.blocks(up=not self._goes_up) and self._peer is not None and not self._peer.over:
            self._heard_at = now
        if now - self._heard_at >= self._path.idle_timeout:
            self._finish(LinkError(f"nothing has been heard for {self._path.idle_timeout:g} s"), now)
            return
        self._agenda.add(now + self._path.idle_timeout / 10, self._watch)

    # --- streams --------------------------------------------------------------------------------------------------

    def _send_stream(self, stream: int, now: float) -> None:
        waiting = self._outgoing[stream]
        delay = self._path.delay
        while waiting and not self.over and self._peer is not None:
            if self._path.loses(up=self._goes_up):
                self._lost += 1
                self._agenda.add(now + 2 * delay + RESEND_AFTER, self._send_stream, stream)
                return
            data = waiting.popleft()
            self._sent += len(data)
            arrival = self._arrived_by[stream] = max(now + delay, self._arrived_by.get(stream, 0.0))
            sent = self._path.sent(up=self._goes_up)
            self._peer._agenda.add(arrival, self._peer._stream_arrives, stream, data, sent)
            self._agenda.add(now + 2 * delay, self._acknowledge, stream, len(data))

    def _acknowledge(self, stream: int, size: int, now: float) -> None:
        if self._path.blocks(up=not self._goes_up):
            self._agenda.add(now + RESEND_AFTER, self._acknowledge, stream, size)
            return
        self._unsent[stream] -= size
        if self._closing is not None:
            self._close_when_done(now)

    def _stream_arrives(self, stream: int, data: bytes, sent: object, now: float) -> None:
        self._hear(len(data), sent, now)
        self._take(stream, data, now)

    def _take(self, stream: int, data: bytes, now: float) -> None:
        if stream in self._paused:
            self._paused[stream].append(data)
        elif stream not in self._refused and (handler := self._told) is not None:
            handler.stream_data(stream, data, False, now)

    def _stream_ends(self, stream: int, now: float) -> None:
        if (handler := self._told) is not None:
            handler.stream_data(stream, b"", True, now)

    # --- datagrams ------------------------------------------------------------------------------------------------

    def _ask_for_round(self) -> None:
        if not self._round_due and not self.over:
            self._round_due = True
            self._agenda.add(self._agenda.now(), self._round)

    def _round(self, now: float) -> None:
        self._round_due = False
        room = self._path.datagram_room
        while room and not self.over and self._closing is None:
            if self._is_full(now):
                return
            handler = self._told
            data = None if handler is None else handler.next_datagram(room, now)
            if data is None:
                return
            if len(data) > room:
                self._finish(LinkError(f"the link's handler offered {len(data)} bytes where {room} fit"), now)
                return
            self._send_datagram(data, now)

    def _send_datagram(self, data: bytes, now: float) -> None:
        self._sent += len(data)
        lost = self._path.loses(up=self._goes_up)
        flight = max(2 * self._path.delay, LEAST_FLIGHT) + (RESEND_AFTER if lost else 0.0)
        heapq.heappush(self._landings, now + flight)
        if lost:
            self._lost += 1
        elif self._peer is not None:
            sent = self._path.sent(up=self._goes_up)
            for flight in self._path.flights():
                self._peer._agenda.add(now + flight, self._peer._datagram_arrives, data, sent)

    def _is_full(self, now: float) -> bool:
        """Whether the window is; then there is a round as soon as it is not."""
        landings = self._landings
        while landings and landings[0] <= now:
            heapq.heappop(landings)
        full = len(landings) >= self._path.window
        if full and not self._window_full:
            self._agenda.add(landings[0], self._landed)
        self._window_full = full
        return full

    def _landed(self, now: float) -> None:
        self._window_full = False
        self._ask_for_round()

    def _datagram_arrives(self, data: bytes, sent: object, now: float) -> None:
        self._hear(len(data), sent, now)
        if (handler := self._told) is not None:
            handler.datagram(data, now)

    # --- time and the end -----------------------------------------------------------------------------------------

    def _on_time(self, now: float) -> None:
        if self._wake_at is not None and now >= self._wake_at:
            self._wake_at = None
            if (handler := self._told) is not None:
                handler.timer(now)

    def _hear(self, size: int, sent: object, now: float) -> None:
        self._heard_at = now
        self._received += size
        self._path.arrived(sent, up=not self._goes_up)

    def _close_when_done(self, now: float) -> None:
        if self._closing is None:
            return
        deadline, code, reason = self._closing
        if now < deadline and any(self._unsent.values()):
            return
        if self._peer is not None and not self._path.blocks(up=self._goes_up):
            error = None if code == 0 else LinkError(f"{self._name} closed the link: {reason} ({code:#x})")
            self._peer._agenda.add(now + self._path.delay, self._peer._finish, error)
        self._finish(None, now)

    def _finish(self, error: LinkError | None, now: float) -> None:
        if not self.over:
            if self._handler is not None:
                self._handler.closed(error, now)
            self.over = True
            self._agenda.clear()

    @property
    def _told(self) -> LinkHandler | None:
        """Who is told what happens, nobody once the link is over. What it raises reaches the scheduler: here, a test
        should see it."""
        return None if self.over else self._handler


def memory_pair(
    client: LinkHandler,
    server: LinkHandler,
    *,
    scheduler: Scheduler,
    path: MemoryPath | None = None,
    certificate: bytes = b"memory",
) -> tuple[MemoryLink, MemoryLink]:
    """A client's and a server's end. Both handlers are told `connected` when the scheduler's time allows: the server
    after one way, the client after a round trip. `certificate` is the server's."""
    path = path or MemoryPath()
    near = MemoryLink(scheduler, path, name="memory-client", certificate=certificate, first_stream=0)
    far = MemoryLink(scheduler, path, name="memory-server", certificate=certificate, first_stream=1)
    now = scheduler.time()
    far._join(near, server, now + path.delay)
    near._join(far, client, now + 2 * path.delay)
    return near, far
