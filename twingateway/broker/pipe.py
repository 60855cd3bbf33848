"""The two ends that the embedded broker sees of a guarded connection: bytes of checked packets in, packets out.

They have the shape of amqtt's reader and writer adapters without importing amqtt. Both are bounded: the guard waits
for `Inlet.room` before it feeds more, and a client that does not take what it subscribed to is cut off by `Outlet`,
since the broker would otherwise keep its share in memory without limit.
"""

from __future__ import annotations

import asyncio
import ssl

#: Bytes that may wait for the broker, and for the client, per connection.
MAX_WAITING_IN = 512 * 1024
MAX_WAITING_OUT = 4 * 1024 * 1024


class Inlet:
    """Client to broker."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Bytes that the broker has not read yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._changed.set()

    def feed_eof(self) -> None:
        self._ended = True
        self._changed.set()

    async def room(self) -> None:
        """Return when another packet may be fed."""
        while len(self._buffer) > MAX_WAITING_IN and not self._ended:
            await self._wait()

    async def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes; raises IncompleteReadError at the end."""
        while len(self._buffer) < n:
            if self._ended:
                # The broker cancels what it has begun as soon as it sees the end; let it finish.
                await asyncio.sleep(0.01)
                raise asyncio.IncompleteReadError(bytes(self._buffer), n)
            await self._wait()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        self._changed.set()
        return data

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Outlet:
    """Broker to client."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.overflowed = False

    def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > MAX_WAITING_OUT:
            self.overflowed = True
            self._writer.transport.abort()

    async def drain(self) -> None:
        """Returns at once: waiting here would make the broker collect a task per message, without limit."""

    def get_peer_info(self) -> tuple[str, int]:
        host, port = self._writer.get_extra_info("peername")[:2]
        return str(host), int(port)

    def get_ssl_info(self) -> ssl.SSLObject | None:
        return None

    async def close(self) -> None:
        self._writer.close()
