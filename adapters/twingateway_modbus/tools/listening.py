"""Where a simulated or replayed device is to be found, over any transport."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from twingateway.errors import InvalidConfig
from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.channel import in_words
from twingateway_modbus.simulator.server import Server

LOOPBACK = "127.0.0.1"
#: Where a simulator listens if its document names a port that is not everybody's to take.
FREE_PORT = 5020
_FIRST_FREE = 1024
#: Bits that a character takes on a line as it is by default: 8E1, 7E1.
_BITS = {Transport.RTU: 11, Transport.ASCII: 10}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a simulator shows over TLS. `client_ca`: who must have signed its clients'; None: they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises InvalidConfig."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise InvalidConfig(f"the certificate cannot be used: {error}") from error
        return context


@dataclass(frozen=True, slots=True)
class Listening:
    """`echo`: as on a two-wire line. `baud`: bytes on a pseudo-terminal take as long as they would on such a line."""

    transport: Transport = Transport.TCP
    port: int = 0
    host: str = LOOPBACK
    certificate: Certificate | None = None
    echo: bool = False
    baud: int | None = None

    @classmethod
    def of(cls, address: AddressSettings) -> Self:
        """Where a document looks for its device, as far as that is on this machine and anybody's to take."""
        host = address.host if address.host is not None and _is_loopback(address.host) else LOOPBACK
        port = address.tcp_port if address.tcp_port >= _FIRST_FREE else FREE_PORT
        return cls(address.transport, port, host, echo=address.serial is not None and address.serial.echo)

    def missed_by(self, address: AddressSettings, found: str, units: Collection[int]) -> str:
        """The address that a document has to name for the device at `found` (see `begin`), which has these units;
        empty if it does."""
        transport = "" if self.transport is Transport.TCP else f"transport: {self.transport}, "
        unit = address.unit if address.unit in units else min(units)
        if self.transport.is_serial:
            return f"{{{transport}serial: {{port: {found}}}, unit: {unit}}}"
        port = int(found.rpartition(":")[2])
        if (address.transport, address.host, address.tcp_port, address.unit) == (
            self.transport,
            self.host,
            port,
            unit,
        ):
            return ""
        return f"{{{transport}host: {self.host}, port: {port}, unit: {unit}}}"

    async def begin(self, server: Server) -> str:
        """Returns where it is to be found. Raises InvalidConfig."""
        if self.transport.is_serial:
            return server.serve_pty(echo=self.echo, byte_time=self._byte_time)
        if self.echo or self.baud is not None:
            raise InvalidConfig(f"echo and baud are of a line: {Transport.RTU} or {Transport.ASCII}")
        if self.transport is Transport.TLS and self.certificate is None:
            raise InvalidConfig("tls needs --certificate and --key")
        if self.transport is not Transport.TLS and self.certificate is not None:
            raise InvalidConfig(f"a certificate has no meaning for {self.transport}; there is --transport tls")
        try:
            return f"{self.host}:{await self._listen(server)}"
        except OSError as error:
            raise InvalidConfig(f"cannot listen on {self.host}:{self.port}: {in_words(error)}") from error

    async def _listen(self, server: Server) -> int:
        if self.transport is Transport.UDP:
            return await server.serve_udp(self.host, self.port)
        tls = None if self.certificate is None else self.certificate.context()
        return await server.serve_tcp(self.host, self.port, tls)

    @property
    def _byte_time(self) -> float:
        return 0.0 if self.baud is None else _BITS[self.transport] / self.baud


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
