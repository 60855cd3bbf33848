"""The certificates by which a client judges a server's; read at each dial, so replacing the file needs no restart."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from twingateway.errors import LinkError


def read_trusted(ca_file: Path | None) -> bytes | None:
    """The trusted certificates as plain PEM; None (the system's are trusted) without a file. Raises LinkError."""
    if ca_file is None:
        return None
    try:
        certificates = x509.load_pem_x509_certificates(ca_file.read_bytes())
    except (OSError, ValueError) as problem:
        raise LinkError(f"the trusted certificates in {ca_file} cannot be read: {problem}") from problem
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
