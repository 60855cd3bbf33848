"""Bytes to and from an endpoint: TCP, TLS, UDP or a serial line, on the event loop.

What is received goes to the `receiver`; a channel that ends by itself tells it once. Transports are taken by their
interface: those of other event loops (uvloop) do not derive from asyncio's.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import cast

from twingateway.errors import DeviceUnreachable
from twingateway_modbus.address import AddressSettings, TlsSettings, Transport
from twingateway_modbus.bytes_port import Channel, Receiver


async def open_channel(address: AddressSettings, receiver: Receiver) -> Channel:
    """Raises DeviceUnreachable; the caller limits the time."""
    if address.serial is not None:
        from twingateway_modbus.serial_line import SerialLine

        data_bits = address.serial.data_bits or (7 if address.transport is Transport.ASCII else 8)
        return SerialLine(address.serial, data_bits, receiver)
    assert address.host is not None
    context = _tls(address.tls or TlsSettings.model_validate({})) if address.transport is Transport.TLS else None
    loop = asyncio.get_running_loop()
    try:
        if address.transport is Transport.UDP:
            _, datagrams = await loop.create_datagram_endpoint(
                lambda: _Datagrams(receiver), remote_addr=(address.host, address.tcp_port)
            )
            return datagrams
        name = (address.tls and address.tls.server_name) or address.host
        _, stream = await loop.create_connection(
            lambda: _Stream(receiver),
            address.host,
            address.tcp_port,
            ssl=context,
            server_hostname=name if context else None,
        )
    except ssl.SSLError as error:
        raise DeviceUnreachable(f"no TLS with {address.endpoint}: {_refusal(error)}") from error
    except OSError as error:
        hint = "is the address right and the device on?"
        raise DeviceUnreachable(f"no connection to {address.endpoint} ({in_words(error)}); {hint}") from error
    return stream


def _refusal(error: ssl.SSLError) -> str:
    """Why the handshake failed, and which setting may be about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _alert(error) or str(error.reason or error)
    about_name = "mismatch" in error.verify_message.lower()
    hint = "server_name: the name in its certificate" if about_name else "ca_file: who signed its certificate"
    return f"its certificate is not accepted ({error.verify_message.rstrip('.')}); {hint}"


def _alert(error: ssl.SSLError) -> str:
    """What the other end's TLS said, in words: `certificate required`."""
    return (error.reason or str(error)).rpartition("ALERT_")[2].replace("_", " ").lower()


def in_words(error: OSError) -> str:
    """asyncio puts its own words in place of the system's."""
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if known and error.errno is not None else str(error) or type(error).__name__


def _tls(settings: TlsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise DeviceUnreachable(f"the tls settings cannot be used: {error}") from error
    return context


class _Stream(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(_alert(exc) if isinstance(exc, ssl.SSLError) else "")

    @property
    def alive(self) -> bool:
        return self._receiver is not None and self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._receiver is not None:
            self._receiver.received(data)

    def error_received(self, exc: Exception) -> None:
        """The host said that nobody listens on the port: the next request gets a socket of its own."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost()

    @property
    def alive(self) -> bool:
        return self._receiver is not None and self._transport is not None

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.sendto(data)

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()
