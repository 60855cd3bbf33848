"""Keeps the session with the parent alive: carries out the route's plan, proves who we are, watches what is heard."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from twingateway.errors import LinkError, NotAuthorized
from twingateway.gateway.carrier import QUIET_AFTER, Carrier, PeerEvents
from twingateway.gateway.inbound import Inbound
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.peers import Peer, Peers
from twingateway.gateway.route import Attempt, Dial, Drop, Route
from twingateway.mqtt.auth import Credential
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.events import Connected, Refused
from twingateway.mqtt.lanes import EARLY_TOPIC, overhead, wrap
from twingateway.mqtt.streams import JOURNAL_STREAMS, STATE_STREAM
from twingateway.ports.link import Dialer, Link, LinkFacts

log = structlog.get_logger("uplink")

#: The keep-alive that CONNECT asks for, at least, in seconds: links are to outlast an outage of one and a half times
#: that. How soon a dead path is noticed depends on how often we ask, not on when the parent gives us up.
KEEP_ALIVE = 40
#: Seconds after which what stays unanswered means that another way is to be looked for, and between two looks.
UNANSWERED = 1.0
LOOK_EVERY = 0.25
#: The same where something is heard all the while, so that the path may be dead in our direction only: seconds (or
#: the interval of our questions, if that is less), but at least so many round trips.
UNHEARD = 2.0
UNHEARD_TRIPS = 4

#: A PINGREQ (MQTT 5, 3.12), which the server answers on the stream it came on. QUIC tells the server of a stream with
#: its first bytes, and the server may have state for it before we do. (On the journal's streams we speak first.)
PING = b"\xc0\x00"


@dataclass(frozen=True, slots=True)
class Parent:
    """One address of the parent, and how to dial it: the best transport first."""

    url: str
    dialers: tuple[Dialer, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    """What spares the next link the proof, and the node that gave it."""

    value: bytes
    node: str


class Uplink:
    """Dials for as long as `run` is not cancelled. `ping_every`: seconds between signs of life; `chance` gives
    numbers in 0 … 1."""

    def __init__(
        self,
        parents: Sequence[Parent],
        credential: Credential,
        ping_every: float,
        peers: Peers,
        inbound: Inbound,
        ledger: Ledger,
        peer_events: PeerEvents,
        chance: Callable[[], float],
    ) -> None:
        self._parents = parents
        self._credential = credential
        self._ping_every = ping_every
        self._peers = peers
        self._inbound = inbound
        self._ledger = ledger
        self._peer_events = peer_events
        self._chance = chance
        self._route = self._new_route()
        self._tokens: dict[int, _Token] = {}
        self._nodes: dict[int, str] = {}
        """Who answered at which parent's address last."""
        self._dials: dict[Attempt, asyncio.Task[None]] = {}
        self._carriers: dict[Attempt, UplinkCarrier] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._news.clear()
                now = loop.time()
                for action in self._route.poll(now):
                    _ACTIONS[type(action)](self, action)
                due = self._route.next_deadline()
                waiting = None if due is None else max(0.0, due - loop.time())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(waiting):
                        await self._news.wait()
        finally:
            for dial in self._dials.values():
                dial.cancel()
            for carrier in self._carriers.values():
                carrier.close("the node stops")
            self._dials.clear()
            self._carriers.clear()
            self._route = self._new_route()

    def hurry(self) -> None:
        """The network has changed: what was put off may work now."""
        self._tell(lambda route, now: route.hurry(now))

    # --- the plan's wishes ----------------------------------------------------------------------------------------

    def _new_route(self) -> Route:
        return Route([len(parent.dialers) for parent in self._parents], self._chance)

    def _dial(self, action: Dial) -> None:
        attempt = action.attempt
        task = asyncio.get_running_loop().create_task(self._try(attempt), name=f"dial {attempt.number}")
        self._dials[attempt] = task
        task.add_done_callback(lambda _: self._dials.pop(attempt, None))

    async def _try(self, attempt: Attempt) -> None:
        parent = self._parents[attempt.way.parent]
        carrier = UplinkCarrier(self, attempt, parent.url, self._credential, self._ping_every)
        try:
            await parent.dialers[attempt.way.transport].dial(carrier)
        except LinkError as error:
            self.ended(carrier, error)
        except Exception as problem:
            log.exception("dialling failed", parent=parent.url)
            self.ended(carrier, LinkError(f"dialling {parent.url} failed: {problem!r}"))

    def _drop(self, action: Drop) -> None:
        dial = self._dials.pop(action.attempt, None)
        if dial is not None:
            dial.cancel()
        carrier = self._carriers.get(action.attempt)
        if carrier is not None:
            carrier.close("another connection took over")

    # --- what carriers report -------------------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Peers, Inbound, Ledger, PeerEvents]:
        return self._peers, self._inbound, self._ledger, self._peer_events

    def take_token(self, attempt: Attempt) -> _Token | None:
        """The token for this parent, once."""
        return self._tokens.pop(attempt.way.parent, None)

    def expected(self, attempt: Attempt) -> Peer | None:
        """The parent that answered last at the address of this attempt, if the session is with that one."""
        parent = self._peers.parent
        return parent if parent is not None and parent.name == self._nodes.get(attempt.way.parent) else None

    def dialled(self, carrier: UplinkCarrier) -> None:
        self._carriers[carrier.attempt] = carrier

    def opened(self, carrier: UplinkCarrier, token: bytes | None, node: str) -> None:
        self._nodes[carrier.attempt.way.parent] = node
        if token is not None:
            self._tokens[carrier.attempt.way.parent] = _Token(token, node)
        self._tell(lambda route, now: route.opened(carrier.attempt, now))

    def settled(self, carrier: UplinkCarrier) -> None:
        self._tell(lambda route, now: route.settled(carrier.attempt, now))

    def turned(self, carrier: UplinkCarrier) -> None:
        if carrier.quiet:
            log.info("the parent says nothing; looking for another way", parent=carrier.url)
            self._tell(lambda route, now: route.quiet(carrier.attempt, now))
        else:
            self._tell(lambda route, now: route.heard(carrier.attempt, now))

    def ended(self, carrier: UplinkCarrier, error: LinkError | None) -> None:
        self._carriers.pop(carrier.attempt, None)
        if error is not None:
            log.warning("no link to the parent", parent=carrier.url, reason=error.message, code=error.code)
        if carrier.opened:
            self._tell(lambda route, now: route.closed(carrier.attempt, now))
        else:
            answered = isinstance(error, NotAuthorized)
            self._tell(lambda route, now: route.failed(carrier.attempt, now, answered=answered))

    def _tell(self, what: Callable[[Route, float], None]) -> None:
        what(self._route, asyncio.get_running_loop().time())
        self._news.set()


