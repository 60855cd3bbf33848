"""What the two MQTT state machines report to their owner.

`Refused`, `PeerDisconnected` and `Closing` are last words: after one of them a connection reports nothing more, and
the owner closes the link once what `to_send()` returned has been flushed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twingateway.mqtt.auth import Claim, Identity
from twingateway.mqtt.opening import Opening
from twingateway.twin.record import record


@dataclass(frozen=True, slots=True)
class Accepted:
    """Server: the node proved who it is. `capabilities` are what it says of itself, protocol version included;
    `claim` is what it proved, without its token."""

    identity: Identity
    capabilities: Mapping[str, str]
    client_id: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class PlainClient:
    """Server: a client that is not one of our nodes asks in; `ServerConnection.refuse` answers it, or its owner takes
    it over.

    `received`: every byte of the control stream so far, CONNECT first. `streams`: others on which something came.
    """

    opening: Opening
    received: bytes = field(repr=False, compare=False)
    streams: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Connected:
    """Client: the server let us in.

    `capabilities` is empty when the server is not a node of ours. `token` spares the next link the round trip of the
    proof, within `token_lifetime` seconds.
    """

    capabilities: Mapping[str, str]
    token: bytes | None = field(default=None, repr=False)
    token_lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Client: the server's CONNACK says no."""

    reason_code: int
    reason: str


@record
class Published:
    """A PUBLISH arrived on a stream."""

    topic: str
    payload: bytes
    stream: int


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The peer sent DISCONNECT."""

    reason_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closing:
    """We end the connection. The peer is being told `reason_code` where MQTT allows it."""

    reason_code: int
    message: str


Event = Accepted | PlainClient | Connected | Refused | Published | PeerDisconnected | Closing
