"""The port to one connection: QUIC, TLS over TCP, or in memory.

A link moves bytes on numbered bidirectional streams and, where both ends can, in datagrams. It is *pulled*: when the
transport has room it asks its handler for the next datagram, so that nothing stale ever waits inside the transport.
Time is the event loop's monotonic clock in seconds, and every call into a handler carries it.

The contract every link keeps:
- handler calls come from the event loop, one at a time, and never from inside a `Link` method;
- after `closed` no further call comes; `Link` methods called then do nothing;
- stream ids are QUIC's (client-initiated bidirectional: 0, 4, 8 …); a client opens them in ascending order;
- what is written in one call is whole MQTT packets: a link that is one byte stream (TLS) carries those of all streams
  on it, a stream number is just a place in the queue there, and everything arrives on the control stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from twingateway.errors import LinkError
from twingateway.twin.record import record

#: The stream that carries MQTT control packets (CONNECT, AUTH, PINGREQ, hello …).
CONTROL_STREAM = 0


@record
class LinkFacts:
    """What is known about a link; for people and metrics. Times in seconds, None while unknown.

    `bytes_acknowledged`: in all, as far as the transport tells. `frame_rate`: bytes of state frames sent per second,
    copies and resends included; its user adds it.
    """

    transport: str
    peer_address: str
    smoothed_rtt: float | None = None
    congestion_window: int | None = None
    bytes_in_flight: int | None = None
    bytes_acknowledged: int | None = None
    packets_lost: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    frame_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Knocking:
    """How often a dialer may send its first packet again while nobody answers: after `every` seconds, from `begin`
    until `end` (times of the event loop's clock); at other times as seldom as it thinks right. `rings`: the peer
    answers smaller packets as well, which do after `end`; until `hurried` they may go after `every` seconds."""

    every: float
    begin: float
    end: float
    rings: bool = False
    hurried: float = -math.inf


class Link(Protocol):
    """One connection to one peer."""

    @property
    def server_certificate(self) -> bytes:
        """DER of the server's certificate: the peer's at a client (verified), our own at a server."""
        ...

    @property
    def datagram_room(self) -> int:
        """Largest datagram payload that can ever be sent on this link, in bytes; 0 when it has no datagrams."""
        ...

    def facts(self) -> LinkFacts: ...

    def is_roomy(self, now: float) -> bool:
        """Whether for some seconds everything there was to send could leave at once."""
        ...

    def open_stream(self) -> int:
        """Open the next stream of our own and return its id. The control stream is opened by the client first."""
        ...

    def write(self, stream: int, data: bytes) -> None:
        """Queue bytes on a stream, reliably and in order."""
        ...

    def unsent(self, stream: int) -> int:
        """Bytes of this stream that the peer has not acknowledged yet (TLS: that the kernel has not taken yet); what
        senders pace themselves by."""
        ...

    def waiting(self, stream: int) -> int:
        """Bytes of this stream that have not left yet, or are to leave again."""
        ...

    def wake(self, at: float | None = None) -> None:
        """Ask for a round of datagrams soon (None), or for `LinkHandler.timer` at that time: the earliest wins."""
        ...

    def admit(self, holder: bytes) -> None:
        """The peer (a client) has proven who it is; until then a listener counts it among the strangers, of which it
        bears few. `holder`: what an `EarlyGate` is asked about when the client comes back with early data."""
        ...

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close after what is queued has been acknowledged, or after two seconds."""
        ...

    # What a link offers beside, for a peer whose bytes are passed on and not understood here.

    def hand_over(self, handler: LinkHandler) -> None:
        """From now on call this handler; it is not told `connected`."""
        ...

    def pause(self, stream: int) -> None:
        """Let the peer send no more on this stream than it has been allowed already (a window of at most 1 MiB, which
        may still arrive)."""
        ...

    def resume(self, stream: int) -> None: ...

    def refuse(self, stream: int) -> None:
        """End a stream of the peer's both ways; nothing that it carries is told any more."""
        ...

    def keep_alive(self, every: float) -> None:
        """Send a sign of life after so many seconds of silence, so that the transport does not give up a peer that
        has nothing to say."""
        ...


class LinkHandler(Protocol):
    """What a link tells its owner, and asks of it."""

    def connected(self, link: Link, now: float) -> None:
        """The link can be written to. A client has verified the server's certificate by now."""
        ...

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        """What may go ahead of the handshake, unacknowledged: at most one datagram for each of `rooms`, in bytes. A
        client's handler is asked before `connected`, each time the first packet leaves, if the server is known to
        take that. It may arrive late, twice or never."""
        ...

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None: ...

    def datagram(self, data: bytes, now: float) -> None: ...

    def next_datagram(self, room: int, now: float) -> bytes | None:
        """The next datagram of at most `room` bytes, or None. Called while the transport can send at once."""
        ...

    def timer(self, now: float) -> None:
        """A time asked for with `Link.wake` has come; on a link without datagrams also: all that was written has
        left."""
        ...

    def closed(self, error: LinkError | None, now: float) -> None:
        """The link is gone: None after an orderly end, otherwise why."""
        ...


#: Takes one datagram that came ahead of a handshake. Raises TwinGatewayError for one that ends the connection.
EarlyTaker = Callable[[bytes], None]

#: Asked when a client that was admitted (with this `holder`) comes back with early data: who takes it now, None for
#: nobody. Never raises.
EarlyGate = Callable[[bytes], EarlyTaker | None]

#: Makes the handler for one new incoming link.
HandlerFactory = Callable[[], LinkHandler]


class Dialer(Protocol):
    """Makes links to a parent."""

    async def dial(self, handler: LinkHandler, knocking: Knocking | None = None) -> Link:
        """Connect; returns once `handler.connected` was called. Raises LinkError (NotAuthorized if the server's
        certificate does not verify)."""
        ...


class Listener(Protocol):
    """Accepts links from children."""

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port."""
        ...

    async def close(self) -> None: ...
