"""The uplink to a broker that is no node of ours: twins out as retained documents, desired values in.

There is no session of ours with it, so nothing is counted or resumed: on every connection all documents are offered
anew, each as it is then. The broker keeps a session for us, in which what was asked of us while we were away waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from twingateway.errors import LinkError, NotAuthorized
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.peering.carrier import QUIET_AFTER
from twingateway.gateway.peering.dialling import TAKEN_OVER, Dialling, Parent
from twingateway.gateway.peering.route import Attempt
from twingateway.gateway.peering.uplink import KEEP_ALIVE
from twingateway.gateway.state.tasks import Tasks
from twingateway.gateway.twins.mirror import Mirror
from twingateway.gateway.twins.nodes import NodeView
from twingateway.mqtt.broker_client import BrokerClient, Ended, NotTaken, Opened, TurnedAway
from twingateway.mqtt.dialect import MQTT_3_1_1, MQTT_5, Account, Message, Will
from twingateway.mqtt.reasons import ReasonCode
from twingateway.ports.link import CONTROL_STREAM, Link, LinkFacts

log = structlog.get_logger("uplink")

#: Bytes that may wait in the transport before another document is made.
BACKLOG = 16 * 1024
#: How soon to look again at a full transport, in seconds.
RETRY = 0.01
#: Messages from the broker that wait for being dealt with before it is held up.
MAX_MESSAGES = 100


class BrokerUplink(Dialling):
    """`ping_every`: seconds between signs of life; `chance` gives numbers in 0 … 1."""

    def __init__(
        self,
        parents: Sequence[Parent],
        account: Account,
        ping_every: float,
        gateway: Gateway,
        tasks: Tasks,
        chance: Callable[[], float],
    ) -> None:
        super().__init__(parents, chance)
        self.account = account
        self.ping_every = ping_every
        self.tasks = tasks
        self.clock = gateway.clock
        self.mirror = Mirror(
            gateway.namespace,
            gateway.peers,
            gateway.table,
            gateway.queries,
            gateway.commands,
            gateway.ledger,
            self._offer,
        )
        gateway.nodes.show(self._view)
        self._levels: dict[int, int] = {}
        self._live: set[BrokerCarrier] = set()

    def carrier(self, attempt: Attempt, url: str) -> BrokerCarrier:
        return BrokerCarrier(self, attempt, url, self._levels.get(attempt.way.parent, MQTT_5))

    def joined(self, carrier: BrokerCarrier) -> None:
        """It has a link."""
        self._live.add(carrier)
        self.dialled(carrier)

    def left(self, carrier: BrokerCarrier, error: LinkError | None) -> None:
        """It has none any more."""
        self._live.discard(carrier)
        self.ended(carrier, error)

    @property
    def idle(self) -> bool:
        """Whether the broker has everything, or there is none to tell."""
        return all(carrier.idle for carrier in self._live if carrier.opened)

    def speak_older(self, attempt: Attempt) -> None:
        """The broker knows no MQTT 5."""
        self._levels[attempt.way.parent] = MQTT_3_1_1

    def _view(self) -> NodeView:
        """The broker among the nodes around; `waiting`: topics of which it does not have the newest."""
        namespace, parents = self.mirror.namespace, ", ".join(parent.url for parent in self._parents)
        for carrier in self._live:
            if carrier.opened:
                facts, state = carrier.facts(), "down" if carrier.quiet else "up"
                return NodeView(
                    facts.peer_address,
                    "broker",
                    namespace,
                    state,
                    carrier.since,
                    transport=facts.transport,
                    address=facts.peer_address,
                    waiting=carrier.waiting,
                    url=carrier.url,
                    links=1,
                )
        return NodeView(parents, "broker", namespace, "down", url=parents)

    def _offer(self, topic: str) -> None:
        for carrier in self._live:
            carrier.offer(topic)


class BrokerCarrier:
    """Implements DialledCarrier."""

    def __init__(self, uplink: BrokerUplink, attempt: Attempt, url: str, level: int) -> None:
        self.attempt = attempt
        self.url = url
        self.opened = False
        self.quiet = False
        self.since = 0
        self._uplink = uplink
        mirror = uplink.mirror
        self._client = BrokerClient(
            level,
            uplink.account,
            Will(mirror.node_topic, mirror.last_will()),
            mirror.filters,
            mirror.render,
            keep_alive=max(KEEP_ALIVE, round(uplink.ping_every)),
            ping_every=uplink.ping_every,
        )
        self._link: Link | None = None
        self._now = 0.0
        self._heard_at = 0.0
        self._refusal: LinkError | None = None
        self._messages: deque[Message] = deque()
        self._dealing: asyncio.Task[None] | None = None
        self._held_up = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Opened: self._on_opened,
            TurnedAway: self._on_turned_away,
            NotTaken: self._on_not_taken,
            Message: self._on_message,
            Ended: self._on_ended,
        }

    @property
    def idle(self) -> bool:
        return self._client.idle

    @property
    def waiting(self) -> int:
        return self._client.waiting

    def facts(self) -> LinkFacts:
        return LinkFacts("none", "") if self._link is None else self._link.facts()

    def offer(self, topic: str) -> None:
        self._client.offer(topic)
        if self._link is not None:
            self._link.wake(self._now)  # in the past: as soon as may be

    def close(self, reason: str) -> None:
        self._client.leave()
        self._flush()
        if self._link is not None:
            self._link.close(0, reason)

    def give_way(self) -> None:
        self.close(TAKEN_OVER)

    # --- LinkHandler ---------------------------------------------------------------------------------------------

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        return ()

    def connected(self, link: Link, now: float) -> None:
        self._link, self._heard_at = link, now
        link.open_stream()
        self._uplink.joined(self)
        self._client.start(now)
        self._pump(now)

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        self._heard_at = now
        if self.quiet:
            self._turn(quiet=False)
        if stream == CONTROL_STREAM:
            self._handle(self._client.receive(data, now))
        if end and self._link is not None:
            self._link.close()
        self._pump(now)

    def datagram(self, data: bytes, now: float) -> None:
        pass

    def next_datagram(self, room: int, now: float) -> bytes | None:
        return None

    def timer(self, now: float) -> None:
        if self.opened and not self.quiet and now >= self._quiet_at:
            self._turn(quiet=True)
        self._handle(self._client.timer(now))
        self._pump(now)

    def closed(self, error: LinkError | None, now: float) -> None:
        self._link = None
        self._uplink.left(self, self._refusal or error)

    # --- what the broker says ------------------------------------------------------------------------------------

    def _handle(self, events: Sequence[object]) -> None:
        for event in events:
            self._handlers[type(event)](event)

    def _on_opened(self, event: Opened) -> None:
        self.opened = True
        self.since = self._uplink.clock.wall_ms()
        log.info("linked to a broker", url=self.url, mqtt=self._client.level)
        self._uplink.opened(self)
        self._uplink.settled(self)
        for topic in self._uplink.mirror.topics():
            self._client.offer(topic)

    def _on_turned_away(self, event: TurnedAway) -> None:
        if event.code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION and self._client.level == MQTT_5:
            self._uplink.speak_older(self.attempt)
            self._refusal = NotAuthorized("the broker speaks no MQTT 5: MQTT 3.1.1 is tried next")
        else:
            reason = event.reason or f"reason code {event.code:#04x}"
            self._refusal = NotAuthorized(f"the broker refused this node: {reason}")
        if self._link is not None:
            self._link.close()

    def _on_not_taken(self, event: NotTaken) -> None:
        log.warning("the broker will not have it", url=self.url, topic=event.topic, code=f"{event.code:#04x}")

    def _on_ended(self, event: Ended) -> None:
        self._refusal = LinkError(f"the connection to the broker at {self.url} ended: {event.reason}")
        if self._link is not None:
            self._link.close()

    def _on_message(self, message: Message) -> None:
        if message.retained:  # it was said before, who knows when: not what is wanted now
            log.info("a retained message is not acted on", topic=message.topic)
            self._client.acknowledge(message)
            return
        self._messages.append(message)
        if len(self._messages) >= MAX_MESSAGES and not self._held_up and self._link is not None:
            self._held_up = True
            self._link.pause(CONTROL_STREAM)
        if self._dealing is None:
            self._dealing = self._uplink.tasks.start(self._deal(), "messages of the broker")

    async def _deal(self) -> None:
        """One after the other; what is acknowledged was written."""
        try:
            while self._messages:
                message = self._messages.popleft()
                await self._uplink.mirror.take(message.topic, message.payload, f"mqtt {self.url}")
                self._client.acknowledge(message)
                self._let_go()
        finally:
            self._dealing = None

    def _let_go(self) -> None:
        if self._link is None:
            return
        if self._held_up and len(self._messages) < MAX_MESSAGES:
            self._held_up = False
            self._link.resume(CONTROL_STREAM)
        self._link.wake(self._now)

    # --- sending -------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        link, self._now = self._link, now
        if link is None:
            return
        self._flush()
        while link.unsent(CONTROL_STREAM) < BACKLOG and self._client.publish_next():
            self._flush()
        times = [self._client.next_deadline(), self._quiet_at if self.opened and not self.quiet else None]
        if self._client.has_news:
            times.append(now + RETRY)
        earliest = min((at for at in times if at is not None), default=None)
        if earliest is not None:
            link.wake(earliest)

    def _flush(self) -> None:
        data = self._client.to_send()
        if data and self._link is not None:
            self._link.write(CONTROL_STREAM, data)

    @property
    def _quiet_at(self) -> float:
        return self._heard_at + QUIET_AFTER * self._uplink.ping_every

    def _turn(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._uplink.turned(self)
