"""How a QUIC connection ends: what the peer is told, and what the peer, or its silence, told us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from aioquic.quic.connection import NetworkAddress
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

from twingateway.errors import LinkError
from twingateway.link.address import address_text
from twingateway.link.connection import PulledConnection
from twingateway.link.unverified import unverified

#: The longest reason that is put into a CONNECTION_CLOSE frame, in bytes.
REASON_LIMIT = 200

_CERTIFICATE_ALERTS = frozenset(
    QuicErrorCode.CRYPTO_ERROR + alert
    for alert in (
        AlertDescription.bad_certificate,
        AlertDescription.unsupported_certificate,
        AlertDescription.certificate_revoked,
        AlertDescription.certificate_expired,
        AlertDescription.certificate_unknown,
        AlertDescription.unknown_ca,
    )
)

#: What leaves in one round: bytes, and where to.
Packets: TypeAlias = Sequence[tuple[bytes, NetworkAddress]]


class Farewell:
    """The last packets of a connection. Nobody acknowledges a CONNECTION_CLOSE: it goes three times, and again
    whenever the peer still sends (RFC 9000 §10.2.1), so that a lost one does not leave the peer waiting for its idle
    time-out."""

    def __init__(
        self, connection: PulledConnection, loop: asyncio.AbstractEventLoop, send: Callable[[Packets], None]
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._send = send
        self._packets: Packets = ()

    @property
    def is_due(self) -> bool:
        """Whether the next packets are the last."""
        return self._connection._close_pending

    def say(self, code: int, reason: str, *, is_connected: bool) -> None:
        """Have the next packets be the last. A peer that is not yet connected is told in QUIC's name, not ours."""
        text = reason.encode()[:REASON_LIMIT].decode(errors="ignore")
        self._connection.close(error_code=code, frame_type=None if is_connected else 0, reason_phrase=text)

    def sent(self, packets: Packets) -> None:
        """These were the last."""
        self._packets = packets
        for repeat in (1, 2):
            self._loop.call_later(repeat * self._connection._loss.get_probe_timeout(), self.repeat)

    def repeat(self) -> None:
        """Nothing before there was a farewell."""
        self._send(self._packets)


def reason_of(connection: PulledConnection, event: ConnectionTerminated) -> LinkError | None:
    """Why a connection ended that we did not close; None if the peer closed it in good order."""
    peer = address_text(connection.get_peer_address())
    if event.reason_phrase == "Idle timeout":
        return LinkError(f"{peer} has not been heard of for {connection.configuration.idle_timeout:g} s")
    if event.error_code in _CERTIFICATE_ALERTS:
        return unverified(peer, connection.configuration.server_name, event.reason_phrase)
    if event.error_code == QuicErrorCode.NO_ERROR:
        return None
    kind = "closed" if event.frame_type is None else "broke"
    return LinkError(f"{peer} {kind} the link: {event.reason_phrase or 'no reason given'} ({event.error_code:#x})")
