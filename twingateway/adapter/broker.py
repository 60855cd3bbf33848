"""The node's local MQTT broker, as an adapter sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message as it arrived."""

    topic: str
    payload: bytes
    retain: bool = False


class Subscription(Protocol):
    def cancel(self) -> None:
        """Stop deliveries; further calls do nothing."""
        ...


class BrokerClient(Protocol):
    """Subscriptions survive reconnects to the broker; messages for one filter arrive in order."""

    def subscribe(self, topic_filter: str, handler: Callable[[Message], None]) -> Subscription:
        """Deliver every message that matches (MQTT wildcards `+` and `#`) to `handler`, on the event loop."""
        ...

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish; with QoS 1 returns after the broker's acknowledgement. Raises BrokerError within 10 s."""
        ...
