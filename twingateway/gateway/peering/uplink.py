"""Keeps the session with the parent alive: carries out the route's plan, proves who we are, watches what is heard."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twingateway.errors import LinkError, NotAuthorized
from twingateway.gateway.peering.carrier import QUIET_AFTER, Carrier, told_seconds
from twingateway.gateway.peering.dialling import TAKEN_OVER, Bearing, Dialling, Parent
from twingateway.gateway.peering.inbound import Inbound
from twingateway.gateway.peering.intake import Intake
from twingateway.gateway.peering.peer_events import PeerEvents
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.peering.route import Attempt
from twingateway.gateway.state.ledger import Ledger
from twingateway.mqtt.auth import Credential
from twingateway.mqtt.capabilities import PROTOCOL
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.events import Connected, Refused
from twingateway.mqtt.lanes import EARLY_TOPIC, overhead, wrap
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.streams import JOURNAL_STREAMS, STATE_STREAM
from twingateway.ports.link import Link, LinkFacts

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

#: Seconds that a link which is not wanted any more waits for the token in the answer to its CONNECT.
TOKEN_PATIENCE = 1.0

#: Refusals by which a broker says that it does not know our way of saying who we are.
_NO_NODE = frozenset({ReasonCode.BAD_AUTHENTICATION_METHOD, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION})

#: What a parent may say of how soon it may be asked again while it is silent, in seconds.
KNOCKS = (0.05, 10.0)

#: A PINGREQ (MQTT 5, 3.12), which the server answers on the stream it came on. QUIC tells the server of a stream with
#: its first bytes, and the server may have state for it before we do. (On the journal's streams we speak first.)
PING = b"\xc0\x00"


@dataclass(frozen=True, slots=True)
class _Token:
    """What spares the next link the proof, and the node that gave it."""

    value: bytes
    node: str


class Uplink(Dialling):
    """`ping_every`: seconds between signs of life; `chance` gives numbers in 0 … 1. `on_broker` is told that the
    parent is no node but an MQTT broker; false: that cannot be."""

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
        on_broker: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(parents, chance)
        self._credential = credential
        self._ping_every = ping_every
        self.peers = peers
        self.intake = Intake(peers, inbound, ledger, peer_events)
        self.peer_events = peer_events
        self.on_broker = on_broker
        self._tokens: dict[int, _Token] = {}
        self._nodes: dict[int, str] = {}
        """Who answered at which parent's address last."""
        self._borne: dict[int, Bearing] = {}
        """How that one may be asked while it is silent."""

    def carrier(self, attempt: Attempt, url: str) -> UplinkCarrier:
        return UplinkCarrier(self, attempt, url, self._credential, self._ping_every)

    # --- what carriers report -------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether the parent has everything, or there is none to tell."""
        parent = self.peers.parent
        return parent is None or parent.line is None or not len(parent.session.outbox)

    def take_token(self, attempt: Attempt) -> _Token | None:
        """The token for this parent, once."""
        return self._tokens.pop(attempt.way.parent, None)

    def expected(self, attempt: Attempt) -> Peer | None:
        """The parent that answered last at the address of this attempt, if the session is with that one."""
        parent = self.peers.parent
        return parent if parent is not None and parent.name == self._nodes.get(attempt.way.parent) else None

    def bears(self, attempt: Attempt) -> Bearing | None:
        return self._borne.get(attempt.way.parent)

    def authenticated(
        self, carrier: UplinkCarrier, token: bytes | None, node: str, capabilities: Mapping[str, str]
    ) -> None:
        """The parent let us in, is `node` and can do this."""
        parent = carrier.attempt.way.parent
        self._nodes[parent] = node
        every = told_seconds(capabilities.get("knock", ""), KNOCKS)
        if every is None:
            self._borne.pop(parent, None)
        else:
            self._borne[parent] = Bearing(every, rings=capabilities.get("doorbell") == "1")
        self.keep_token(carrier.attempt, token, node)
        self.opened(carrier)

    def keep_token(self, attempt: Attempt, token: bytes | None, node: str) -> None:
        """For the next link to this parent."""
        if token is not None:
            self._tokens[attempt.way.parent] = _Token(token, node)


