"""MQTT clients that are no nodes of ours, passed on byte for byte to this node's broker: we write no broker.

Of what a client says nothing but its CONNECT was looked at, to tell it from a node; the broker behind answers it,
judges it and keeps its session. The relay only keeps the two sides in step:

- Neither side is read faster than the other one takes: what waits here is bounded both ways.
- Whichever side ends, the other one is ended, after what was on its way to it.
- A client is given up that keeps silent for longer than the keep-alive it named; the broker knows by then.
- Until the broker has let it in, the listener counts a client among its strangers.
- A client has its control stream only. Other streams are refused, datagrams go nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from twingateway.errors import BrokerError, LinkError
from twingateway.gateway.state.tasks import Tasks
from twingateway.mqtt.events import PlainClient
from twingateway.mqtt.reasons import ReasonCode
from twingateway.ports.byte_stream import ByteStream, OpenStream
from twingateway.ports.link import CONTROL_STREAM, Link

log = structlog.get_logger("relay")

#: Clients that are relayed at a time; the listener's other places are for nodes.
MAX_CLIENTS = 500
#: Seconds that the broker may take to accept a connection, and to finish with one that its client has ended.
OPEN_TIME = 5.0
CLOSE_TIME = 5.0
#: Bytes from a client that may wait for the broker before the client is held up, and on the other way those that may
#: wait for the client.
MAX_WAITING_IN = 256 * 1024
MAX_WAITING_OUT = 256 * 1024
#: Seconds between two looks whether a client has taken what waits for it.
POLL = 0.01
#: A client may be silent for this many times its keep-alive, and so many seconds more: the broker is to say it first.
KEEP_ALIVE_GRACE = 1.5
KEEP_ALIVE_MARGIN = 5.0
#: Seconds of silence after which the transport is asked for a sign of life: MQTT's keep-alive may be much longer.
SIGN_OF_LIFE = 20.0
#: Streams that a client may try to open beside its own before it is given up.
MAX_REFUSED = 64

#: Answers a client's CONNECT with a CONNACK that says no: reason code and text.
Refuse = Callable[[int, str], None]


class Relay:
    """Takes clients over from the acceptor. `open_stream` leads to the broker."""

    def __init__(self, open_stream: OpenStream, tasks: Tasks) -> None:
        self._open_stream = open_stream
        self._tasks = tasks
        self._clients: set[RelayedClient] = set()

    @property
    def clients(self) -> int:
        """How many are relayed now."""
        return len(self._clients)

    def take(self, link: Link, client: PlainClient, refuse: Refuse) -> None:
        """The link is the relay's from now on; `refuse` is how its client is told if that comes to nothing."""
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("client refused", client=client.opening.client_id, reason="too many clients")
            refuse(ReasonCode.QUOTA_EXCEEDED, f"this node relays {MAX_CLIENTS} clients already")
            link.close()
            return
        relayed = RelayedClient(link, client)
        self._clients.add(relayed)
        link.hand_over(relayed)
        link.keep_alive(SIGN_OF_LIFE)
        for stream in client.streams:
            link.refuse(stream)
        self._tasks.start(self._serve(relayed, refuse), "relay")

    async def _serve(self, client: RelayedClient, refuse: Refuse) -> None:
        try:
            async with asyncio.timeout(OPEN_TIME):
                stream = await self._open_stream()
        except (BrokerError, TimeoutError) as error:
            reason = error.message if isinstance(error, BrokerError) else "the MQTT broker does not answer"
            log.warning("client refused", client=client.name, reason=reason)
            refuse(ReasonCode.SERVER_UNAVAILABLE, reason)
            self._clients.discard(client)
            client.close()
            return
        log.info("client relayed", client=client.name, level=client.level, peer=client.peer)
        try:
            await client.serve(stream)
        finally:
            self._clients.discard(client)
            client.close()
            await stream.close()
            log.info("client gone", client=client.name, reason=client.reason)


