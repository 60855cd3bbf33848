"""The way into the node's broker for clients that come by another listener: one TCP connection each."""

from __future__ import annotations

import asyncio
import contextlib

from twingateway.errors import BrokerError
from twingateway.ports.byte_stream import ByteStream

_READ_SIZE = 64 * 1024
#: Addresses that a broker listens on for everybody, and where it is reached from here.
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class BrokerDoor:
    """The broker at `host`:`port`, embedded or external; `open` is an `OpenStream`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = _UNSPECIFIED.get(host, host)
        self._port = port

    async def open(self) -> ByteStream:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=_READ_SIZE)
        except OSError as error:
            message = f"the MQTT broker at {self._host}:{self._port} cannot be reached: {error.strerror or error}"
            raise BrokerError(message) from error
        return TcpStream(reader, writer)


class TcpStream:
    """Implements `ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_READ_SIZE)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