_ACTIONS: dict[type, Callable[[Uplink, Any], None]] = {Dial: Uplink._dial, Drop: Uplink._drop}


class UplinkCarrier(Carrier):
    """The client's side of a connection to the parent.

    With a token from an earlier connection the session is on this link at once: hello and state go right behind
    CONNECT. Should the token be no good, the parent asks for the proof, and what was sent in datagrams is sent again.
    """

    def __init__(self, uplink: Uplink, attempt: Attempt, url: str, credential: Credential, ping_every: float) -> None:
        super().__init__(*uplink.parts)
        self.attempt = attempt
        self.url = url
        self.opened = False
        self._uplink = uplink
        self._credential = credential
        self._ping_every = ping_every
        self._quiet_after = QUIET_AFTER * ping_every
        self._settled = False
        self._looked_at = 0.0
        self._stalled: tuple[float, int] | None = None
        """Since when, and at how many bytes received, there is something in flight and nothing comes."""
        self._refusal: LinkError | None = None
        self._client: ClientConnection | None = None
        handlers: dict[type, Callable[[Any, float], None]] = {
            Connected: self._on_connected,
            Refused: self._on_refused,
        }
        self._mqtt_handlers.update(handlers)

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        parent = self._uplink.expected(self.attempt)
        if parent is None:
            return ()
        messages = parent.session.early_messages([room - overhead(EARLY_TOPIC) for room in rooms])
        return [wrap(EARLY_TOPIC, message) for message in messages]

    def connected(self, link: Link, now: float) -> None:
        self._link = link
        self._heard_at = now
        self._uplink.dialled(self)
        while link.open_stream() < JOURNAL_STREAMS[-1]:
            pass
        token = self._uplink.take_token(self.attempt)
        connection = ClientConnection(
            self._credential.node,
            self._credential,
            keep_alive=max(KEEP_ALIVE, math.ceil(self._ping_every)),
            ping_every=self._ping_every,
            token=None if token is None else token.value,
            server_certificate=link.server_certificate,
            capabilities={"node": self._credential.node, "ping": f"{self._ping_every:g}"},
        )
        self._connection = self._client = connection
        connection.start(now)
        if token is not None:
            self._attach(self._peers.open_parent(token.node, self._credential.namespace), now)
        self._pump(now)

    def closed(self, error: LinkError | None, now: float) -> None:
        super().closed(error, now)
        self._uplink.ended(self, self._refusal or error)

    def _on_connected(self, event: Connected, now: float) -> None:
        name = event.capabilities.get("node")
        if self._link is None:
            return
        if name is None or (self._peer is not None and self._peer.name != name):
            expected = "a twingateway node" if self._peer is None else self._peer.name
            self._refusal = LinkError(f"the server at {self.url} is not {expected}")
            self.close(self._refusal.message)
            return
        self._link.write(STATE_STREAM, PING)
        if self._peer is None:
            self._attach(self._peers.open_parent(name, self._credential.namespace), now)
        assert self._peer is not None
        self.opened = True
        self._uplink.opened(self, event.token, name)
        self._linked(self._peer, now)

    def _on_refused(self, event: Refused, now: float) -> None:
        self._refusal = NotAuthorized(f"the parent refused this node: {event.reason or hex(event.reason_code)}")
        if self._link is not None:
            self._link.close(0, "")

    # --- watching -------------------------------------------------------------------------------------------------

    def _hear(self, now: float) -> None:
        if self.quiet and self._is_unheard(now):
            self._heard_at = now
        else:
            super()._hear(now)

    def _is_unheard(self, now: float) -> bool:
        """Whether nothing that we say is answered, whatever the parent says."""
        if self._peer is None or self._link is None or self._client is None:
            return False
        round_trip = self._link.facts().smoothed_rtt or 0.0
        patience = max(min(UNHEARD, self._ping_every), UNHEARD_TRIPS * round_trip)
        said = (self._peer.session.unheeded_since(self._number), self._client.asked_since)
        return any(since is not None and now >= since + patience for since in said)

    def _turn(self, peer: Peer, *, quiet: bool) -> None:
        super()._turn(peer, quiet=quiet)
        self._uplink.turned(self)

    def _is_quiet(self, now: float) -> bool:
        if super()._is_quiet(now):
            return True
        if now < self._looked_at + LOOK_EVERY or self._peer is None or self._link is None:
            return False
        self._looked_at = now
        if now >= self._heard_at + UNANSWERED and self._peer.session.quality(self._number).silent:
            return True
        return self._is_stalled(self._link.facts(), now) or self._is_unheard(now)

    def _is_stalled(self, facts: LinkFacts, now: float) -> bool:
        """Whether the transport waits for an acknowledgement in vain."""
        if not facts.bytes_in_flight:
            self._stalled = None
        elif self._stalled is None or self._stalled[1] != facts.bytes_received:
            self._stalled = now, facts.bytes_received
        else:
            return now >= self._stalled[0] + UNANSWERED + 2 * (facts.smoothed_rtt or 0.0)
        return False

    def _watch(self, peer: Peer, now: float) -> None:
        super()._watch(peer, now)
        if self.quiet and self._heard_at == now:
            self._hear(now)  # what was heard may have been the answer
        if not self._settled and peer.session.met(self._number):
            self._settled = True
            self._uplink.settled(self)

    def _own_deadlines(self) -> list[float | None]:
        return [*super()._own_deadlines(), self._looked_at + LOOK_EVERY]