class RelayedClient:
    """Implements LinkHandler for one client, and carries its bytes."""

    def __init__(self, link: Link, client: PlainClient) -> None:
        self.name = client.opening.client_id
        self.level = client.opening.level
        self.peer = link.facts().peer_address
        self.reason = ""
        self._link: Link | None = link
        self._waiting = bytearray(client.received)
        self._keep_alive = client.opening.keep_alive
        self._paused = False
        self._ended = False
        self._refused = 0
        self._news = asyncio.Event()
        self._gone = asyncio.Event()

    # --- LinkHandler ---------------------------------------------------------------------------------------------

    def connected(self, link: Link, now: float) -> None:
        """It was, before it was handed over."""

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        if self._link is None:
            return
        if stream != CONTROL_STREAM:
            self._refuse(self._link, stream)
            return
        self._waiting += data
        self._ended = self._ended or end
        if not self._paused and len(self._waiting) > MAX_WAITING_IN:
            self._paused = True
            self._link.pause(CONTROL_STREAM)
        self._news.set()

    def datagram(self, data: bytes, now: float) -> None:
        pass

    def next_datagram(self, room: int, now: float) -> bytes | None:
        return None

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        return ()

    def timer(self, now: float) -> None:
        pass

    def closed(self, error: LinkError | None, now: float) -> None:
        self._link = None
        self._end("the client is gone" if error is None else error.message)
        self._news.set()
        self._gone.set()

    def _refuse(self, link: Link, stream: int) -> None:
        self._refused += 1
        log.debug("stream refused", client=self.name, stream=stream)
        link.refuse(stream)
        if self._refused > MAX_REFUSED:
            self._end("it goes on opening streams")
            link.close()

    # --- the two ways ---------------------------------------------------------------------------------------------

    async def serve(self, stream: ByteStream) -> None:
        """Until either side has ended and the other one was told all that it had said."""
        up, down = asyncio.create_task(self._up(stream)), asyncio.create_task(self._down(stream))
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({up, down, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                await asyncio.wait({up}, timeout=CLOSE_TIME)
                stream.end()
                await asyncio.wait({down}, timeout=CLOSE_TIME)
        finally:
            for task in (up, down, gone):
                task.cancel()

    def close(self) -> None:
        """End the client's side, after what is on its way."""
        if self._link is not None:
            self._link.close()

    async def _up(self, stream: ByteStream) -> None:
        """Client to broker, until the client ends or is silent for too long."""
        patience = KEEP_ALIVE_GRACE * self._keep_alive + KEEP_ALIVE_MARGIN if self._keep_alive else None
        while True:
            if self._waiting:
                await stream.write(self._take())
            elif self._ended or self._link is None:
                self._end("the client ended its stream")
                return
            elif not await self._something(patience):
                self._end("nothing was heard for more than the client's keep-alive")
                return

    async def _something(self, patience: float | None) -> bool:
        """Wait for news, at most `patience` seconds."""
        self._news.clear()
        try:
            async with asyncio.timeout(patience):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _take(self) -> bytes:
        data, self._waiting = bytes(self._waiting), bytearray()
        if self._paused and self._link is not None:
            self._paused = False
            self._link.resume(CONTROL_STREAM)
        return data

    async def _down(self, stream: ByteStream) -> None:
        """Broker to client, as far as the client takes it."""
        answered = False
        while data := await stream.read():
            if self._link is None:
                return
            if not answered and _lets_in(data):
                self._link.admit(b"")
            answered = True
            self._link.write(CONTROL_STREAM, data)
            while self._is_full():
                await asyncio.sleep(POLL)
        self._end("the broker closed the connection")

    def _is_full(self) -> bool:
        return self._link is not None and self._link.unsent(CONTROL_STREAM) > MAX_WAITING_OUT

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason


def _lets_in(data: bytes) -> bool:
    """Whether a broker's first bytes are a CONNACK that says yes."""
    header = next((at for at, byte in enumerate(data[1:5], 2) if byte < 0x80), len(data))
    return data[:1] == b"\x20" and data[header + 1 : header + 2] == b"\x00"
