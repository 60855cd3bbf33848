"""Accepts TLS links from children for which UDP does not get through. Connections and handshake time are bounded."""

from __future__ import annotations

import asyncio
from typing import cast

from twingateway.errors import LinkError
from twingateway.link.door import Bounds, Door
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tls_link import CLOSE_PATIENCE, TlsLink
from twingateway.ports.link import HandlerFactory, Listener

#: Seconds that a client may take for the handshake.
HANDSHAKE_TIMEOUT = 10.0


class _Entrance(asyncio.Protocol):
    """Stands for a connection until it is known where it comes from."""

    def __init__(self, listener: TlsListener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.accept(cast(asyncio.Transport, transport))


class TlsListener:
    """Implements `twingateway.ports.link.Listener`."""

    def __init__(
        self,
        identity: ServerIdentity,
        make_handler: HandlerFactory,
        door: Door,
        handshake_timeout: float,
        strict: bool,
    ) -> None:
        self._identity = identity
        self._make_handler = make_handler
        self._door = door
        self._handshake_timeout = handshake_timeout
        self._strict = strict
        self._loop = asyncio.get_running_loop()
        self._links: set[TlsLink] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises LinkError."""
        try:
            self._server = await self._loop.create_server(lambda: _Entrance(self), host, port)
        except OSError as problem:
            raise LinkError(f"cannot listen on TCP {host}:{port}: {problem.strerror or problem}") from problem

    @property
    def address(self) -> tuple[str, int]:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    @property
    def connections(self) -> int:
        """Connections that exist, also those whose handshake is under way or whose end is being waited for."""
        return len(self._links)

    async def close(self) -> None:
        """Take no more links, close those there are (see `Link.close`)."""
        if self._server is not None:
            self._server.close()
        open_links = [link.gone for link in self._links]
        for link in list(self._links):
            link.close()
        if open_links:
            await asyncio.wait(open_links, timeout=CLOSE_PATIENCE + 0.5)

    def accept(self, transport: asyncio.Transport) -> None:
        """A connection was made: give it to a link of its own, if there is room for it."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if self._door.objection(address) is not None:
            transport.abort()
            return
        context = self._identity.tls_context
        certificate = self._identity.tls_certificate
        link = TlsLink(context, self._make_handler, known_certificate=certificate, strict=self._strict)
        link.on_admitted = lambda holder: self._door.admit(link)
        self._door.enter(link, address)
        self._links.add(link)
        link.gone.add_done_callback(lambda _: self._forget(link))
        self._loop.call_later(self._handshake_timeout, self._expire, link)
        transport.set_protocol(link)
        link.connection_made(transport)

    def _forget(self, link: TlsLink) -> None:
        self._links.discard(link)
        self._door.leave(link)

    def _expire(self, link: TlsLink) -> None:
        if not link.opened.done():
            link.abort(LinkError("the handshake was not completed in time"))


async def listen_tls(
    host: str,
    port: int,
    *,
    identity: ServerIdentity,
    make_handler: HandlerFactory,
    door: Door | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    strict: bool = True,
) -> Listener:
    """Listen on TCP `host`:`port` (0 for any free one). `make_handler` is called once a link's handshake is complete.
    `strict`: clients must name our protocol, see `TlsLink`. Raises LinkError if the address is no use."""
    listener = TlsListener(identity, make_handler, door or Door(Bounds()), handshake_timeout, strict)
    await listener.start(host, port)
    return listener
