"""One signature scheme for each kind of key: ECDSA with SHA-256, Ed25519, RSA-PSS with SHA-256."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from twingateway.errors import CertificateError

_SHA256 = hashes.SHA256()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=padding.PSS.DIGEST_LENGTH)
_LEAST_RSA_BITS = 2048


class _Scheme(NamedTuple):
    private: type
    public: type
    sign: Callable[[Any, bytes], bytes]
    verify: Callable[[Any, bytes, bytes], None]


_SCHEMES = (
    _Scheme(
        ec.EllipticCurvePrivateKey,
        ec.EllipticCurvePublicKey,
        lambda key, data: key.sign(data, ec.ECDSA(_SHA256)),
        lambda key, signature, data: key.verify(signature, data, ec.ECDSA(_SHA256)),
    ),
    _Scheme(
        ed25519.Ed25519PrivateKey,
        ed25519.Ed25519PublicKey,
        lambda key, data: key.sign(data),
        lambda key, signature, data: key.verify(signature, data),
    ),
    _Scheme(
        rsa.RSAPrivateKey,
        rsa.RSAPublicKey,
        lambda key, data: key.sign(data, _PSS, _SHA256),
        lambda key, signature, data: key.verify(signature, data, _PSS, _SHA256),
    ),
)


def require_supported(key: PublicKeyTypes) -> None:
    """Raises CertificateError for kinds of key that nodes do not use, and for RSA keys that are too short."""
    if not any(isinstance(key, scheme.public) for scheme in _SCHEMES):
        raise CertificateError("the key is of a kind that is not supported: use EC, Ed25519 or RSA")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise CertificateError(f"the RSA key has {key.key_size} bits; at least {_LEAST_RSA_BITS} are needed")


def sign(key: PrivateKeyTypes, data: bytes) -> bytes:
    """`key` is of a supported kind."""
    return next(scheme.sign(key, data) for scheme in _SCHEMES if isinstance(key, scheme.private))


def is_valid(key: PublicKeyTypes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` was made over `data` with the private half of `key`. Raises CertificateError."""
    require_supported(key)
    scheme = next(scheme for scheme in _SCHEMES if isinstance(key, scheme.public))
    try:
        scheme.verify(key, signature, data)
    except InvalidSignature:
        return False
    return True
