"""The public listener in front of the embedded broker: only checked packets pass, only the offender is closed.

Strategy: one task reads a client's socket, has every byte inspected and feeds whole packets to the broker; a second
one is the broker's own handling of that connection. Both end together. The way back is passed through.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twingateway.broker.inspect import Inspector, Packet, PacketType, Refused
from twingateway.broker.pipe import Inlet, Outlet
from twingateway.errors import BrokerError, ProtocolViolation

MAX_CONNECTIONS = 1000
#: Messages of one client that may wait inside the broker before the client is read from again.
MAX_PENDING = 200
#: Seconds that the broker gets to finish with a connection that has ended.
CLOSE_TIME = 5.0
_READ_SIZE = 64 * 1024
_POLL = 0.005


class GuardedBroker(Protocol):
    """What stands behind the guard."""

    async def attach(self, inlet: Inlet, outlet: Outlet) -> None:
        """Serve one client from its CONNECT; returns when done with it."""
        ...

    def pending(self, client_id: str) -> int:
        """Messages of this client that the broker has taken and not yet begun to pass on."""
        ...

    @property
    def congested(self) -> bool:
        """More messages wait for distribution than should: clients are to be read from later."""
        ...


class Guard:
    """`refused` counts the connections that were closed for what they sent or did not send."""

    def __init__(
        self, broker: GuardedBroker, listen: tuple[str, int], log: Any, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self.refused = 0
        self._broker = broker
        self._listen = listen
        self._log = log
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._by_client: dict[str, _Connection] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, with the port that was really bound."""
        if self._server is None:
            raise BrokerError("the broker is not listening")
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Raises BrokerError if the address cannot be bound."""
        try:
            self._server = await asyncio.start_server(self._accept, *self._listen, limit=_READ_SIZE)
        except OSError as error:
            host, port = self._listen
            raise BrokerError(
                f"cannot listen for MQTT clients on {host}:{port}: {error.strerror or error}"
            ) from error

    async def stop(self) -> None:
        """Close the listener and every connection; wills are published."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in self._connections:
            connection.close("the broker is stopping")
        await asyncio.gather(*(connection.finished.wait() for connection in self._connections))
        for connection in self._connections:
            connection.abort()
        await server.wait_closed()

    async def admit(self, client_id: str, connection: _Connection) -> None:
        """A client has one connection: close an older one and wait until the broker is done with it (3.1.4)."""
        while (older := self._by_client.get(client_id)) is not None:
            older.close("the client connected again")
            await older.finished.wait()
        self._by_client[client_id] = connection

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        if self._server is None or len(self._connections) >= self._max_connections:
            self._log.warning("mqtt client refused", peer=peer, reason="too many connections")
            self.refused += 1
            writer.transport.abort()
            return
        connection = _Connection(self._broker, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve(self.admit)
        except ProtocolViolation as violation:
            self.refused += 1
            self._log.warning("mqtt client refused", peer=peer, client=connection.client_id, reason=violation.message)
        finally:
            await self._end(connection)

    async def _end(self, connection: _Connection) -> None:
        try:
            await connection.end()
        except Exception as error:
            self._log.error("the embedded broker failed", client=connection.client_id, error=repr(error))
        if self._by_client.get(connection.client_id) is connection:
            del self._by_client[connection.client_id]
        connection.finished.set()
        await connection.flushed()
        self._connections.discard(connection)


class _Connection:
    def __init__(self, broker: GuardedBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client_id = ""
        self.finished = asyncio.Event()
        self._broker = broker
        self._reader = reader
        self._writer = writer
        self._inlet = Inlet()
        self._outlet = Outlet(writer)
        self._broker_side: asyncio.Task[None] | None = None
        self._client_side: asyncio.Task[None] | None = None
        self._now = asyncio.get_running_loop().time

    async def serve(self, admit: Callable[[str, _Connection], Awaitable[None]]) -> None:
        """Until either side ends. Raises ProtocolViolation."""
        self._client_side = asyncio.create_task(self._read(admit))
        try:
            await asyncio.wait([self._client_side])
            if not self._client_side.cancelled():
                self._client_side.result()
        except Refused as refusal:
            self._writer.write(refusal.reply)
            raise
        finally:
            self._client_side.cancel()
        if self._outlet.overflowed:
            raise ProtocolViolation("the client does not take what it subscribed to", reason_code=0x97)

    async def end(self) -> None:
        """Let the broker finish with this client. Raises whatever the broker failed with."""
        await self._end_broker_side()
        self._writer.close()

    def close(self, reason: str) -> None:
        """End this connection from outside."""
        if self._client_side is not None:
            self._client_side.cancel(reason)
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def flushed(self) -> None:
        """Give the client a moment to take what was written to it, then drop the socket."""
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self.abort()

    async def _read(self, admit: Callable[[str, _Connection], Awaitable[None]]) -> None:
        inspector = Inspector(self._now())
        while data := await self._next_bytes(inspector.deadline):
            for packet in inspector.receive(data, self._now()):
                if packet.type is PacketType.CONNECT:
                    packet = await self._connect(inspector, admit)
                await self._forward(packet)
                inspector.resumed(self._now())
                if packet.type is PacketType.DISCONNECT:
                    return

    async def _next_bytes(self, deadline: float | None) -> bytes:
        """Empty at the end of the connection, however it came."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._reader.read(_READ_SIZE)
        except TimeoutError:
            raise ProtocolViolation("the client has been silent for too long", reason_code=0x8D) from None
        except ConnectionError:
            return b""

    async def _connect(self, inspector: Inspector, admit: Callable[[str, _Connection], Awaitable[None]]) -> Packet:
        connect = inspector.connect
        assert connect is not None, "a CONNECT was just inspected"
        generated = f"anonymous-{secrets.token_hex(8)}" if connect.clean_session else ""
        self.client_id = connect.client_id or generated
        if self.client_id:
            await admit(self.client_id, self)
        self._broker_side = asyncio.create_task(self._broker.attach(self._inlet, self._outlet))
        self._broker_side.add_done_callback(self._broker_ended)
        return connect.packet(self.client_id)

    def _broker_ended(self, task: asyncio.Task[None]) -> None:
        if self._client_side is not None:
            self._client_side.cancel("the broker closed the connection")

    async def _forward(self, packet: Packet) -> None:
        if packet.type is PacketType.DISCONNECT:
            await self._settle()
        self._inlet.feed(packet.data)
        await self._inlet.room()
        if packet.type is PacketType.PUBLISH:
            await self._wait_for_broker()

    async def _wait_for_broker(self) -> None:
        """Its queues have no limit of their own, and no event to wait for."""
        while True:
            if self._broker.pending(self.client_id) <= MAX_PENDING and not self._broker.congested:
                return
            await asyncio.sleep(_POLL)

    async def _settle(self) -> None:
        """The broker forgets what it has not passed on when a client leaves: let it catch up first."""
        quiet = 0
        end = self._now() + CLOSE_TIME
        while quiet < 2 and self._now() < end and self._broker_side is not None and not self._broker_side.done():
            await asyncio.sleep(_POLL)
            quiet = 0 if self._inlet.waiting or self._broker.pending(self.client_id) else quiet + 1

    async def _end_broker_side(self) -> None:
        task = self._broker_side
        if task is None:
            return
        await self._settle()
        self._inlet.feed_eof()
        await asyncio.wait([task], timeout=CLOSE_TIME)
        if task.done():
            task.result()
        else:
            task.cancel()


def _peer(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if peer else "unknown"
