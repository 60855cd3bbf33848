"""One TLS 1.3 connection over TCP as a `Link`: what is left when UDP does not get through.

A TCP connection is one byte stream, and so it is one MQTT connection: whatever stream number a packet is written to,
it arrives at the other end on the control stream, and its topic says what it is. Stream numbers are send queues here
(see `outgoing`): `write` takes whole packets, and a queue that is served later than another costs it no round trip.

Nothing stale may wait: the kernel takes what it can send soon and little more (TCP_NOTSENT_LOWAT, no buffer of
asyncio's), everything else waits here, where it is counted as `unsent`. TLS runs between two buffers in memory, so
that a packet is encrypted only when the kernel takes it. There are no datagrams. As in `quic_link`, the handler is
called from rounds only, and what it or OpenSSL raises ends this link and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import cast

import structlog

from twingateway.errors import LinkError
from twingateway.link.address import address_text
from twingateway.link.outgoing import Outgoing
from twingateway.link.server_identity import ALPN
from twingateway.link.unverified import unverified
from twingateway.ports.link import CONTROL_STREAM, HandlerFactory, LinkFacts, LinkHandler

#: Seconds that `close` waits until the peer has taken what is queued.
CLOSE_PATIENCE = 2.0

#: Bytes that the kernel may hold and not have sent. One record of at most 16 KiB may come on top.
UNSENT_IN_KERNEL = 4096

_READ_SIZE = 64 * 1024
#: The part of Linux' struct tcp_info that is asked for: snd_mss, unacked; rtt (µs); snd_cwnd; total_retrans.
_TCP_INFO = struct.Struct("=16xI4xI40xI8xI16xI")
_NOT_SENT_LOW_WATER = getattr(socket, "TCP_NOTSENT_LOWAT", 25)

_log = structlog.get_logger(__name__)


class TlsLink(asyncio.Protocol):
    """Implements `twingateway.ports.link.Link` at both ends.

    `server_name`: what the server's certificate must be for, None at a server. `known_certificate`: the server's own,
    DER, None at a client. `strict`: the peer must agree on our protocol by name (ALPN); else it may have named none,
    as MQTT over TLS does where it is not one of ours.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        make_handler: HandlerFactory,
        *,
        server_name: str | None = None,
        known_certificate: bytes | None = None,
        strict: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        #: Done when the handler was told `connected`; fails with the LinkError that came instead.
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        #: Done when the link is over, also if it never was connected.
        self.gone: asyncio.Future[None] = self._loop.create_future()
        #: Called when the handler says that the peer has proven who it is; see `Link.admit`.
        self.on_admitted: Callable[[bytes], None] = lambda holder: None
        self._make_handler = make_handler
        self._known_certificate = known_certificate
        self._strict = strict
        self._is_client = known_certificate is None
        self._incoming, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._encrypted, server_side=not self._is_client, server_hostname=server_name
        )
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._peer = "nobody"
        self._handler: LinkHandler | None = None
        self._outgoing = Outgoing()
        self._in_hand: tuple[int, int] | None = None
        self._paused = False
        self._owes_turn = False
        self._round_due = False
        self._over = False
        self._closing = False
        self._said_goodbye = False
        self._next_stream = 0 if self._is_client else 1
        self._wake_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._bytes_sent = 0
        self._bytes_received = 0

    # --- Link -----------------------------------------------------------------------------------------------------

    @property
    def server_certificate(self) -> bytes:
        if self._known_certificate is not None:
            return self._known_certificate
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def datagram_room(self) -> int:
        return 0

    def facts(self) -> LinkFacts:
        size, unacked, rtt, window, lost = self._kernel_facts()
        return LinkFacts(
            transport="tls",
            peer_address=self._peer,
            smoothed_rtt=rtt / 1e6 if rtt else None,
            congestion_window=window * size if window else None,
            bytes_in_flight=unacked * size,
            packets_lost=lost,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
        )

    def is_roomy(self, now: float) -> bool:
        del now
        return False  # it has no use for copies

    def open_stream(self) -> int:
        stream = self._next_stream
        self._next_stream += 4
        return stream

    def write(self, stream: int, data: bytes) -> None:
        if not self._over and not self._closing and data:
            self._outgoing.put(stream, data)
            self._round_soon()

    def unsent(self, stream: int) -> int:
        """Bytes that the kernel has not taken yet."""
        if self._over:
            return 0
        in_hand = self._in_hand[1] if self._in_hand is not None and self._in_hand[0] == stream else 0
        return self._outgoing.size(stream) + in_hand

    def waiting(self, stream: int) -> int:
        return self.unsent(stream)

    def wake(self, at: float | None = None) -> None:
        """Without a time nothing is to be done: there are no datagrams to ask for."""
        if self._over or at is None or (self._wake_at is not None and self._wake_at <= at):
            return
        self._wake_at = at
        self._stop_timer()
        self._timer = self._loop.call_at(at, self._on_timer)

    def admit(self, holder: bytes) -> None:
        if not self._over:
            self.on_admitted(holder)

    def close(self, code: int = 0, reason: str = "") -> None:
        """Neither code nor reason reaches the peer: DISCONNECT has told it."""
        if not self._over and not self._closing:
            self._closing = True
            self._loop.call_later(CLOSE_PATIENCE, self._give_up)
            self._round_soon()

    def hand_over(self, handler: LinkHandler) -> None:
        self._handler = handler

    def pause(self, stream: int) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self, stream: int) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def refuse(self, stream: int) -> None:
        """There is but one stream."""

    def keep_alive(self, every: float) -> None:
        """TCP gives up nobody for being silent."""

    # --- asyncio's protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = address_text(transport.get_extra_info("peername"))
        self._transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(OSError):
            self._socket = socket.fromfd(
                transport.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM
            )
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_LOW_WATER, UNSENT_IN_KERNEL)
        self._round()

    def data_received(self, data: bytes) -> None:
        self._bytes_received += len(data)
        self._incoming.write(data)
        self._round()

    def eof_received(self) -> bool:
        self._incoming.write_eof()
        self._round()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        orderly = self._closing or self._said_goodbye
        self._finish(None if orderly else LinkError(f"the connection to {self._peer} was cut off: {exc or 'closed'}"))
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._in_hand = None
        self._round_soon()

    # --- rounds ---------------------------------------------------------------------------------------------------

    def abort(self, error: LinkError) -> None:
        """End the link at once, for this reason."""
        self._finish(error)
        if self._transport is not None:
            self._transport.abort()

    def _round_soon(self) -> None:
        if not self._round_due:
            self._round_due = True
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        """Take what has come, then give the kernel what it takes."""
        self._round_due = False
        if self._over or self._transport is None:
            return
        try:
            if self._handler is None and not self._shake_hands():
                return
            self._read()
            self._write()
        except ssl.SSLError as problem:
            self.abort(LinkError(f"TLS with {self._peer} failed: {problem.reason or problem}"))
        except Exception as problem:
            _log.exception("link handler failed", peer=self._peer)
            self.abort(LinkError(f"the link's handler failed: {problem!r}"))

    def _shake_hands(self) -> bool:
        """Whether the handshake is complete; the handler knows it then."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_encrypted()
            return False
        except ssl.SSLCertVerificationError as problem:
            self._send_encrypted()
            sought = self._tls.server_hostname
            self.abort(unverified(self._peer, sought, problem.verify_message, problem.verify_code))
            return False
        except ssl.SSLError:
            self._send_encrypted()
            raise
        self._send_encrypted()
        agreed = self._tls.selected_alpn_protocol()
        if agreed != ALPN and (self._strict or agreed is not None):
            self.abort(LinkError(f"{self._peer} does not speak {ALPN}"))
            return False
        self._handler = self._make_handler()
        self._handler.connected(self, self._loop.time())
        if not self.opened.done():
            self.opened.set_result(None)
        return True

    def _read(self) -> None:
        while not self._over and self._handler is not None and not self._said_goodbye:
            try:
                data = self._tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self._peer_is_done()
                return
            self._handler.stream_data(CONTROL_STREAM, data, False, self._loop.time())

    def _peer_is_done(self) -> None:
        """The peer said that nothing more comes: nothing more is to be said to it, either."""
        self._say_goodbye()
        if self._transport is not None:
            self._transport.close()

    def _write(self) -> None:
        while self._outgoing and not self._paused and not self._over:
            stream, piece = self._outgoing.take()
            self._encrypt(piece)
            self._send_encrypted()
            self._owes_turn = True
            left = self._transport.get_write_buffer_size() if self._transport is not None else 0
            self._in_hand = (stream, left) if left else None
        if self._outgoing or self._paused:
            return
        if self._closing:
            self._say_goodbye()
        elif self._owes_turn:
            self._owes_turn = False
            self._loop.call_soon(self._tell_time)  # whoever paces himself by `unsent` may go on

    def _encrypt(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._tls.write(view) :]

    def _send_encrypted(self) -> None:
        data = self._encrypted.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._bytes_sent += len(data)
            self._transport.write(data)

    def _on_timer(self) -> None:
        self._wake_at = None
        self._tell_time()

    def _tell_time(self) -> None:
        if self._over or self._handler is None:
            return
        try:
            self._handler.timer(self._loop.time())
        except Exception as problem:
            _log.exception("link handler failed", peer=self._peer)
            self.abort(LinkError(f"the link's handler failed: {problem!r}"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the end --------------------------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        """Our last bytes; the peer's answer, its own last bytes, ends the connection."""
        if self._said_goodbye:
            return
        self._said_goodbye = True
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._send_encrypted()
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _give_up(self) -> None:
        if not self._over:
            self._finish(None)
            if self._transport is not None:
                self._transport.abort()

    def _finish(self, error: LinkError | None) -> None:
        if self._over:
            return
        self._stop_timer()
        self._outgoing.clear()
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.closed(error, self._loop.time())
            except Exception:
                _log.exception("link handler failed", peer=self._peer, call="closed")
        self._over = True
        if not self.opened.done():
            self.opened.set_exception(error or LinkError("the peer closed before the handshake was complete"))
        if not self.gone.done():
            self.gone.set_result(None)

    def _kernel_facts(self) -> tuple[int, ...]:
        """Segment size, segments in flight, round trip in µs, window in segments, segments sent again; 0: unknown."""
        if self._socket is None or not hasattr(socket, "TCP_INFO"):
            return (0,) * 5
        try:
            return cast(
                "tuple[int, ...]",
                _TCP_INFO.unpack(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)),
            )
        except (OSError, struct.error):
            return (0,) * 5
