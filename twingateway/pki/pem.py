"""Certificates, keys and revocation lists in PEM files: read with errors for people, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from twingateway.errors import CertificateError

T = TypeVar("T")

PRIVATE = 0o600
PUBLIC = 0o644

_END_OF_LIST = b"-----END X509 CRL-----"


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a file, at least one. Raises CertificateError."""
    return _parse(path, "certificate", x509.load_pem_x509_certificates)


def read_key(path: Path) -> PrivateKeyTypes:
    """Raises CertificateError, also for a key that has a password."""
    return _parse(path, "unencrypted private key", lambda data: load_pem_private_key(data, None))


def read_revocations(path: Path) -> list[x509.CertificateRevocationList]:
    """All revocation lists of a file, one behind the other. Raises CertificateError, also for none."""

    def parse(data: bytes) -> list[x509.CertificateRevocationList]:
        parts = data.split(_END_OF_LIST)
        if len(parts) < 2 or parts[-1].strip():
            raise ValueError("it does not end as a revocation list does")
        return [x509.load_pem_x509_crl(part + _END_OF_LIST) for part in parts[:-1]]

    return _parse(path, "revocation list", parse)


def read_bytes(path: Path) -> bytes:
    """Raises CertificateError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}", file=str(path)) from error


def write(path: Path, data: bytes, mode: int) -> None:
    """Replace the file in one step, so that no reader ever sees half of it. Raises CertificateError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}", file=str(path)) from error


def _parse(path: Path, what: str, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(read_bytes(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} holds no {what} in PEM: {error}", file=str(path)) from error
