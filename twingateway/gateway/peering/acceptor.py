"""The server's side of connections from children: who they are, and whether they may come; others are relayed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import structlog

from twingateway.errors import NotAuthorized, ProtocolViolation, TwinGatewayError, Unavailable
from twingateway.gateway.peering.carrier import QUIET_AFTER, Carrier, told_seconds
from twingateway.gateway.peering.inbound import Inbound
from twingateway.gateway.peering.intake import Intake
from twingateway.gateway.peering.peer_events import PeerEvents
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.peering.relay import Relay
from twingateway.gateway.state.ledger import Ledger
from twingateway.mqtt.auth import METHOD, Claim, Identity, TokenBook, Verifier, decode_claim, encode_claim, identify
from twingateway.mqtt.events import Accepted, PlainClient
from twingateway.mqtt.lanes import EARLY_TOPIC, unwrap_datagram
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.server import ServerConnection
from twingateway.ports.link import EarlyTaker, Link

log = structlog.get_logger("listen")

#: Seconds that a child has for closing its older connections itself.
OVERLAP = 5.0
#: Seconds between two looks at whether who is connected would still be let in.
JUDGED_EVERY = 60.0
#: What children may do while this node is silent: seconds between two first packets (of 1,200 bytes) of one child,
#: and first packets a second of all.
LEAST_KNOCK, MOST_KNOCKS = 0.07, 2000
#: Connections that a child may have at a time.
MOST_LINKS = 4
#: What a child may say of how often it asks whether we are there, in seconds.
_PING_RANGE = (0.1, 3600.0)


class Acceptor:
    """Makes a carrier for each incoming link. `allowed` is None for every node with a good certificate; `relay` takes
    the MQTT clients that are no nodes, None if nobody does."""

    def __init__(
        self,
        node: str,
        verifier: Verifier,
        allowed: frozenset[str] | None,
        peers: Peers,
        inbound: Inbound,
        ledger: Ledger,
        peer_events: PeerEvents,
        relay: Relay | None = None,
    ) -> None:
        self.node = node
        self.verifier = verifier
        self.tokens = TokenBook()
        self.peers = peers
        self.intake = Intake(peers, inbound, ledger, peer_events)
        self.peer_events = peer_events
        self.relay = relay
        self._allowed = allowed

    def carrier(self) -> ChildCarrier:
        return ChildCarrier(self)

    @property
    def knock_every(self) -> float:
        """How soon a child may ask again while this node is silent, in seconds: all of them may do so at once."""
        return min(max(LEAST_KNOCK, sum(1 for _ in self.peers) / MOST_KNOCKS), 1.0)

    def objection(self, identity: Identity) -> str | None:
        """Why this node may not come in, None if it may."""
        if self._allowed is not None and identity.node not in self._allowed:
            return f"{identity.node} is not among the children that this node accepts"
        return self.peers.objection(identity.node, identity.namespace)

    def early_gate(self, holder: bytes) -> EarlyTaker | None:
        """An `EarlyGate`: a child that was here takes up its session again. It is judged as it would be if it
        connected, and then may report, nothing else: no session, no presence and no other link is touched."""
        try:
            identity = identify(self.verifier, decode_claim(holder), time.time())
        except TwinGatewayError as error:
            log.warning("early data is not taken", reason=error.message)
            return None
        peer = self.peers.known_child(identity.node, identity.namespace)
        if peer is None or self.objection(identity) is not None:
            return None
        return partial(self._take_early, peer)

    def _take_early(self, peer: Peer, data: bytes) -> None:
        topic, payload = unwrap_datagram(data)
        if topic != EARLY_TOPIC:
            raise ProtocolViolation(f"{topic!r} does not go ahead of the handshake")
        self.intake.take_early(peer, payload)


class ChildCarrier(Carrier):
    """One connection from a child."""

    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__(acceptor.intake, acceptor.peer_events)
        self._acceptor = acceptor
        self._attached_at = 0.0
        self._claim: Claim | None = None
        self._judge_at = inf
        handlers: dict[type, Callable[[Any, float], None]] = {
            Accepted: self._on_accepted,
            PlainClient: self._on_plain_client,
        }
        self._mqtt_handlers.update(handlers)

    def connected(self, link: Link, now: float) -> None:
        self._link = link
        self._connection = ServerConnection(
            self._acceptor.verifier,
            self._acceptor.tokens,
            server_certificate=link.server_certificate,
            random=os.urandom,
            wall=time.time,
            capabilities={"node": self._acceptor.node, "knock": f"{self._acceptor.knock_every:g}", "doorbell": "1"},
            accept=self._acceptor.objection,
        )
        self._connection.start(now)
        self._arm(now, None)

    def _on_accepted(self, event: Accepted, now: float) -> None:
        if self._link is not None:
            self._link.admit(encode_claim(event.claim))
        self._claim, self._judge_at = event.claim, now + JUDGED_EVERY
        ping = told_seconds(event.capabilities.get("ping", ""), _PING_RANGE)
        self._quiet_after = None if ping is None else QUIET_AFTER * ping
        self._attached_at = now
        peer = self._acceptor.peers.child(event.identity.node, event.identity.namespace)
        for line in peer.lines[: -MOST_LINKS + 1]:
            line.close("too many connections of the same node")
        self._attach(peer, now)
        self._linked(peer, now)

    def _watch(self, peer: Peer, now: float) -> None:
        """Older links are the child's to close, since only it knows the order; what it forgot is closed here."""
        super()._watch(peer, now)
        if now >= self._attached_at + OVERLAP and peer.lines[0] is not self and peer.session.active == self._number:
            for line in tuple(peer.lines):
                if line.number < self._number:
                    line.close("a newer connection of the same node took over")
        if now >= self._judge_at:
            self._judge_at = now + JUDGED_EVERY
            self._judge_again()

    def _judge_again(self) -> None:
        """A connection may last for months; a certificate that expires or is revoked meanwhile ends it."""
        assert self._claim is not None
        try:
            identify(self._acceptor.verifier, self._claim, time.time())
        except NotAuthorized as error:
            log.warning("a node is let in no longer", peer=self._name, reason=error.message)
            self.close(error.message, ReasonCode.NOT_AUTHORIZED)
        except Unavailable as error:
            log.warning("who is connected cannot be checked", peer=self._name, reason=error.message)

    def _own_deadlines(self, now: float) -> tuple[float, ...]:
        return *super()._own_deadlines(now), self._attached_at + OVERLAP, self._judge_at

    def _on_plain_client(self, event: PlainClient, now: float) -> None:
        connection, link, relay = self._connection, self._link, self._acceptor.relay
        if not isinstance(connection, ServerConnection) or link is None:
            return

        def refuse(code: int, text: str) -> None:
            connection.refuse(code, text)
            for stream, data in connection.to_send():
                link.write(stream, data)

        if relay is not None:
            self._link = self._connection = None
            relay.take(link, event, refuse)
            return
        log.warning("refused a plain MQTT client", client=event.opening.client_id, peer=self._name)
        if event.opening.method is not None:
            refuse(ReasonCode.BAD_AUTHENTICATION_METHOD, f"the authentication method here is {METHOD}")
        else:
            message = "this listener takes twingateway nodes only; plain clients use the node's broker"
            refuse(ReasonCode.NOT_AUTHORIZED, message)
        link.close(0, "")
