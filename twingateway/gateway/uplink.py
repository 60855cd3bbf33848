"""Keeps the session with the parent alive: dial, prove, exchange, and after any end dial again with back-off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from math import inf
from typing import Any

import structlog

from twingateway.errors import LinkError, NotAuthorized
from twingateway.gateway.carrier import Carrier, PeerEvents
from twingateway.gateway.inbound import Inbound
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.peers import Peers
from twingateway.mqtt.auth import Credential
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.events import Connected, Refused
from twingateway.mqtt.streams import STATE_STREAM
from twingateway.ports.link import Dialer, Link

log = structlog.get_logger("uplink")

#: Seconds between attempts: doubling from the first to the second, with jitter.
BACK_OFF = (0.5, 30.0)
#: How long a link must have lasted for the back-off to begin anew, in seconds.
STEADY = 10.0


class Uplink:
    """Dials the parent for as long as `run` is not cancelled."""

    def __init__(
        self,
        dialer: Dialer,
        credential: Credential,
        keep_alive: int,
        peers: Peers,
        inbound: Inbound,
        ledger: Ledger,
        peer_events: PeerEvents,
    ) -> None:
        self._dialer = dialer
        self._credential = credential
        self._keep_alive = keep_alive
        self._peers = peers
        self._inbound = inbound
        self._ledger = ledger
        self._peer_events = peer_events
        self._token: bytes | None = None
        self._joined = inf
        self.error: LinkError | None = None
        """Why there is no session at present; None while there is one or before the first attempt failed."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = BACK_OFF[0]
        while True:
            self._joined = inf
            try:
                self.error = await self._once()
            except Exception as error:
                log.exception("the uplink failed in a way it should not")
                self.error = LinkError(f"the uplink failed: {error}")
            if self.error is not None:
                log.warning("no session with the parent", reason=self.error.message, code=self.error.code)
            if loop.time() - self._joined > STEADY:
                delay = BACK_OFF[0]
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, BACK_OFF[1])

    async def _once(self) -> LinkError | None:
        """One link, from dialling to its end; why it ended, None after an orderly end."""
        token, self._token = self._token, None
        carrier = UplinkCarrier(self, self._credential, self._keep_alive, token)
        try:
            await self._dialer.dial(carrier)
        except LinkError as error:
            return error
        try:
            return await carrier.ended
        except asyncio.CancelledError:
            carrier.close("the node stops")
            raise

    def connected(self, token: bytes | None) -> None:
        self._token = token
        self._joined = asyncio.get_running_loop().time()
        self.error = None

    @property
    def parts(self) -> tuple[Peers, Inbound, Ledger, PeerEvents]:
        return self._peers, self._inbound, self._ledger, self._peer_events


class UplinkCarrier(Carrier):
    """The client's side of a connection to the parent."""

    def __init__(self, uplink: Uplink, credential: Credential, keep_alive: int, token: bytes | None) -> None:
        super().__init__(*uplink.parts)
        self._uplink = uplink
        self._credential = credential
        self._keep_alive = keep_alive
        self._token = token
        self._refusal: LinkError | None = None
        self.ended: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
        handlers: dict[type, Callable[[Any, float], None]] = {
            Connected: self._on_connected,
            Refused: self._on_refused,
        }
        self._mqtt_handlers.update(handlers)

    def connected(self, link: Link, now: float) -> None:
        self._link = link
        link.open_stream()
        self._connection = connection = ClientConnection(
            self._credential.node,
            self._credential,
            keep_alive=self._keep_alive,
            token=self._token,
            server_certificate=link.server_certificate,
            capabilities={"node": self._credential.node},
        )
        connection.start(now)
        self._pump(now)

    def closed(self, error: LinkError | None, now: float) -> None:
        super().closed(error, now)
        if not self.ended.done():
            self.ended.set_result(self._refusal or error)

    def _on_connected(self, event: Connected, now: float) -> None:
        name = event.capabilities.get("node")
        if name is None or self._link is None:
            self._refusal = LinkError("the server at the uplink's address is not a twingateway node")
            self.close(self._refusal.message)
            return
        if name == self._credential.node:
            self._refusal = LinkError(f"the uplink leads to a node with this node's own name, {name}")
            self.close(self._refusal.message)
            return
        self._uplink.connected(event.token)
        self._open_state_stream(self._link)
        self._join(self._peers.open_parent(name, self._credential.namespace), now)

    def _open_state_stream(self, link: Link) -> None:
        # QUIC tells the server of a stream with its first bytes; the server may have a frame for it before we do.
        while link.open_stream() < STATE_STREAM:
            pass
        link.write(STATE_STREAM, PING)

    def _on_refused(self, event: Refused, now: float) -> None:
        self._refusal = NotAuthorized(f"the parent refused this node: {event.reason or hex(event.reason_code)}")
        if self._link is not None:
            self._link.close(0, "")


#: A PINGREQ (MQTT 5, 3.12), which the server answers on the stream it came on.
PING = b"\xc0\x00"
