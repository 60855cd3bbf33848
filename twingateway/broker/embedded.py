"""The default local broker: amqtt in this process, reachable only through the guard.

amqtt opens no socket of its own: connections are handed to it as checked byte streams.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twingateway.broker.guard import MAX_CONNECTIONS, Guard
from twingateway.broker.pipe import Inlet, Outlet
from twingateway.errors import BrokerError

if TYPE_CHECKING:
    from amqtt.broker import Broker

_LISTENER = "default"
#: Messages, of all clients together, that may wait for distribution.
MAX_CONGESTION = 1000


class Subscriptions(dict[str, Any]):
    """amqtt's table of them, which it walks over several turns for each new client while others subscribe: a walk is
    over what was there when it began, so that none of them loses its connection over it."""

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.keys()))


class EmbeddedBroker:
    """MQTT 3.1.1, anonymous, in memory: for local devices. `listen` is host and port, port 0 for any."""

    def __init__(self, listen: tuple[str, int], log: Any = None, max_connections: int = MAX_CONNECTIONS) -> None:
        import structlog

        self._guard = Guard(self, listen, log or structlog.get_logger("broker"), max_connections)
        self._broker: Broker | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to. Raises BrokerError unless started."""
        return self._guard.address

    @property
    def refused(self) -> int:
        """Connections closed for what they sent or did not send."""
        return self._guard.refused

    async def start(self) -> None:
        """Returns when clients can connect. Raises BrokerError."""
        from amqtt.broker import Broker
        from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
        from amqtt.errors import AMQTTError

        # What amqtt says about a connection, the guard has said already and better.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.WARNING)
        config = BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        )
        try:
            self._broker = Broker(config)
            self._broker._subscriptions = Subscriptions()
            await self._broker.start()
        except AMQTTError as error:
            raise BrokerError(f"the embedded broker did not start: {error}") from error
        try:
            await self._guard.start()
        except BrokerError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all connections; what was retained is forgotten."""
        await self._guard.stop()
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()

    async def attach(self, inlet: Inlet, outlet: Outlet) -> None:
        if self._broker is not None:
            await self._broker.external_connected(inlet, outlet, _LISTENER)

    def pending(self, client_id: str) -> int:
        if self._broker is None or client_id not in self._broker.sessions:
            return 0
        session, _ = self._broker.sessions[client_id]
        return int(session.delivered_message_queue.qsize())

    @property
    def congested(self) -> bool:
        return self._broker is not None and bool(self._broker._broadcast_queue.qsize() > MAX_CONGESTION)
