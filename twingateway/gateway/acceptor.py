"""The server's side of connections from children: who they are, whether they may come, and the relay of none else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import structlog

from twingateway.gateway.carrier import Carrier, PeerEvents
from twingateway.gateway.inbound import Inbound
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.peers import Peers
from twingateway.mqtt.auth import Identity, TokenBook, Verifier
from twingateway.mqtt.events import Accepted, PlainClient
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.server import ServerConnection
from twingateway.ports.link import Link

log = structlog.get_logger("listen")


class Acceptor:
    """Makes a carrier for each incoming link. `allowed` is None for every node with a good certificate."""

    def __init__(
        self,
        node: str,
        verifier: Verifier,
        allowed: frozenset[str] | None,
        peers: Peers,
        inbound: Inbound,
        ledger: Ledger,
        peer_events: PeerEvents,
    ) -> None:
        self.node = node
        self.verifier = verifier
        self.tokens = TokenBook()
        self.peers = peers
        self.inbound = inbound
        self.ledger = ledger
        self.peer_events = peer_events
        self._allowed = allowed

    def carrier(self) -> ChildCarrier:
        return ChildCarrier(self)

    def objection(self, identity: Identity) -> str | None:
        """Why this node may not come in, None if it may."""
        if self._allowed is not None and identity.node not in self._allowed:
            return f"{identity.node} is not among the children that this node accepts"
        return self.peers.objection(identity.node, identity.namespace)


class ChildCarrier(Carrier):
    """One connection from a child."""

    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__(acceptor.peers, acceptor.inbound, acceptor.ledger, acceptor.peer_events)
        self._acceptor = acceptor
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
            capabilities={"node": self._acceptor.node},
            accept=self._acceptor.objection,
        )
        self._connection.start(now)
        self._arm(now)

    def _on_accepted(self, event: Accepted, now: float) -> None:
        self._join(self._acceptor.peers.child(event.identity.node, event.identity.namespace), now)

    def _on_plain_client(self, event: PlainClient, now: float) -> None:
        log.warning("refused a plain MQTT client", client=event.client_id, peer=self._name)
        connection = self._connection
        if isinstance(connection, ServerConnection):
            message = "this listener takes twingateway nodes only; plain clients use the node's broker"
            connection.refuse(ReasonCode.NOT_AUTHORIZED, message)
            self._flush()
        if self._link is not None:
            self._link.close(0, "")
