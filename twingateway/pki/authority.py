"""A small certificate authority in a directory, for people who have none.

`ca.crt`, `ca.key` and `ca.crl` (the signed revocation list), `ca.issued` (one line for each certificate ever issued:
serial, namespace, name), and the nodes' own `NAME.crt` and `NAME.key`, those of another namespace than `default` in a
folder of its name. A node's certificate serves as its TLS server certificate and as its identity.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twingateway.errors import CertificateError
from twingateway.mqtt.auth import Identity
from twingateway.pki import pem
from twingateway.pki.identity import node_uri
from twingateway.pki.role import role_extension
from twingateway.twin.identity import DEFAULT_NAMESPACE

_AUTHORITY_LIFETIME = timedelta(days=3652)
#: Certificates are valid a little before they are made, for clocks that are late.
_BACKDATING = timedelta(hours=1)
_MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    certificate: Path
    key: Path
    revocations: Path
    expires: datetime


@dataclass(frozen=True, slots=True)
class IssuedFiles:
    certificate: Path
    key: Path
    ca: Path
    expires: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """`certificates`: how many certificates of that name are revoked now."""

    name: str
    certificates: int
    revocations: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class _Subject:
    """Whom a certificate is for."""

    name: str
    names: list[x509.GeneralName]
    role: str | None


def create_authority(directory: Path, *, name: str = "twingateway CA", force: bool = False) -> AuthorityFiles:
    """Make a CA that is valid for ten years. Raises CertificateError, also if there is one and `force` is not set."""
    files = _authority_paths(directory)
    _refuse_overwriting(
        force, "a new authority would void all that it issued; name another folder", files.certificate, files.key
    )
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Two authorities are told apart by their names, hence the serial number in it.
    subject = _common_name(f"{name[: _MAX_COMMON_NAME - 9]} {serial:x}"[:_MAX_COMMON_NAME])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), serial)
        .not_valid_before(now - _BACKDATING)
        .not_valid_after(now + _AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem.write(files.key, _key_pem(key), pem.PRIVATE)
    pem.write(files.certificate, certificate.public_bytes(Encoding.PEM), pem.PUBLIC)
    pem.write(_index(directory), b"", pem.PUBLIC)
    _write_revocations(files.revocations, _Authority(certificate, key), set())
    return AuthorityFiles(files.certificate, files.key, files.revocations, certificate.not_valid_after_utc)


def issue(
    directory: Path,
    name: str,
    *,
    hosts: Sequence[str] = (),
    namespace: str = DEFAULT_NAMESPACE,
    days: int = 825,
    role: str | None = None,
    device: bool = False,
    force: bool = False,
) -> IssuedFiles:
    """Make a node's key and certificate. `hosts`: the DNS names and IP addresses under which it will be reached.
    `role`: what Modbus devices are to take it for. `device`: it is for something that is no node, and names none.

    Raises CertificateError, also when they exist and `force` is not set; renewing does not revoke what is replaced.
    """
    authority = _read_authority(directory)
    uri = node_uri(Identity(namespace, name))
    if namespace == DEFAULT_NAMESPACE and name.lower() == "ca":
        raise CertificateError("'ca' is the name of the authority's own files: choose another for the node")
    if days < 1:
        raise CertificateError("a certificate must be valid for at least one day")
    certificate_file, key_file = _node_paths(directory, name, namespace)
    _refuse_overwriting(force, "only --force replaces it", certificate_file, key_file)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [*([] if device else [x509.UniformResourceIdentifier(uri)]), *map(_host, hosts)]
    certificate = _certificate(authority, key.public_key(), _Subject(name, names, role), days)
    _note(directory, certificate, namespace, name)
    pem.write(key_file, _key_pem(key), pem.PRIVATE)
    pem.write(certificate_file, certificate.public_bytes(Encoding.PEM), pem.PUBLIC)
    ca = _authority_paths(directory).certificate
    return IssuedFiles(certificate_file, key_file, ca, certificate.not_valid_after_utc)


def revoke(directory: Path, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> Revoked:
    """Put every certificate ever issued to that node on the revocation list, for good. Raises CertificateError."""
    authority = _read_authority(directory)
    serials = {
        int(serial, 16)
        for serial, *identity in map(str.split, _read_index(directory).splitlines())
        if identity == [namespace, name]
    }
    if not serials:
        raise CertificateError(f"no certificate was issued to {namespace}/{name} here")
    revocations = _authority_paths(directory).revocations
    listed = {entry.serial_number for known in pem.read_revocations(revocations) for entry in known}
    _write_revocations(revocations, authority, listed | serials)
    return Revoked(name, len(serials), revocations)


@dataclass(frozen=True, slots=True)
class _AuthorityPaths:
    certificate: Path
    key: Path
    revocations: Path


def _authority_paths(directory: Path) -> _AuthorityPaths:
    return _AuthorityPaths(directory / "ca.crt", directory / "ca.key", directory / "ca.crl")


def _node_paths(directory: Path, name: str, namespace: str) -> tuple[Path, Path]:
    folder = directory if namespace == DEFAULT_NAMESPACE else directory / namespace
    return folder / f"{name}.crt", folder / f"{name}.key"


def _index(directory: Path) -> Path:
    return directory / "ca.issued"


def _read_index(directory: Path) -> str:
    return pem.read_bytes(_index(directory)).decode("ascii", "replace")


def _note(directory: Path, certificate: x509.Certificate, namespace: str, name: str) -> None:
    """Before the certificate is written, so that there is none that cannot be revoked."""
    line = f"{certificate.serial_number:x} {namespace} {name}\n"
    pem.write(_index(directory), (_read_index(directory) + line).encode(), pem.PUBLIC)


def _read_authority(directory: Path) -> _Authority:
    files = _authority_paths(directory)
    if not files.certificate.exists():
        raise CertificateError(
            f"{directory} holds no authority; `twingateway pki init {directory}` makes one",
            file=str(files.certificate),
        )
    certificate = pem.read_certificates(files.certificate)[0]
    key = pem.read_key(files.key)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError(f"{files.key} is not the key of {files.certificate}", file=str(files.key))
    return _Authority(certificate, key)


def _certificate(
    authority: _Authority, key: ec.EllipticCurvePublicKey, subject: _Subject, days: int
) -> x509.Certificate:
    now = datetime.now(UTC)
    end = authority.certificate.not_valid_after_utc
    if now >= end:
        raise CertificateError(f"the authority expired on {end:%Y-%m-%d}: create a new one")
    issuer_key = authority.key.public_key()
    builder = (
        x509.CertificateBuilder(authority.certificate.subject, _common_name(subject.name[:_MAX_COMMON_NAME]), key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - _BACKDATING, authority.certificate.not_valid_before_utc))
        .not_valid_after(min(now + timedelta(days=days), end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    if subject.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(subject.names), critical=False)
    if subject.role is not None:
        builder = builder.add_extension(role_extension(subject.role), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _write_revocations(path: Path, authority: _Authority, serials: set[int]) -> None:
    now = datetime.now(UTC)
    end = authority.certificate.not_valid_after_utc
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, now, end)
    for serial in sorted(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    pem.write(path, builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM), pem.PUBLIC)


def _refuse_overwriting(force: bool, hint: str, *files: Path) -> None:
    for file in files:
        if file.exists() and not force:
            raise CertificateError(f"{file} exists already: {hint}", file=str(file))


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        if not host or any(character.isspace() or character in "/:" for character in host):
            raise ValueError("spaces, '/' and ':' are not allowed")
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(f"{host!r} is neither a DNS name nor an IP address: {error}") from error


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
