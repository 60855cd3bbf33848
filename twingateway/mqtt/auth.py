"""How a node proves who it is inside MQTT: the claim, the transcript it signs, the single-use token. See AUTH.md.

CONNECT carries the claim (node name and certificate chain). The server answers with a nonce, the node signs the
transcript of nonce, server certificate and name, and gets a token with its CONNACK. The token, presented once in a
later CONNECT with the same name and chain, stands in for the signature; everything else is checked again.

All of it is CBOR in deterministic encoding, and decoding insists on that: a claim has exactly one byte form, so
trailing bytes, duplicate keys, tags and unknown keys are refused by comparing with our own encoding.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import cbor2

from twingateway.errors import NotAuthorized, ProtocolViolation, TooLarge

#: The MQTT 5 authentication method.
METHOD = "twingateway-1"

NONCE_LENGTH = 32
TOKEN_LENGTH = 32

#: Seconds for which an unused token is kept.
TOKEN_LIFETIME = 3600

_LABEL = b"twingateway-1 node proof\x00"
_MAX_CERTIFICATES = 8
#: In bytes of UTF-8.
_MAX_NODE_NAME = 255
#: What an MQTT binary data field holds.
_MAX_CLAIM = 65_534
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """A node, as its certificate says."""

    namespace: str
    node: str


class Credential(Protocol):
    """What a node proves itself with."""

    @property
    def node(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Certificates in DER, the node's own first."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Sign with the node's key; the scheme follows from the key's type."""
        ...


class Verifier(Protocol):
    """Decides whether a claim is true."""

    def verify(
        self, chain: Sequence[bytes], node: str, signature: bytes | None, data: bytes, now_wall: float
    ) -> Identity:
        """The identity that `chain` proves; raises NotAuthorized with a message fit for the peer, Unavailable while
        nothing can be checked.

        Checks chain, validity at `now_wall` (seconds since 1970), revocation, that the certificate names `node`, and
        that `signature` over `data` was made with the certificate's key. `signature` is None, and `data` empty, when
        a token stands in for the signature.
        """
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a node says of itself in CONNECT."""

    node: str
    chain: tuple[bytes, ...]
    token: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the server gives with CONNACK: a token and how many seconds it is kept."""

    token: bytes = field(repr=False)
    lifetime: int


def identify(
    verifier: Verifier, claim: Claim, now_wall: float, signature: bytes | None = None, data: bytes = b""
) -> Identity:
    """Who makes this claim, if it is true now; without a signature, whoever was given a token or ticket for having
    proven it before. Raises NotAuthorized and Unavailable."""
    identity = verifier.verify(claim.chain, claim.node, signature, data, now_wall)
    if identity.node != claim.node:
        raise NotAuthorized(f"the certificate names {identity.node!r}, not {claim.node!r}")
    return identity


def transcript(nonce: bytes, server_certificate: bytes, node: str) -> bytes:
    """The bytes a node signs. Fixed-length fields first, so that no two inputs give the same bytes."""
    return _LABEL + nonce + hashlib.sha256(server_certificate).digest() + node.encode()


def chain_digest(chain: Sequence[bytes]) -> bytes:
    """SHA-256 over the SHA-256 of each certificate: what a token is bound to."""
    return hashlib.sha256(b"".join(hashlib.sha256(certificate).digest() for certificate in chain)).digest()


def encode_claim(claim: Claim) -> bytes:
    """Raises TooLarge when the chain does not fit into a CONNECT."""
    body: dict[str, Any] = {"node": claim.node, "chain": list(claim.chain)}
    if claim.token is not None:
        body["token"] = claim.token
    data = cbor2.dumps(body, canonical=True)
    if len(data) > _MAX_CLAIM:
        raise TooLarge(f"the certificate chain takes {len(data)} bytes; a CONNECT holds {_MAX_CLAIM}")
    return data


def decode_claim(data: bytes | None) -> Claim:
    """Raises NotAuthorized for anything but the one encoding of a claim."""
    if data is None:
        raise NotAuthorized("CONNECT carries no authentication data")
    body = _decode_map(data)
    node, chain, token = body.get("node"), body.get("chain"), body.get("token")
    if (
        not isinstance(node, str)
        or not 0 < len(node.encode()) <= _MAX_NODE_NAME
        or not isinstance(chain, list)
        or not 0 < len(chain) <= _MAX_CERTIFICATES
        or not all(isinstance(certificate, bytes) for certificate in chain)
        or not (token is None or (isinstance(token, bytes) and len(token) == TOKEN_LENGTH))
    ):
        raise NotAuthorized("the authentication data is not a node's claim")
    claim = Claim(node, tuple(chain), token)
    if encode_claim(claim) != data:
        raise NotAuthorized("the authentication data is not in deterministic encoding")
    return claim


def encode_grant(grant: Grant) -> bytes:
    return cbor2.dumps({"token": grant.token, "lifetime": grant.lifetime}, canonical=True)


def decode_grant(data: bytes) -> Grant:
    """Raises ProtocolViolation for anything but the one encoding of a grant."""
    try:
        body = _decode_map(data)
    except NotAuthorized as error:
        raise ProtocolViolation(error.message) from error
    token, lifetime = body.get("token"), body.get("lifetime")
    if (
        not isinstance(token, bytes)
        or len(token) != TOKEN_LENGTH
        or type(lifetime) is not int
        or not 0 <= lifetime < 2**32
        or encode_grant(grant := Grant(token, lifetime)) != data
    ):
        raise ProtocolViolation("the CONNACK's authentication data is not a token")
    return grant


def _decode_map(data: bytes) -> dict[str, Any]:
    try:
        body = cbor2.loads(data, max_depth=_MAX_DEPTH, strict_hashable_types=True, allow_indefinite=False)
    except cbor2.CBORError as error:
        raise NotAuthorized(f"the authentication data is not CBOR: {error}") from error
    if not isinstance(body, dict):
        raise NotAuthorized("the authentication data is not a CBOR map")
    return body


class TokenBook:
    """The tokens that are out, in memory: at most one for each node and chain, at most `capacity` in all.

    A new token replaces the node's last one; when the book is full the oldest goes, and its owner signs again.
    Times are monotonic seconds.
    """

    def __init__(self, capacity: int = 10_000, lifetime: int = TOKEN_LIFETIME) -> None:
        self.lifetime = lifetime
        self._capacity = capacity
        self._entries: OrderedDict[tuple[str, bytes], tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def issue(self, identity: Identity, chain_digest: bytes, random: bytes, now: float) -> bytes:
        """Note down `random` (32 bytes) as the token of this node and chain, and return it."""
        key = (identity.node, chain_digest)
        self._entries.pop(key, None)
        self._entries[key] = (random, now + self.lifetime)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return random

    def redeem(self, token: bytes, node: str, chain_digest: bytes, now: float) -> bool:
        """True once for a token issued to this node and chain that has not expired."""
        key = (node, chain_digest)
        expected, expires = self._entries.get(key, (b"", now))
        if not hmac.compare_digest(token, expected):
            return False
        del self._entries[key]
        return now < expires
