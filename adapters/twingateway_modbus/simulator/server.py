"""Serves simulated units over TCP, TLS, UDP or one end of a serial line, in any framing."""

from __future__ import annotations

import asyncio
import os
import ssl
import tty
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import cast

from twingateway_modbus.address import BROADCAST, FramingName
from twingateway_modbus.framing import Framing, make_framing
from twingateway_modbus.simulator.answer import answer
from twingateway_modbus.simulator.faults import FaultKind, Faults, Sending
from twingateway_modbus.simulator.inbox import Asked, Inbox
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.rights import Rights, refusal

#: Bytes that come together on a line that takes its time.
_PIECE = 4

#: Is told of every request before it is answered: unit and PDU.
Witness = Callable[[int, bytes], None]


class Server:
    """`units`: who answers, by number; others are silent, as on a line. `faults`: by unit, None for all others.
    `rights`: what each role may do, over TLS; None: everything."""

    def __init__(
        self,
        units: Mapping[int, Memory],
        framing: FramingName = FramingName.TCP,
        faults: Mapping[int | None, Faults] | None = None,
        witness: Witness | None = None,
        rights: Rights | None = None,
    ) -> None:
        self.units = units
        self.rights = rights
        self.faults: dict[int | None, Faults] = dict(faults or {})
        self._name = framing
        self._framing: Framing = make_framing(framing)
        self._witness = witness
        self._closers: list[Callable[[], None]] = []
        self._none = Faults()

    # --- where it listens -----------------------------------------------------------------------------------------

    async def serve_tcp(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Returns the port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _TcpConversation(self), host, port, ssl=tls)
        self._closers.append(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def serve_udp(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Returns the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _UdpConversation(self), local_addr=(host, port))
        self._closers.append(transport.close)
        return int(transport.get_extra_info("sockname")[1])

    def serve_pty(self, *, echo: bool = False, byte_time: float = 0.0) -> str:
        """One end of a pseudo-terminal pair; returns the path of the other. `echo`: as on a two-wire line, all that
        the client sends comes back to it first. `byte_time`: seconds that a byte takes, both ways."""
        ours, theirs = os.openpty()
        tty.setraw(ours)
        tty.setraw(theirs)
        path = os.ttyname(theirs)
        conversation = _LineConversation(self, ours, echo=echo, byte_time=byte_time)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, conversation.readable)

        def close() -> None:
            loop.remove_reader(ours)
            conversation.close()
            os.close(ours)
            os.close(theirs)

        self._closers.append(close)
        return path

    def close(self) -> None:
        for close in self._closers:
            close()
        self._closers.clear()

    # --- conversations --------------------------------------------------------------------------------------------

    def inbox(self) -> Inbox:
        return Inbox(self._name)

    def reply(self, asked: Asked, allowed: Container[int] | None = None) -> Sending | None:
        """What to send, None for nothing. `allowed`: the functions that the client's role may use; None: all."""
        if not asked.pdu:
            return None
        if self._name is not FramingName.TCP and asked.unit == BROADCAST:
            self._tell_all(asked)
            return None
        faults = self.faults.get(asked.unit) or self.faults.get(None) or self._none
        fault = faults.choose()
        refused = fault is not None and fault.kind is FaultKind.EXCEPTION
        if asked.unit in self.units and allowed is not None and asked.pdu[0] not in allowed:
            pdu: bytes | None = refusal(asked.pdu)
        elif refused and asked.unit in self.units:
            pdu = asked.pdu  # what is refused is not done
        else:
            pdu = self.pdu_for(asked)
        if pdu is None:
            return None
        if self._witness is not None:
            self._witness(asked.unit, asked.pdu)
        return faults.spoil(fault, asked, pdu, self._framing)

    def _tell_all(self, asked: Asked) -> None:
        """To all units of a line something can be written; none replies."""
        if self._witness is not None:
            self._witness(asked.unit, asked.pdu)
        for memory in self.units.values():
            answer(asked.pdu, memory)

    def pdu_for(self, asked: Asked) -> bytes | None:
        """What a good device replies, None from one that is not there."""
        memory = self.units.get(asked.unit)
        return None if memory is None else answer(asked.pdu, memory)


def _send(sending: Sending | None, write: Callable[[bytes], None], end: Callable[[], None]) -> None:
    """Now, or after its delay."""
    if sending is None:
        return

    def go() -> None:
        for chunk in sending.chunks:
            write(chunk)
        if sending.drop:
            end()

    if sending.delay:
        asyncio.get_running_loop().call_later(sending.delay, go)
    else:
        go()


class _TcpConversation(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._inbox = server.inbox()
        self._transport: asyncio.Transport | None = None
        self._allowed: Container[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._server._closers.append(transport.abort)
        if self._server.rights is not None:
            tls = transport.get_extra_info("ssl_object")
            self._allowed = self._server.rights.of(tls.getpeercert(binary_form=True) if tls else None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None and self._transport.abort in self._server._closers:
            self._server._closers.remove(self._transport.abort)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        for asked in self._inbox.take(data):
            _send(self._server.reply(asked, self._allowed), self._write, self._end)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _UdpConversation(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        assert transport is not None
        for asked in self._server.inbox().take(data):
            _send(self._server.reply(asked), lambda reply: transport.sendto(reply, addr), lambda: None)


class _LineConversation:
    """Bytes in both directions follow each other at `byte_time`: there is one pair of wires."""

    def __init__(self, server: Server, file: int, *, echo: bool, byte_time: float) -> None:
        self._server = server
        self._inbox = server.inbox()
        self._file = file
        self._echo = echo
        self._byte_time = byte_time
        self._free_at = 0.0
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        self._file = -1

    def readable(self) -> None:
        data = os.read(self._file, 4096)
        self._after(len(data), lambda: self._take(data))

    def _take(self, data: bytes) -> None:
        if self._echo:
            self._put(data)
        for asked in self._inbox.take(data):
            _send(self._server.reply(asked), self._write, lambda: None)

    def _write(self, data: bytes) -> None:
        size = _PIECE if self._byte_time else len(data)
        for piece in (data[start : start + size] for start in range(0, len(data), size)):
            self._after(len(piece), partial(self._put, piece))

    def _after(self, size: int, act: Callable[[], None]) -> None:
        """Once so many bytes have passed behind all that went before."""
        if not self._byte_time:
            act()
            return
        self._free_at = max(self._free_at, self._loop.time()) + size * self._byte_time
        self._loop.call_at(self._free_at, act)

    def _put(self, data: bytes) -> None:
        if self._file >= 0:
            os.write(self._file, data)
