"""A connection to a broker that is no node of ours: documents out, the newest of each topic; messages in.

Rules:
- A topic that has news waits at most once, however often it changes; its document is made when it leaves, so that
  nothing stale is ever sent, and nothing piles up while the broker or the path is slow.
- A topic is on its way at most once: the next document of it leaves when the broker has taken the last one.
- Never more is on its way than the broker's Receive Maximum allows, nor than MOST_ON_THE_WAY.
- A message is acknowledged when its owner has dealt with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twingateway.errors import ProtocolViolation
from twingateway.mqtt import codec, dialect
from twingateway.mqtt.connection import CONNECT_TIMEOUT
from twingateway.mqtt.dialect import Account, Answer, Leaving, Message, Pong, Reader, Said, Subscribed, Taken, Will
from twingateway.mqtt.keepalive import KeepAlive
from twingateway.mqtt.reasons import ReasonCode

#: Documents on their way to a broker at a time; to one that says nothing of its Receive Maximum (3.1.1) fewer.
MOST_ON_THE_WAY = 100
MOST_TO_AN_OLDER = 20
#: Reason codes from here on are failures.
_FAILURE = 0x80
_SUBSCRIBE_ID = 1


@dataclass(frozen=True, slots=True)
class Document:
    """What a topic is to say now."""

    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """The broker let us in, and what we want of it is subscribed to."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The broker said no to CONNECT. The last event."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The broker will not have this document, or not one of this size; the topic's next one is tried again."""

    topic: str
    code: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is no good any more. The last event."""

    code: int
    reason: str


Event = Opened | TurnedAway | NotTaken | Message | Ended

#: Makes a topic's document; None when there is nothing to say of it.
Render = Callable[[str], Document | None]


class BrokerClient:
    """Times are monotonic seconds. `ping_every`: seconds between signs of life."""

    def __init__(
        self,
        level: int,
        account: Account,
        will: Will,
        subscriptions: Sequence[str],
        render: Render,
        *,
        keep_alive: int,
        ping_every: float,
        max_packet: int = codec.MAX_PACKET,
    ) -> None:
        self.level = level
        self._account = account
        self._will = will
        self._subscriptions = subscriptions
        self._render = render
        self._interval = keep_alive
        self._ping_every = ping_every
        self._max_packet = max_packet
        self._reader = Reader(level, max_packet)
        self._keep_alive = KeepAlive(0, 0.0)
        self._connect_by: float | None = None
        self._limits: Answer | None = None
        self._over = False
        self._waiting: dict[str, None] = {}
        self._on_the_way: dict[int, str] = {}
        self._next_id = _SUBSCRIBE_ID
        self._outgoing = bytearray()
        self._events: list[Event] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            Answer: self._on_answer,
            Message: self._on_message,
            Taken: self._on_taken,
            Subscribed: self._on_subscribed,
            Pong: lambda said, now: None,
            Leaving: lambda said, now: self._end(said.code, said.reason or "the broker said goodbye"),
        }

    @property
    def open(self) -> bool:
        return self._limits is not None and not self._over

    @property
    def idle(self) -> bool:
        """Whether the broker has taken everything."""
        return not self._waiting and not self._on_the_way

    @property
    def waiting(self) -> int:
        """Topics of which the broker does not have the newest document."""
        return len(self._waiting.keys() | set(self._on_the_way.values()))

    @property
    def has_news(self) -> bool:
        """Whether `publish_next` would send something, as far as the broker is concerned."""
        return self.open and len(self._on_the_way) < self._most and self._sendable() is not None

    def start(self, now: float) -> None:
        """The link is up."""
        self._connect_by = now + CONNECT_TIMEOUT
        self._outgoing += dialect.connect(self.level, self._account, self._interval, self._will, self._max_packet)

    def offer(self, topic: str) -> None:
        """There is news about this topic."""
        self._waiting.setdefault(topic)

    def publish_next(self) -> bool:
        """Write the document that has waited longest; False if there is none, or no more may be on its way."""
        while self.open and len(self._on_the_way) < self._most:
            topic = self._sendable()
            if topic is None:
                return False
            del self._waiting[topic]
            document = self._render(topic)
            if document is not None and self._write(topic, document):
                return True
        return False

    def acknowledge(self, message: Message) -> None:
        """It was dealt with."""
        if message.packet_id is not None and self.open:
            self._outgoing += dialect.puback(message.packet_id)

    def leave(self) -> None:
        """Say goodbye: what the last will says is said now."""
        if self.open:
            self._write(self._will.topic, Document(self._will.payload))
            self._outgoing += dialect.DISCONNECT
        self._over = True

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes arrived, cut anywhere."""
        self._keep_alive.heard(now)
        try:
            for said in [] if self._over else self._reader.read(data):
                self._handle(said, now)
                if self._over:
                    break
        except ProtocolViolation as violation:
            self._end(violation.reason_code, violation.message)
        return self._drain()

    def timer(self, now: float) -> list[Event]:
        ping_at, dead_at = self._keep_alive.ping_at, self._keep_alive.dead_at
        if self._over:
            return []
        if not self.open and self._connect_by is not None and now >= self._connect_by:
            self._end(ReasonCode.KEEP_ALIVE_TIMEOUT, "the broker did not answer CONNECT in time")
        elif dead_at is not None and now >= dead_at:
            self._end(ReasonCode.KEEP_ALIVE_TIMEOUT, "nothing was heard for one and a half keep-alives")
        elif ping_at is not None and now >= ping_at:
            self._outgoing += dialect.PINGREQ
            self._keep_alive.pinged(now)
        return self._drain()

    def next_deadline(self) -> float | None:
        """When to call `timer`, at the latest."""
        if self._over:
            return None
        if not self.open:
            return self._connect_by
        times = (self._keep_alive.ping_at, self._keep_alive.dead_at)
        return min((at for at in times if at is not None), default=None)

    def to_send(self) -> bytes:
        """Bytes to write to the link."""
        data, self._outgoing = bytes(self._outgoing), bytearray()
        return data

    # --- what the broker says -------------------------------------------------------------------------------------

    def _handle(self, said: Said, now: float) -> None:
        if isinstance(said, Answer) is self.open:
            self._end(ReasonCode.PROTOCOL_ERROR, f"{type(said).__name__} out of turn")
        else:
            self._handlers[type(said)](said, now)

    def _on_answer(self, answer: Answer, now: float) -> None:
        if answer.code:
            self._over = True
            self._events.append(TurnedAway(answer.code, answer.reason))
            return
        self._limits = answer
        interval = self._interval if answer.keep_alive is None else answer.keep_alive
        self._keep_alive = KeepAlive(interval, now, self._ping_every)
        self._outgoing += dialect.subscribe(self.level, _SUBSCRIBE_ID, self._subscriptions)
        self._events.append(Opened())

    def _on_message(self, message: Message, now: float) -> None:
        self._events.append(message)

    def _on_taken(self, taken: Taken, now: float) -> None:
        topic = self._on_the_way.pop(taken.packet_id, None)
        if topic is not None and taken.code >= _FAILURE:
            self._events.append(NotTaken(topic, taken.code))

    def _on_subscribed(self, subscribed: Subscribed, now: float) -> None:
        for topic, code in zip(self._subscriptions, subscribed.codes, strict=False):
            if code >= _FAILURE:
                self._events.append(NotTaken(topic, code))

    # --- documents ------------------------------------------------------------------------------------------------

    @property
    def _most(self) -> int:
        if self._limits is None:
            return 0
        if self.level < dialect.MQTT_5:
            return MOST_TO_AN_OLDER
        return min(self._limits.receive_maximum, MOST_ON_THE_WAY)

    def _sendable(self) -> str | None:
        """The topic that has waited longest and is not on its way."""
        under_way = set(self._on_the_way.values())
        return next((topic for topic in self._waiting if topic not in under_way), None)

    def _write(self, topic: str, document: Document) -> bool:
        limits = self._limits
        assert limits is not None
        packet_id = self._new_id() if limits.max_qos else None
        retain = document.retain and limits.retains
        packet = dialect.publish(self.level, topic, document.payload, packet_id=packet_id, retain=retain)
        if limits.max_packet is not None and len(packet) > limits.max_packet:
            self._events.append(NotTaken(topic, ReasonCode.PACKET_TOO_LARGE))
            return False
        if packet_id is not None:
            self._on_the_way[packet_id] = topic
        self._outgoing += packet
        return True

    def _new_id(self) -> int:
        while True:
            self._next_id = self._next_id % 0xFFFF + 1
            if self._next_id not in self._on_the_way and self._next_id != _SUBSCRIBE_ID:
                return self._next_id

    def _end(self, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            self._events.append(Ended(code, reason))

    def _drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events
