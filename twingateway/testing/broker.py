"""A broker in memory, for adapters' tests: what a device says is delivered at once, what is published is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from twingateway.adapter import Message
from twingateway.errors import BrokerError

Handler = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class Published:
    """One message that the code under test published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class MemorySubscription:
    def __init__(self, topic_filter: str, handler: Handler, forget: Callable[[MemorySubscription], None]) -> None:
        self.topic_filter = topic_filter
        self.handler = handler
        self._forget = forget

    def cancel(self) -> None:
        self._forget(self)


class MemoryBroker:
    """A `BrokerClient`. `deliver` speaks as a device; `published` is what adapters sent; `respond` plays a device
    that answers commands; `down = True` makes every publish raise BrokerError."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.retained: dict[str, bytes] = {}
        self.down = False
        self._subscriptions: list[MemorySubscription] = []
        self._responders: list[tuple[str, Callable[[Published], None]]] = []

    @property
    def filters(self) -> list[str]:
        """The topic filters subscribed to now."""
        return [subscription.topic_filter for subscription in self._subscriptions]

    def subscribe(self, topic_filter: str, handler: Handler) -> MemorySubscription:
        subscription = MemorySubscription(topic_filter, handler, self._forget)
        self._subscriptions.append(subscription)
        for topic, payload in self.retained.items():
            if _matches(topic_filter, topic):
                message = Message(topic, payload, retain=True)
                asyncio.get_running_loop().call_soon(self._hand_over, subscription, message)
        return subscription

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise BrokerError("the broker is down")
        message = Published(topic, payload, qos, retain)
        self.published.append(message)
        self.deliver(topic, payload, retain=retain)
        for topic_filter, responder in list(self._responders):
            if _matches(topic_filter, topic):
                asyncio.get_running_loop().call_soon(responder, message)

    def deliver(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """A device publishes; every matching handler has run when this returns."""
        data = payload.encode() if isinstance(payload, str) else payload
        if retain:
            self.retained[topic] = data
            if not data:
                del self.retained[topic]
        for subscription in list(self._subscriptions):
            if _matches(subscription.topic_filter, topic):
                self._hand_over(subscription, Message(topic, data))

    def respond(self, topic_filter: str, responder: Callable[[Published], None]) -> None:
        """Call `responder` soon after every matching publish of the code under test."""
        self._responders.append((topic_filter, responder))

    def _hand_over(self, subscription: MemorySubscription, message: Message) -> None:
        if subscription in self._subscriptions:
            subscription.handler(message)

    def _forget(self, subscription: MemorySubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


def _matches(topic_filter: str, topic: str) -> bool:
    from paho.mqtt.client import topic_matches_sub

    return topic_matches_sub(topic_filter, topic)
