"""Is this chain, presented by someone who claims to be a node, true?

The path is walked from the node's certificate upwards; each certificate must be valid now, not revoked, and issued by
the next one, until one was issued by (or is) a certificate of the CA file. Done step by step rather than by a web
profile's verifier, because private CAs leave out what that insists on, and because each refusal is to name its cause.
Everything not understood (critical extensions, weak hashes, unreadable lists) refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from twingateway.errors import CertificateError, NotAuthorized, Unavailable
from twingateway.mqtt.auth import Identity
from twingateway.pki.identity import identity_of
from twingateway.pki.pem import read_certificates, read_revocations
from twingateway.pki.signature import is_valid, require_supported
from twingateway.pki.watched import Watched

E = TypeVar("E", bound=x509.ExtensionType)

MAX_CHAIN = 4
_MINUTE = "%Y-%m-%d %H:%M UTC"

_HASHES = frozenset({"sha256", "sha384", "sha512"})
_UNDERSTOOD = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
    }
)
#: What cryptography raises, at first use, for a part of a certificate that is not as it should be.
_MALFORMED = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion,
              x509.UnsupportedGeneralNameType)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Trust:
    anchors: tuple[x509.Certificate, ...]
    revocations: tuple[x509.CertificateRevocationList, ...]


class ChainVerifier:
    """Implements `mqtt.auth.Verifier`.

    `ca_file`: trusted certificates in PEM. `crl_file`: their signed revocation lists in PEM; a list past its next
    update still counts, for revocation is for good. Both files are read again when they change; while one of them
    cannot be read nobody is let in.
    """

    def __init__(self, ca_file: Path, crl_file: Path | None = None) -> None:
        """Raises CertificateError."""

        def read() -> _Trust:
            revocations = read_revocations(crl_file) if crl_file else []
            return _Trust(tuple(read_certificates(ca_file)), tuple(revocations))

        self._trust = Watched([file for file in (ca_file, crl_file) if file], read)

    def verify(
        self, chain: Sequence[bytes], node: str, signature: bytes | None, data: bytes, now_wall: float
    ) -> Identity:
        """See `mqtt.auth.Verifier`; raises NotAuthorized and Unavailable."""
        try:
            trust = self._trust.get()
        except CertificateError as error:
            raise Unavailable("certificates cannot be checked here now: ask whoever runs this node") from error
        certificates = _parse(chain)
        try:
            _check_path(certificates, trust, datetime.fromtimestamp(now_wall, UTC))
            leaf = certificates[0]
            _check_use(leaf)
            identity = identity_of(leaf)
            if identity.node != node:
                raise NotAuthorized(f"the certificate is for node {identity.node!r}, not for {node!r}")
            if signature is None:
                require_supported(leaf.public_key())
            elif not is_valid(leaf.public_key(), signature, data):
                raise NotAuthorized(f"the signature was not made with the key of node {node!r}")
        except CertificateError as error:
            raise NotAuthorized(error.message) from error
        except _MALFORMED as error:
            raise NotAuthorized(f"the certificate chain is malformed: {error}") from error
        return identity


def _parse(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not chain:
        raise NotAuthorized("no certificate was presented")
    if len(chain) > MAX_CHAIN:
        raise NotAuthorized(f"the certificate chain has {len(chain)} certificates; at most {MAX_CHAIN} are accepted")
    certificates = []
    for position, der in enumerate(chain, 1):
        try:
            certificates.append(_load(der))
        except _MALFORMED as error:
            raise NotAuthorized(f"number {position} of the chain is not a certificate in DER") from error
    return certificates


def _load(der: bytes) -> x509.Certificate:
    """Raises one of `_MALFORMED`, also for a signature that is said to have unused bits: no signature covers that."""
    certificate = x509.load_der_x509_certificate(der)
    if not der.endswith(b"\0" + certificate.signature):
        raise ValueError("unused bits")
    return certificate


def _check_path(certificates: list[x509.Certificate], trust: _Trust, now: datetime) -> None:
    for position, certificate in enumerate(certificates):
        _check_itself(certificate, now)
        if certificate in trust.anchors:
            return
        anchor = next((anchor for anchor in trust.anchors if _issued(anchor, certificate)), None)
        following = certificates[position + 1 : position + 2]
        issuer = anchor or next((parent for parent in following if _issued(parent, certificate)), None)
        if issuer is None:
            raise NotAuthorized(
                f"the certificate {_name(certificate)} was issued by {_text(certificate.issuer)}, "
                "which is not trusted here"
            )
        _check_issuer(issuer, position)
        _check_revocation(certificate, issuer, trust.revocations)
        if anchor is not None:
            _check_itself(anchor, now)
            return


def _check_itself(certificate: x509.Certificate, now: datetime) -> None:
    name, begin, end = _name(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise NotAuthorized(
            f"the certificate {name} is not valid before {begin:{_MINUTE}}, and here it is {now:{_MINUTE}}: "
            "check the clocks"
        )
    if now > end:
        raise NotAuthorized(f"the certificate {name} expired on {end:{_MINUTE}}: issue a new one")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise NotAuthorized(f"the certificate {name} has a condition that is not understood here")
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name not in _HASHES:
        raise NotAuthorized(f"the certificate {name} is signed with {algorithm.name}, which is too weak")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_MALFORMED):
        return False
    return True


def _check_issuer(issuer: x509.Certificate, intermediates_below: int) -> None:
    basic = _extension(issuer, x509.BasicConstraints)
    usage = _extension(issuer, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise NotAuthorized(f"the certificate {_name(issuer)} may not issue others")
    if basic.path_length is not None and intermediates_below > basic.path_length:
        raise NotAuthorized(f"the certificate {_name(issuer)} does not allow that many intermediates")


def _check_revocation(
    certificate: x509.Certificate, issuer: x509.Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> None:
    named = [revocations for revocations in lists if revocations.issuer == issuer.subject]
    # Two authorities may bear one name (a CA that was renewed), so a foreign signature only passes its list over.
    key = issuer.public_key()
    own = [revocations for revocations in named if revocations.is_signature_valid(key)]  # type: ignore[arg-type]
    if named and not own:
        raise NotAuthorized(f"the revocation list of {_name(issuer)} is not signed by it")
    for revocations in own:
        if revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise NotAuthorized(f"the certificate {_name(certificate)} was revoked")


def _check_use(leaf: x509.Certificate) -> None:
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    usage = _extension(leaf, x509.KeyUsage)
    if (extended is not None and not allowed & set(extended)) or (usage is not None and not usage.digital_signature):
        raise NotAuthorized(f"the certificate {_name(leaf)} is not meant for proving a client's name")


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    return _text(certificate.subject)


def _text(name: x509.Name) -> str:
    return repr(name.rfc4514_string()[:200])
