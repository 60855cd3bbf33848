"""Accepts QUIC links from children: one UDP socket, whose packets are sorted to connections by connection id.

Bounds: connections (`door`); time for a handshake; and when many handshakes are under way, a client must first
show that it receives at the address it sends from (Retry), so that forged addresses cannot fill the table. What
one connection may make us hold is bounded in `limits`.

There is no stateless reset (RFC 9000 §10.3; aioquic knows none): a client of ours whose server has forgotten it
notices within a second of saying something, dials beside the old connection, and has asked before a server that
restarts is ready again. A reset would come no sooner than what the client says, and could spare that second only.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import Any, cast

import structlog
from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from twingateway.errors import LinkError
from twingateway.link.connection import IDLE_TIMEOUT, PACKET_SIZE, PulledConnection, configuration
from twingateway.link.door import Bounds, Door
from twingateway.link.doorbell import answer_to
from twingateway.link.quic_link import CLOSE_PATIENCE, QuicLink
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tickets import TicketBook, TicketDesk
from twingateway.ports.link import EarlyGate, HandlerFactory, Listener

#: Seconds that a client may take for the handshake.
HANDSHAKE_TIMEOUT = 10.0

#: Handshakes under way from which on a client must prove its address first.
RETRY_FROM = 64

_log = structlog.get_logger(__name__)


class QuicListener(asyncio.DatagramProtocol):
    """Implements `twingateway.ports.link.Listener`."""

    def __init__(
        self,
        config: QuicConfiguration,
        identity: ServerIdentity,
        make_handler: HandlerFactory,
        door: Door,
        handshake_timeout: float,
        early_gate: EarlyGate | None,
    ) -> None:
        self._config = config
        self._identity = identity
        self._pair = identity.pair
        self._make_handler = make_handler
        self._door = door
        self._handshake_timeout = handshake_timeout
        self._early_gate = early_gate
        self._loop = asyncio.get_running_loop()
        self._by_id: dict[bytes, QuicLink] = {}
        self._links: set[QuicLink] = set()
        self._under_way: set[QuicLink] = set()
        self._retry = QuicRetryTokenHandler()
        self._tickets = TicketBook()
        self._transport: asyncio.DatagramTransport | None = None
        self._closing = False

    @property
    def address(self) -> tuple[str, int]:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    @property
    def connections(self) -> int:
        """Connections that exist, also those whose handshake is under way or whose end is being waited for."""
        return len(self._links)

    async def close(self) -> None:
        """Take no more links, close those there are (see `Link.close`), then the socket."""
        self._closing = True
        for link in self._links:
            link.close()
        open_links = [link.gone for link in self._links]
        if open_links:
            await asyncio.wait(open_links, timeout=CLOSE_PATIENCE + 0.5)
        if self._transport is not None:
            self._transport.close()
            await asyncio.sleep(0)

    # --- asyncio's datagram protocol ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for link in list(self._links):
            link.connection_lost(exc)

    def error_received(self, exc: Exception) -> None:
        _log.debug("packet not sent", problem=str(exc))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._config.connection_id_length)
        except ValueError:
            self._answer_ring(data, addr)
            return
        link = self._by_id.get(header.destination_cid) or self._accept(header, len(data), addr)
        if link is not None:
            link.datagram_received(data, addr)

    def _answer_ring(self, packet: bytes, addr: Any) -> None:
        """Tell a client that asks whether we are here, unless there is no room for it."""
        answer = answer_to(packet)
        if answer is not None and not self._closing and self._door.objection(addr[0]) is None:
            self._send(answer, addr)

    # --- new connections ------------------------------------------------------------------------------------------

    def _accept(self, header: QuicHeader, size: int, addr: Any) -> QuicLink | None:
        """A link for a first packet; None if it is none, or must be answered otherwise, or there is no room."""
        if size < PACKET_SIZE or header.version is None or self._closing:
            return None
        if header.version not in self._config.supported_versions:
            self._offer_versions(header, addr)
            return None
        if header.packet_type != QuicPacketType.INITIAL:
            return None
        if self._door.objection(addr[0]) is not None:
            return None
        original, retried = header.destination_cid, None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=addr, destination_cid=header.destination_cid, token=header.token, now=self._loop.time()
                )
            except ValueError:
                return None
            retried = header.destination_cid
        elif len(self._under_way) >= RETRY_FROM:
            self._ask_for_retry(header, addr)
            return None
        return self._make_link(header.destination_cid, original, retried, addr)

    def _offer_versions(self, header: QuicHeader, addr: Any) -> None:
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return
        self._send(
            encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=self._config.supported_versions,
            ),
            addr,
        )

    def _ask_for_retry(self, header: QuicHeader, addr: Any) -> None:
        ours = os.urandom(self._config.connection_id_length)
        token = self._retry.create_token(
            address=addr,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=ours,
            now=self._loop.time(),
        )
        self._send(
            encode_quic_retry(
                version=cast(int, header.version),
                source_cid=ours,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            ),
            addr,
        )

    def _send(self, data: bytes, addr: Any) -> None:
        if self._transport is not None:
            self._transport.sendto(data, addr)

    def _renew_certificate(self) -> None:
        """Show the newest certificate. The tickets rest on the one before, which their holders take ours to be."""
        pair = self._identity.pair
        if pair is not self._pair:
            self._pair = pair
            self._tickets = TicketBook()
        self._config.certificate, self._config.certificate_chain = pair.chain[0], list(pair.chain[1:])
        self._config.private_key = pair.key

    def _make_link(self, addressed: bytes, original: bytes, retried: bytes | None, addr: Any) -> QuicLink:
        self._renew_certificate()
        tickets = TicketDesk(self._tickets, self._early_gate)
        connection = PulledConnection(
            configuration=replace(self._config),
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            session_ticket_fetcher=tickets.fetch,
            session_ticket_handler=tickets.give,
        )
        connection.offers_early = self._early_gate is not None
        connection.early_gate = tickets.early_taker
        link = QuicLink(connection, make_handler=self._make_handler, known_certificate=self._pair.der)
        link.on_admitted = partial(self._admit, link, tickets)
        link._connection_id_issued_handler = partial(self._add_id, link)
        link._connection_id_retired_handler = self._drop_id
        link._connection_terminated_handler = partial(self._forget, link)
        link.connection_made(cast(asyncio.DatagramTransport, self._transport))
        self._links.add(link)
        self._under_way.add(link)
        self._door.enter(link, addr[0])
        link.opened.add_done_callback(lambda _: self._under_way.discard(link))
        self._loop.call_later(self._handshake_timeout, self._expire, link)
        for number in {addressed, connection.host_cid}:
            self._by_id[number] = link
        return link

    def _admit(self, link: QuicLink, tickets: TicketDesk, holder: bytes) -> None:
        self._door.admit(link)
        tickets.admit(holder)

    def _add_id(self, link: QuicLink, connection_id: bytes) -> None:
        self._by_id[connection_id] = link

    def _drop_id(self, connection_id: bytes) -> None:
        self._by_id.pop(connection_id, None)

    def _expire(self, link: QuicLink) -> None:
        if not link.opened.done():
            link.abort(LinkError("the handshake was not completed in time"))

    def _forget(self, link: QuicLink) -> None:
        self._links.discard(link)
        self._under_way.discard(link)
        self._door.leave(link)
        for number in [number for number, owner in self._by_id.items() if owner is link]:
            del self._by_id[number]


async def listen_quic(
    host: str,
    port: int,
    *,
    identity: ServerIdentity,
    make_handler: HandlerFactory,
    door: Door | None = None,
    idle_timeout: float = IDLE_TIMEOUT,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    early_gate: EarlyGate | None = None,
) -> Listener:
    """Listen on `host`:`port` (0 for any free one). `make_handler` is called once a link's handshake is complete.
    `early_gate`: who takes early data; without one there is none. Raises LinkError if the address is no use."""
    config = configuration(is_client=False, idle_timeout=idle_timeout)
    loop = asyncio.get_running_loop()
    try:
        _, listener = await loop.create_datagram_endpoint(
            lambda: QuicListener(
                config, identity, make_handler, door or Door(Bounds()), handshake_timeout, early_gate
            ),
            local_addr=(host, port),
        )
    except OSError as problem:
        raise LinkError(f"cannot listen on UDP {host}:{port}: {problem.strerror or problem}") from problem
    return listener
