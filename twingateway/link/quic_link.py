"""One QUIC connection as a `Link`: bytes and timers between the event loop, aioquic and a handler.

The rule: the handler is called only from a *round* (a received packet, a timer, a requested round), never from
inside a method of the link, and no exception of aioquic's or of the handler's leaves a round: either ends this
link only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar, cast

import structlog
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import QuicErrorCode
from cryptography.hazmat.primitives.serialization import Encoding

from twingateway.errors import LinkError, TwinGatewayError
from twingateway.link.address import address_text
from twingateway.link.connection import PulledConnection
from twingateway.link.early import EarlyDatagram
from twingateway.link.farewell import Farewell, reason_of
from twingateway.link.quic_streams import QuicStreams
from twingateway.ports.link import CONTROL_STREAM, HandlerFactory, LinkFacts, LinkHandler

#: Seconds that `close` waits for what is queued to be acknowledged.
CLOSE_PATIENCE = 2.0

#: A timer is never set nearer than this, so that one which aioquic leaves in the past cannot spin the event loop.
LEAST_DELAY = 0.001

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class QuicLink(QuicConnectionProtocol):
    """Implements `twingateway.ports.link.Link` at both ends.

    `make_handler` is called when the handshake is complete. `known_certificate` (DER) stands for the server's
    own at a server, and for the one verified earlier at a client that resumes. `keep_alive`: seconds of silence
    after which a PING is sent, or None.
    """

    def __init__(
        self,
        connection: PulledConnection,
        *,
        make_handler: HandlerFactory,
        known_certificate: bytes = b"",
        keep_alive: float | None = None,
    ) -> None:
        super().__init__(connection)
        self.connection = connection
        #: Done when the handler was told `connected`; fails with the LinkError that came instead.
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        #: Done when the link is over, also if it never was connected.
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self.resumed = False
        #: Called when the handler says that the peer has proven who it is; see `Link.admit`.
        self.on_admitted: Callable[[bytes], None] = lambda holder: None
        self._make_handler = make_handler
        self._handler: LinkHandler | None = None
        self._known_certificate = known_certificate
        self._keep_alive = keep_alive
        self._over = False
        self._broken = False
        self._error: LinkError | None = None
        self._quiet_since = self._loop.time()
        self._wake_at: float | None = None
        self._closing: tuple[float, int, str] | None = None
        self._streams = QuicStreams(connection)
        self._farewell = Farewell(connection, self._loop, self._send)
        self._bytes_sent = 0
        self._bytes_received = 0

    # --- Link -----------------------------------------------------------------------------------------------------

    @property
    def server_certificate(self) -> bytes:
        certificate = self.connection.tls._peer_certificate if self.connection.configuration.is_client else None
        return self._known_certificate if certificate is None else certificate.public_bytes(Encoding.DER)

    @property
    def datagram_room(self) -> int:
        return 0 if self._over else self.connection.datagram_room

    def facts(self) -> LinkFacts:
        recovery = self.connection._loss
        return LinkFacts(
            transport="quic",
            peer_address=address_text(self.connection.get_peer_address()),
            smoothed_rtt=recovery._rtt_smoothed if recovery._rtt_initialized else None,
            congestion_window=recovery.congestion_window,
            bytes_in_flight=recovery.bytes_in_flight,
            bytes_acknowledged=self.connection.control.delivered,
            packets_lost=self.connection.control.packets_lost,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
        )

    def is_roomy(self, now: float) -> bool:
        return self.connection.is_roomy(now)

    def open_stream(self) -> int:
        return self._streams.next if self._over else self._streams.open()

    def write(self, stream: int, data: bytes) -> None:
        if not self._over and self._closing is None and self._streams.write(stream, data):
            self._transmit_soon()

    def unsent(self, stream: int) -> int:
        return 0 if self._over else self._streams.unsent(stream)

    def waiting(self, stream: int) -> int:
        return 0 if self._over else self._streams.waiting(stream)

    def wake(self, at: float | None = None) -> None:
        if self._over:
            return
        if at is None:
            self._transmit_soon()
        elif self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self._arm(self._loop.time())

    def admit(self, holder: bytes) -> None:
        if not self._over:
            self.on_admitted(holder)

    def close(self, code: int = 0, reason: str = "") -> None:
        if not self._over and self._closing is None:
            self._closing = (self._loop.time() + CLOSE_PATIENCE, code, reason)
            self._transmit_soon()

    def hand_over(self, handler: LinkHandler) -> None:
        self._handler = handler

    def pause(self, stream: int) -> None:
        self.connection.paused.add(stream)

    def resume(self, stream: int) -> None:
        if stream in self.connection.paused:
            self.connection.paused.remove(stream)
            self._transmit_soon()

    def refuse(self, stream: int) -> None:
        if not self._over and not self._streams.is_refused(stream):
            self._streams.refuse(stream)
            self._transmit_soon()

    def keep_alive(self, every: float) -> None:
        self._keep_alive = every
        self._arm(self._loop.time())

    # --- rounds ---------------------------------------------------------------------------------------------------

    def abort(self, error: LinkError) -> None:
        """End the link at once, for this reason, which the peer is told."""
        if not self._over and self._error is None:
            self._error = error
            code = QuicErrorCode.NO_ERROR if self._handler else QuicErrorCode.CONNECTION_REFUSED
            self._say_goodbye(code, error.message)
            self._transmit_soon()

    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        packet = cast(bytes, data)
        if self._broken or self.connection.is_closing:
            self._farewell.repeat()
            return
        self._quiet_since = self._loop.time()
        self._bytes_received += len(packet)
        self._guarded(lambda: self.connection.receive_datagram(packet, addr, now=self._quiet_since))
        self._guarded(self._process_events)
        if not self._over and self._closing is None:
            self._streams.write_opened()
        self.transmit()

    def transmit(self) -> None:
        """Send what can be sent, and set the timer: the end of every round."""
        if self._transmit_task is not None:
            self._transmit_task.cancel()
            self._transmit_task = None
        if self._broken or self._transport is None or self._transport.is_closing():
            return
        now = self._loop.time()
        self._close_when_done(now)
        is_last = self._farewell.is_due
        sent = self._guarded(lambda: self.connection.datagrams_to_send(now)) or []
        self._bytes_sent += sum(len(data) for data, _ in sent)
        self._send(sent)
        if is_last:
            self._farewell.sent(sent)
        self._notice_end(now)
        self._arm(now)

    def _send(self, packets: Iterable[tuple[bytes, NetworkAddress]]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            for data, address in packets:
                self._transport.sendto(data, address)

    def error_received(self, exc: Exception) -> None:
        """The system could not send (no route for now, for instance): the same as a packet lost."""
        _log.debug("packet not sent", problem=str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self._error = self._error or LinkError(
            "the socket was closed" if exc is None else f"the socket failed: {exc}"
        )
        self._finish(self._loop.time(), self._error)
        self._cancel_timer()

    def _guarded(self, step: Callable[[], T]) -> T | None:
        """Do one step of aioquic's; whatever it raises ends this link and nothing else."""
        try:
            return step()
        except Exception as problem:
            _log.exception("QUIC failed", peer=address_text(self.connection.get_peer_address()))
            self._broken = True
            self._cancel_timer()
            self._error = self._error or LinkError(f"QUIC failed: {problem!r}")
            self._finish(self._loop.time(), self._error)
            self._connection_terminated_handler()
            return None

    def _handle_timer(self) -> None:
        now = max(self._timer_at or 0.0, self._loop.time())
        self._timer = self._timer_at = None
        quic_at = self.connection.get_timer()
        if quic_at is not None and now >= quic_at:
            self._guarded(lambda: self.connection.handle_timer(now))
            self._guarded(self._process_events)
        if self._wake_at is not None and now >= self._wake_at:
            self._wake_at = None
            self._tell("timer", now)
        if self._ping_due_at() is not None and now >= cast(float, self._ping_due_at()):
            self._quiet_since = now
            self.connection.send_ping(0)
        self.transmit()

    def _ping_due_at(self) -> float | None:
        if self._keep_alive is None or self._handler is None or self.connection.is_closing:
            return None
        return self._quiet_since + self._keep_alive

    def _arm(self, now: float) -> None:
        """One timer, at the earliest of everybody's."""
        if self._broken:
            return
        wanted = [self.connection.get_timer()]
        if not self._over:
            deadline = self._closing[0] if self._closing and not self.connection.is_closing else None
            wanted += [self._wake_at, self._ping_due_at(), self.connection.probe_at(now), deadline]
        due = [at for at in wanted if at is not None]
        at = max(min(due), now + LEAST_DELAY) if due else None
        if self._timer_at != at:
            self._cancel_timer()
        if self._timer is None and at is not None:
            self._timer = self._loop.call_at(at, self._handle_timer)
        self._timer_at = at

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the end --------------------------------------------------------------------------------------------------

    def _say_goodbye(self, code: int, reason: str) -> None:
        self._farewell.say(code, reason, is_connected=self._handler is not None)

    def _close_when_done(self, now: float) -> None:
        if self._closing is None or self.connection.is_closing:
            return
        deadline, code, reason = self._closing
        if now >= deadline or self._streams.are_acknowledged:
            self._say_goodbye(code, reason)

    def _notice_end(self, now: float) -> None:
        event = self.connection._close_event
        if event is not None and not self._over:
            ours = self._closing is not None and self._error is None
            self._finish(now, None if ours else self._error or reason_of(self.connection, event))

    def _finish(self, now: float, error: LinkError | None) -> None:
        if self._over:
            return
        if self._handler is not None:
            self._tell("closed", error, now)
        elif error is not None:
            _log.debug("no link came of a handshake", reason=error.message)
        self._over = True
        if not self.opened.done():
            self.opened.set_exception(error or LinkError("the peer closed before the handshake was complete"))
        if not self.gone.done():
            self.gone.set_result(None)

    # --- the handler ----------------------------------------------------------------------------------------------

    def _tell(self, what: str, *arguments: Any) -> Any:
        """Call the handler, unless the link is over; if it fails, so does this link."""
        if self._handler is None or self._over:
            return None
        try:
            return getattr(self._handler, what)(*arguments)
        except Exception as problem:
            _log.exception("link handler failed", call=what)
            self._error = self._error or LinkError(f"the link's handler failed in {what}: {problem!r}")
            if what != "closed":
                self._say_goodbye(QuicErrorCode.INTERNAL_ERROR, "")
            return None

    def _pull(self, room: int, now: float) -> bytes | None:
        if self._closing is not None or self._error is not None:
            return None
        data = cast("bytes | None", self._tell("next_datagram", room, now))
        if data is not None and len(data) > room:
            _log.error("datagram dropped: larger than the room asked for", size=len(data), room=room)
            self._error = LinkError(f"the link's handler offered a datagram of {len(data)} bytes where {room} fit")
            self._say_goodbye(QuicErrorCode.INTERNAL_ERROR, "")
            return None
        return data

    def quic_event_received(self, event: events.QuicEvent) -> None:
        react = self._REACTIONS.get(type(event))
        if react is not None:
            react(self, event)

    def _on_handshake(self, event: events.HandshakeCompleted) -> None:
        self.resumed = event.session_resumed
        self._handler = self._make_handler()
        self.connection.pull = self._pull
        self._tell("connected", self, self._loop.time())
        if not self.opened.done() and self._error is None:
            self.opened.set_result(None)

    def _on_stream_data(self, event: events.StreamDataReceived) -> None:
        if self._streams.is_refused(event.stream_id):
            return
        self._tell("stream_data", event.stream_id, event.data, event.end_stream, self._loop.time())

    def _on_datagram(self, event: events.DatagramFrameReceived) -> None:
        self._tell("datagram", event.data, self._loop.time())

    def _on_early_datagram(self, event: EarlyDatagram) -> None:
        take = self.connection.early_taker
        if take is None or self._over:
            return
        try:
            take(event.data)
        except TwinGatewayError as error:
            self.abort(LinkError(f"early data: {error.message}"))

    def _on_reset(self, event: events.StreamReset) -> None:
        if event.stream_id == CONTROL_STREAM:
            self.abort(LinkError(f"the peer reset the control stream ({event.error_code:#x})"))
        elif not self._streams.is_refused(event.stream_id):
            self._tell("stream_data", event.stream_id, b"", True, self._loop.time())

    def _on_stop(self, event: events.StopSendingReceived) -> None:
        if event.stream_id == CONTROL_STREAM:
            self.abort(LinkError(f"the peer stopped the control stream ({event.error_code:#x})"))

    def _on_terminated(self, event: events.ConnectionTerminated) -> None:
        self._notice_end(self._loop.time())

    _REACTIONS: ClassVar[dict[type[events.QuicEvent], Callable[[QuicLink, Any], None]]] = {
        events.HandshakeCompleted: _on_handshake,
        events.StreamDataReceived: _on_stream_data,
        events.DatagramFrameReceived: _on_datagram,
        EarlyDatagram: _on_early_datagram,
        events.StreamReset: _on_reset,
        events.StopSendingReceived: _on_stop,
        events.ConnectionTerminated: _on_terminated,
    }
