"""An MQTT client of somebody else's: MQTT 3.1.1 and 5 packets by hand, over QUIC by aioquic alone or over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration

from tests.fair_time import PATIENCE


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def packet(first: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, low = divmod(size, 128)
        length.append(low | (128 if size else 0))
        if not size:
            return bytes((first, *length)) + body


def connect_packet(name: str, level: int = 4, keep_alive: int = 60) -> bytes:
    properties = b"\x00" if level == 5 else b""
    return packet(0x10, b"\x00\x04MQTT" + bytes((level, 2)) + keep_alive.to_bytes(2, "big") + properties + text(name))


def subscribe(topic: str, level: int = 4) -> bytes:
    return packet(0x82, b"\x00\x01" + (b"\x00" if level == 5 else b"") + text(topic) + b"\x01")


def publish(topic: str, payload: bytes, level: int = 4) -> bytes:
    return packet(0x32, text(topic) + b"\x00\x09" + (b"\x00" if level == 5 else b"") + payload)


@dataclass
class ForeignClient:
    """Speaks on one stream; `protocol` is None over TLS."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: QuicConnectionProtocol | None = None

    def write(self, data: bytes) -> None:
        self.writer.write(data)
        if self.protocol is not None:
            self.protocol.transmit()

    async def packet(self) -> tuple[int, bytes]:
        """The next packet: first byte and body. Raises IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE):
            [first] = await self.reader.readexactly(1)
            length, shift = 0, 0
            while True:
                [byte] = await self.reader.readexactly(1)
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return first, await self.reader.readexactly(length)

    async def wanted(self, first: int) -> bytes:
        """The body of the next packet of this type."""
        while True:
            found, body = await self.packet()
            if found & 0xF0 == first & 0xF0:
                return body

    async def enter(self, name: str, level: int = 4, keep_alive: int = 60) -> bytes:
        """CONNECT; the body of CONNACK."""
        self.write(connect_packet(name, level, keep_alive))
        return await self.wanted(0x20)

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.reader.read(65536):
                pass


@asynccontextmanager
async def over_quic(address: str, ca_file: Path) -> AsyncIterator[ForeignClient]:
    host, _, port = address.rpartition(":")
    config = QuicConfiguration(alpn_protocols=["mqtt"], server_name="127.0.0.1", cafile=str(ca_file))
    async with connect(host, int(port), configuration=config) as protocol:
        reader, writer = await protocol.create_stream()
        assert writer.get_extra_info("stream_id") == 0
        yield ForeignClient(reader, writer, protocol)


@asynccontextmanager
async def over_tls(address: str, ca_file: Path) -> AsyncIterator[ForeignClient]:
    """Names no protocol, as MQTT clients do."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(ca_file))
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="127.0.0.1")
    try:
        yield ForeignClient(reader, writer)
    finally:
        writer.close()