class UplinkCarrier(Carrier):
    """The client's side of a connection to the parent.

    With a token from an earlier connection the session is on this link at once: hello and state go right behind
    CONNECT. Should the token be no good, the parent asks for the proof, and what was sent in datagrams is sent again.
    """

    def __init__(self, uplink: Uplink, attempt: Attempt, url: str, credential: Credential, ping_every: float) -> None:
        super().__init__(uplink.intake, uplink.peer_events)
        self.attempt = attempt
        self.url = url
        self.opened = False
        self._uplink = uplink
        self._credential = credential
        self._ping_every = ping_every
        self._quiet_after = QUIET_AFTER * ping_every
        self._settled = False
        self._yielded: str | None = None
        """The node that the session was with on this link, which nobody wants any more."""
        self._look_at = math.inf
        """When to look whether what is said is answered: for as long as anything is not, or was said lately."""
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
            self._attach(self._uplink.peers.open_parent(token.node, self._credential.namespace), now)
        self._pump(now)

    def give_way(self) -> None:
        """A token that was spent here is made good by the answer, which is waited for without the session."""
        if self.opened or self._peer is None:
            self.close(TAKEN_OVER)
            return
        self._yielded = self._peer.name
        self._detach()
        asyncio.get_running_loop().call_later(TOKEN_PATIENCE, self.close, TAKEN_OVER)

    def closed(self, error: LinkError | None, now: float) -> None:
        super().closed(error, now)
        self._uplink.ended(self, self._refusal or error)

    def _on_connected(self, event: Connected, now: float) -> None:
        name = event.capabilities.get("node")
        if self._link is None:
            return
        if self._yielded is not None:
            if name == self._yielded:
                self._uplink.keep_token(self.attempt, event.token, name)
            self.close(TAKEN_OVER)
            return
        if name is None and self._is_broker():
            return
        if name is None or (self._peer is not None and self._peer.name != name):
            expected = "a twingateway node" if self._peer is None else self._peer.name
            self._refusal = LinkError(f"the server at {self.url} is not {expected}")
            self.close(self._refusal.message)
            return
        self._link.write(STATE_STREAM, PING)
        if self._peer is None:
            self._attach(self._uplink.peers.open_parent(name, self._credential.namespace), now)
        assert self._peer is not None
        self.opened = True
        self._uplink.authenticated(self, event.token, name, event.capabilities)
        self._linked(self._peer, now)

    def _is_broker(self) -> bool:
        """The server knows nothing of our protocol: leave it, if that is taken for an answer."""
        if self._peer is not None or not self._uplink.on_broker():
            return False
        self._refusal = LinkError(f"the server at {self.url} is an MQTT broker, no twingateway node")
        self.close(self._refusal.message)
        return True

    def _on_refused(self, event: Refused, now: float) -> None:
        from_a_node = PROTOCOL in event.reason  # of another version than ours
        if event.reason_code in _NO_NODE and not from_a_node and self._is_broker():
            return
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
        return any(since is not None and now >= since + patience for since in self._said_since())

    def _said_since(self) -> tuple[float | None, ...]:
        """Since when what we say is not answered: registers, and the question whether the parent is there."""
        if self._peer is None or self._client is None:
            return ()
        return self._peer.session.unheeded_since(self._number), self._client.asked_since

    def _turn(self, peer: Peer, *, quiet: bool) -> None:
        super()._turn(peer, quiet=quiet)
        self._uplink.turned(self)

    def _is_quiet(self, now: float) -> bool:
        if super()._is_quiet(now):
            return True
        if now < self._look_at or self._peer is None or self._link is None:
            return False
        self._look_at = now + LOOK_EVERY
        if now >= self._heard_at + UNANSWERED and self._peer.session.quality(self._number).silent:
            return True
        if self._is_stalled(self._link.facts(), now) or self._is_unheard(now):
            return True
        self._has_said = self._stalled is not None or any(since is not None for since in self._said_since())
        if not self._has_said:
            self._look_at = math.inf
        return False

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

    def _own_deadlines(self, now: float) -> tuple[float, ...]:
        if self._has_said and self._look_at == math.inf:
            self._look_at = now + LOOK_EVERY
        return *super()._own_deadlines(now), self._look_at
