"""Certificates, and two ends of a link that write down what they hear."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from twingateway.errors import LinkError
from twingateway.ports.link import Link


class Authority:
    """A certificate authority that lives as long as a test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _sign(self, subject, public_key, *, ca=False, hosts=(), days=10):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str, *, hosts=("127.0.0.1", "localhost"), days=10) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), hosts=hosts, days=days)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass
class Recorder:
    """A LinkHandler that writes down what it hears and sends what a test gives it."""

    link: Link | None = None
    connected_at: float | None = None
    streams: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    datagrams: list[tuple[float, bytes]] = field(default_factory=list)
    offered: list[bytes] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    timers: list[float] = field(default_factory=list)
    closings: list[LinkError | None] = field(default_factory=list)
    source: Callable[[int, float], bytes | None] | None = None
    on_connected: Callable[[Link], None] | None = None
    on_stream_data: Callable[[Link, int, bytes], None] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, link: Link, now: float) -> None:
        self.link, self.connected_at = link, now
        if self.on_connected:
            self.on_connected(link)
        self.news.set()

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        self.streams[stream] = self.streams.get(stream, b"") + data
        if end:
            self.ended.add(stream)
        if self.on_stream_data:
            self.on_stream_data(self.link, stream, data)
        self.news.set()

    def datagram(self, data: bytes, now: float) -> None:
        self.datagrams.append((now, data))
        self.news.set()

    def next_datagram(self, room: int, now: float) -> bytes | None:
        self.rooms.append(room)
        if self.source:
            return self.source(room, now)
        return self.offered.pop(0) if self.offered else None

    def timer(self, now: float) -> None:
        self.timers.append(now)
        self.news.set()

    def closed(self, error: LinkError | None, now: float) -> None:
        self.closings.append(error)
        self.news.set()

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until `condition` holds; it is looked at after each piece of news."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.news.clear()
                await self.news.wait()


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "test-root")


@pytest.fixture(scope="session")
def server_files(authority) -> tuple[Path, Path]:
    return authority.issue("server")


@pytest.fixture
def recorder() -> Callable[..., Recorder]:
    return Recorder
