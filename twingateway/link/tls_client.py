"""Dials TLS links where QUIC does not get through: resolves the name each time, verifies the certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

from twingateway.errors import LinkError
from twingateway.link.names import Whereabouts
from twingateway.link.server_identity import ALPN
from twingateway.link.tcp_connect import connect_tcp
from twingateway.link.tls_link import TlsLink
from twingateway.link.trust import read_trusted
from twingateway.ports.link import Knocking, Link, LinkHandler

#: Seconds for a dial in all.
DIAL_TIMEOUT = 10.0


class TlsDialer:
    """Implements `twingateway.ports.link.Dialer`. Arguments as of `QuicDialer`; the port is TCP; `strict` see
    `TlsLink`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ca_file: Path | None = None,
        server_name: str | None = None,
        dial_timeout: float = DIAL_TIMEOUT,
        strict: bool = True,
    ) -> None:
        self._host = host
        self._port = port
        self._whereabouts = Whereabouts(host, port, socket.SOCK_STREAM)
        self._ca_file = ca_file
        self._server_name = server_name or host
        self._dial_timeout = dial_timeout
        self._strict = strict

    async def dial(self, handler: LinkHandler, knocking: Knocking | None = None) -> Link:
        """See the port; it asks once a second in any case. A handler whose link was never `connected` hears nothing;
        the exception says why. Raises NotAuthorized if the certificate does not verify, else LinkError."""
        loop = asyncio.get_running_loop()
        context = self._make_context()
        link: TlsLink | None = None
        try:
            async with asyncio.timeout(self._dial_timeout):
                connected = await connect_tcp(await self._whereabouts.find())
                _, link = await loop.create_connection(
                    lambda: TlsLink(context, lambda: handler, server_name=self._server_name, strict=self._strict),
                    sock=connected,
                )
                await asyncio.shield(link.opened)
        except TimeoutError:
            self._give_up(link)
            text = f"{self._host}:{self._port} does not answer (TCP, waited {self._dial_timeout:g} s)"
            raise LinkError(text) from None
        except OSError as problem:
            raise LinkError(f"{self._host}:{self._port} cannot be reached (TCP): {problem}") from problem
        except asyncio.CancelledError:
            self._give_up(link)
            raise
        return link

    def _give_up(self, link: TlsLink | None) -> None:
        if link is not None:
            link.abort(LinkError("given up"))

    def _make_context(self) -> ssl.SSLContext:
        trusted = read_trusted(self._ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        if trusted is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=trusted.decode())
        return context
