"""The certificate and key that a listener shows, taken into use anew when their files change.

While the new files do not fit together (the certificate is written, the key not yet) or cannot be read, the last
good pair stays. Links that are open keep the certificate they began with.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from twingateway.errors import CertificateError

_log = structlog.get_logger(__name__)

ALPN = "mqtt"


@dataclass(frozen=True, slots=True, eq=False)
class ServerPair:
    """A certificate chain, the server's own first, and its key."""

    chain: tuple[x509.Certificate, ...]
    key: Any = field(repr=False)

    @property
    def der(self) -> bytes:
        """The server's own certificate."""
        return self.chain[0].public_bytes(Encoding.DER)


class ServerIdentity:
    """Both files are PEM; the chain may follow the certificate, the key is not encrypted. Raises CertificateError."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._stamp = self._stamp_now()
        self._pair = _read(certificate, key)
        self._context: tuple[ServerPair, ssl.SSLContext] | None = None

    @property
    def pair(self) -> ServerPair:
        """The newest pair that is good; the same object until there is another one."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._pair = _read(*self._files)
            except CertificateError as problem:
                _log.warning("the listener's certificate stays as it was", problem=problem.message)
            else:
                _log.info("the listener has a new certificate", serial=f"{self._pair.chain[0].serial_number:x}")
        return self._pair

    @property
    def tls_context(self) -> ssl.SSLContext:
        """For TLS 1.3 over TCP, with the newest pair."""
        pair = self.pair
        if self._context is None or self._context[0] is not pair:
            try:
                self._context = pair, self._make_context()
            except (OSError, ssl.SSLError) as problem:
                # The files changed again between two readings; the next link finds them whole.
                if self._context is None:
                    raise CertificateError(f"the certificate {self._files[0]} cannot be used: {problem}") from problem
        return self._context[1]

    @property
    def tls_certificate(self) -> bytes:
        """The certificate (DER) that links made with the last `tls_context` show."""
        return (self._pair if self._context is None else self._context[0]).der

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        context.num_tickets = 0
        certificate, key = self._files
        context.load_cert_chain(certificate, key)
        return context

    def _stamp_now(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._files))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(certificate: Path, key: Path) -> ServerPair:
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as problem:
        raise CertificateError(f"the certificate {certificate} cannot be read: {problem}") from problem
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as problem:
        raise CertificateError(f"the key {key} cannot be read: {problem}") from problem
    if private.public_key() != chain[0].public_key():
        raise CertificateError(f"the key {key} is not that of the certificate {certificate}")
    return ServerPair(tuple(chain), private)
