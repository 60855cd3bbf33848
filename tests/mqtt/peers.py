"""Two real ends joined without a link, and a pretend PKI whose certificates are readable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from twingateway.errors import NotAuthorized
from twingateway.mqtt.auth import Identity, TokenBook
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.events import Event
from twingateway.mqtt.server import ServerConnection

SERVER_CERTIFICATE = b"the server's certificate in DER"
WALL = 1_700_000_000.0
OURS = "our CA"


@dataclass
class NodeCredential:
    """A key and a certificate that says in CBOR what a real one says in X.509."""

    node: str = "edge-1"
    namespace: str = "default"
    issuer: str = OURS
    expires: float = WALL + 1000
    certified_node: str | None = None
    key: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(32)))
    certified_key: Ed25519PrivateKey | None = None

    @property
    def chain(self) -> tuple[bytes, ...]:
        key = (self.certified_key or self.key).public_key().public_bytes_raw()
        name = self.certified_node or self.node
        return (cbor2.dumps([self.namespace, name, key, self.issuer, self.expires]), self.issuer.encode())

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data)


class PretendVerifier:
    """Checks what the port asks for, and counts how often it was asked without a signature."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.without_signature = 0

    def verify(
        self, chain: Sequence[bytes], node: str, signature: bytes | None, data: bytes, now_wall: float
    ) -> Identity:
        namespace, name, key, issuer, expires = cbor2.loads(chain[0])
        if issuer != OURS:
            raise NotAuthorized("the certificate was issued by someone else")
        if now_wall > expires:
            raise NotAuthorized("the certificate has expired")
        if name in self.revoked:
            raise NotAuthorized("the certificate was revoked")
        if signature is None:
            self.without_signature += 1
            return Identity(namespace, name)
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
        except InvalidSignature:
            raise NotAuthorized("the signature was not made with the certificate's key") from None
        return Identity(namespace, name)


class Randomness:
    """Different bytes at each call, the same in each run."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, count: int) -> bytes:
        self._calls += 1
        return hashlib.sha256(b"%d" % self._calls).digest()[:count]


class Hub:
    """What outlives a server's connections."""

    def __init__(self) -> None:
        self.verifier = PretendVerifier()
        self.tokens = TokenBook()
        self.random = Randomness()

    def server(self, **options: Any) -> ServerConnection:
        settings: dict[str, Any] = {
            "server_certificate": SERVER_CERTIFICATE,
            "random": self.random,
            "wall": lambda: WALL,
            "capabilities": {"node": "hub", "datagram": "1"},
        }
        server = ServerConnection(self.verifier, self.tokens, **settings | options)
        server.start(0.0)
        return server


def make_client(credential: NodeCredential | None = None, **options: Any) -> ClientConnection:
    settings: dict[str, Any] = {
        "keep_alive": 20,
        "token": None,
        "server_certificate": SERVER_CERTIFICATE,
        "capabilities": {"node": "edge-1", "datagram": "1"},
    }
    return ClientConnection("edge-1", credential or NodeCredential(), **settings | options)


@dataclass
class Pair:
    """Carries bytes both ways, cut into pieces of `piece` bytes, until both ends are quiet."""

    client: ClientConnection
    server: ServerConnection
    piece: int = 1 << 20
    at_client: list[Event] = field(default_factory=list)
    at_server: list[Event] = field(default_factory=list)

    def settle(self, now: float = 0.0) -> Pair:
        while True:
            up, down = self.client.to_send(), self.server.to_send()
            if not up and not down:
                return self
            for sent, receiver, events in ((up, self.server, self.at_server), (down, self.client, self.at_client)):
                for stream, data in sent:
                    for at in range(0, len(data), self.piece):
                        events += receiver.receive(stream, data[at : at + self.piece], now)


def connect(
    hub: Hub,
    credential: NodeCredential | None = None,
    *,
    piece: int = 1 << 20,
    server_options: Any = None,
    **options: Any,
) -> Pair:
    """A pair after its first exchange, whatever came of it."""
    pair = Pair(make_client(credential, **options), hub.server(**server_options or {}), piece)
    pair.client.start(0.0)
    return pair.settle()
