"""Dials QUIC links to a parent: resolves its name each time (see `names`), tries its addresses in turn, verifies its
certificate."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import SessionTicket

from twingateway.errors import LinkError
from twingateway.link.connection import IDLE_TIMEOUT, PulledConnection, configuration
from twingateway.link.names import Whereabouts
from twingateway.link.quic_link import QuicLink
from twingateway.link.tickets import KeptTicket, TicketStore
from twingateway.link.trust import read_trusted
from twingateway.ports.link import Knocking, Link, LinkHandler

#: Seconds for a dial in all, and for one attempt where a name has several addresses.
DIAL_TIMEOUT = 10.0
ATTEMPT_TIMEOUT = 2.5

#: The first packet is never sent again sooner than this share of the round trip that one took last. It is padded, so
#: a thin link shows in that: at 64 kbit/s and 100 ms it makes for four packets a second.
FIRST_TRIP_SHARE = 0.6


class QuicDialer:
    """Implements `twingateway.ports.link.Dialer`.

    `ca_file`: PEM of the certificates to trust, None for the system's. `server_name`: the name or IP address that the
    certificate must be for, None for `host`. `keep_alive`: seconds of silence after which a PING is sent, which must
    be well below `idle_timeout` (seconds of silence that end the link). `tickets`: where sessions to resume are kept.
    `early_data`: let the handler's `early_datagrams` go ahead of the handshake when such a ticket permits it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ca_file: Path | None = None,
        server_name: str | None = None,
        keep_alive: float = 15.0,
        tickets: TicketStore | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        dial_timeout: float = DIAL_TIMEOUT,
        early_data: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._whereabouts = Whereabouts(host, port, socket.SOCK_DGRAM)
        self._ca_file = ca_file
        self._server_name = server_name or host
        self._keep_alive = keep_alive
        self._tickets = tickets
        self._idle_timeout = idle_timeout
        self._dial_timeout = dial_timeout
        self._early_data = early_data
        self._first_trip: float | None = None
        """How long the first packet of the last link took to be answered, in seconds."""
        self._unasked_at: dict[Any, float] = {}
        """See `KnockingConnection`, by address."""

    async def dial(self, handler: LinkHandler, knocking: Knocking | None = None) -> Link:
        """See the port. A handler whose link was never `connected` hears nothing; the exception says why.
        Raises NotAuthorized if the certificate does not verify, LinkError for anything else."""
        loop = asyncio.get_running_loop()
        trusted = read_trusted(self._ca_file)
        often = self._bounded(knocking)
        try:
            addresses = await self._whereabouts.find()
        except OSError as problem:
            raise LinkError(f"{self._host} cannot be resolved: {problem.strerror or problem}") from problem
        deadline = loop.time() + self._dial_timeout
        for family, address in itertools.cycle(addresses):
            left = deadline - loop.time()
            if left <= 0:
                break
            patience = left if len(addresses) == 1 else min(left, ATTEMPT_TIMEOUT)
            link = await self._attempt(handler, trusted, family, address, patience, often)
            if link is not None:
                self._first_trip = link.facts().smoothed_rtt
                self._unasked_at.clear()
                return link
        raise LinkError(f"{self._host}:{self._port} does not answer (UDP, waited {self._dial_timeout:g} s)")

    def _bounded(self, knocking: Knocking | None) -> Knocking | None:
        if knocking is None or self._first_trip is None:
            return None
        return replace(knocking, every=max(knocking.every, FIRST_TRIP_SHARE * self._first_trip))

    async def _attempt(
        self,
        handler: LinkHandler,
        trusted: bytes | None,
        family: int,
        address: Any,
        patience: float,
        knocking: Knocking | None,
    ) -> QuicLink | None:
        """A link to this address, or None if nothing came of it in time."""
        loop = asyncio.get_running_loop()
        server = f"{self._host}:{self._port} {self._server_name} {hashlib.sha256(trusted or b'').hexdigest()}"
        kept = self._tickets.pop(server) if self._tickets else None
        link = self._make_link(handler, trusted, server, kept)
        link.connection.knocking = knocking
        link.connection.unasked_at = self._unasked_at.get(address, -math.inf)
        unbound = ("0.0.0.0" if family == socket.AF_INET else "::", 0)
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: link, local_addr=unbound)
        except OSError as problem:
            raise LinkError(f"no UDP socket: {problem}") from problem
        link._connection_terminated_handler = transport.close
        link.connect(address)
        try:
            await asyncio.wait({link.opened}, timeout=patience)
        except asyncio.CancelledError:
            link.abort(LinkError("cancelled"))
            raise
        finally:
            self._unasked_at[address] = link.connection.unasked_at
            if self._tickets is not None and kept is not None and not link.connection.heard:
                self._tickets.put_back(server, kept)
        if link.opened.done():
            link.opened.result()
            return link
        transport.abort()
        return None

    def _make_link(
        self, handler: LinkHandler, trusted: bytes | None, server: str, kept: KeptTicket | None
    ) -> QuicLink:
        config = configuration(is_client=True, idle_timeout=self._idle_timeout)
        config.server_name = self._server_name
        config.verify_mode = ssl.CERT_REQUIRED
        _trust(config, trusted)
        if kept is not None:
            early = kept.ticket.max_early_data_size if self._early_data else None
            config.session_ticket = replace(kept.ticket, max_early_data_size=early)
        link: QuicLink

        def keep(ticket: SessionTicket) -> None:
            if self._tickets is not None:
                self._tickets.keep(server, ticket, link.server_certificate)

        connection = PulledConnection(configuration=config, session_ticket_handler=keep if self._tickets else None)
        if self._early_data:
            connection.early_source = handler.early_datagrams
        link = QuicLink(
            connection,
            make_handler=lambda: handler,
            known_certificate=kept.certificate if kept else b"",
            keep_alive=self._keep_alive,
        )
        return link


def _trust(config: QuicConfiguration, trusted: bytes | None) -> None:
    if trusted is not None:
        config.load_verify_locations(cadata=trusted)
        return
    system = ssl.get_default_verify_paths()
    config.load_verify_locations(cafile=system.cafile, capath=system.capath)
