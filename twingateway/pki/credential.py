"""What a node proves itself with: its certificate chain and its key, from files that may be rotated under it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from twingateway.errors import CertificateError
from twingateway.mqtt.auth import Identity
from twingateway.pki.identity import identity_of
from twingateway.pki.pem import read_certificates, read_key
from twingateway.pki.signature import require_supported, sign
from twingateway.pki.watched import Watched

_RENEW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Pair:
    identity: Identity
    chain: tuple[bytes, ...]
    begins: datetime
    expires: datetime
    key: PrivateKeyTypes = field(repr=False)


class NodeCredential:
    """Implements `mqtt.auth.Credential`; made by `load`.

    Asking for `chain` takes new files into use. While they do not fit together (the certificate is written, the key
    not yet) or name another node, the last good pair stays and `problem` says why.
    """

    def __init__(self, files: Watched[_Pair]) -> None:
        self._files = files
        self._pair = files.last
        self.problem = ""

    @classmethod
    def load(cls, certificate: Path, key: Path) -> NodeCredential:
        """`certificate`: PEM, the node's own first, then intermediates. `key`: PEM without password.

        Raises CertificateError.
        """
        return cls(Watched((certificate, key), lambda: _read(certificate, key)))

    @property
    def node(self) -> str:
        return self._pair.identity.node

    @property
    def namespace(self) -> str:
        return self._pair.identity.namespace

    @property
    def chain(self) -> tuple[bytes, ...]:
        self._refresh()
        return self._pair.chain

    @property
    def expires(self) -> datetime:
        """When the node's certificate ceases to be valid (UTC)."""
        self._refresh()
        return self._pair.expires

    @property
    def renew_by(self) -> datetime:
        """From when on a new certificate is due (UTC): 30 days before the end, or its last third if that is less."""
        self._refresh()
        pair = self._pair
        return pair.expires - min(_RENEW, (pair.expires - pair.begins) / 3)

    def sign(self, data: bytes) -> bytes:
        """With the key that belongs to the last `chain` given out."""
        return sign(self._pair.key, data)

    def _refresh(self) -> None:
        try:
            pair = self._files.get()
        except CertificateError as error:
            self.problem = error.message
            return
        if pair.identity != self._pair.identity:
            self.problem = f"the new certificate is for {pair.identity.namespace}/{pair.identity.node}, not this node"
            return
        self._pair, self.problem = pair, ""


def _read(certificate: Path, key_file: Path) -> _Pair:
    chain = read_certificates(certificate)
    key = read_key(key_file)
    leaf: x509.Certificate = chain[0]
    try:
        identity = identity_of(leaf)
        public = leaf.public_key()
        require_supported(public)
    except CertificateError as error:
        raise CertificateError(f"{certificate}: {error.message}", file=str(certificate)) from error
    except ValueError as error:
        raise CertificateError(f"{certificate} is malformed: {error}", file=str(certificate)) from error
    if key.public_key() != public:
        raise CertificateError(f"{key_file} is not the key of {certificate}", file=str(key_file))
    encoded = tuple(entry.public_bytes(Encoding.DER) for entry in chain)
    return _Pair(identity, encoded, leaf.not_valid_before_utc, leaf.not_valid_after_utc, key)
