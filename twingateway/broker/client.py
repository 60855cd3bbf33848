"""The node's own connection to its broker, embedded or external, over paho-mqtt (MQTT 3.1.1).

paho keeps the connection in a thread of its own and reconnects by itself. Everything else happens on the event loop:
the thread only posts to it, through a gate that holds the thread back while too many messages wait. What could not be
acknowledged on one connection is not sent again on the next: a command that its caller has given up must not arrive
later.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twingateway.adapter import Message
from twingateway.errors import BrokerError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

Handler = Callable[[Message], None]

PUBLISH_TIME = 10.0
#: Messages on their way to the broker at a time; 3.1.1 brokers commonly allow 20.
MAX_IN_FLIGHT = 20
#: Callers that may wait for one of those places.
MAX_WAITING = 1000
#: Received messages that may wait for the event loop.
MAX_RECEIVED = 10_000
#: Topics that a subscription remembers to have heard.
MAX_KNOWN_TOPICS = 10_000
_KEEP_ALIVE = 30
_FILTERS_PER_SUBSCRIBE = 100


class _Shared:
    """One topic filter and everybody who asked for it."""

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        self.handlers: list[_Subscription] = []


class _Subscription:
    def __init__(self, shared: _Shared, handler: Handler, cancel: Callable[[_Subscription], None]) -> None:
        self.shared = shared
        self.handler = handler
        self._cancel = cancel
        self._known: set[str] = set()

    def hand_over(self, message: Message) -> None:
        """Within one connection a retained message is news only as the first one of its topic: later ones come
        because somebody else subscribed, and may be older than what was published without being retained."""
        if message.retain and message.topic in self._known:
            return
        if len(self._known) >= MAX_KNOWN_TOPICS:
            self._known.clear()
        self._known.add(message.topic)
        self.handler(message)

    def reconnected(self) -> None:
        self._known.clear()

    def cancel(self) -> None:
        self._cancel(self)


class PahoBroker:
    """A `BrokerClient` for the broker at `host`:`port`. Call it on one event loop only."""

    def __init__(
        self, host: str, port: int, username: str | None = None, password: str | None = None, log: Any = None
    ) -> None:
        import structlog

        self._host = host
        self._port = port
        self._credentials = (username, password)
        self._log = log or structlog.get_logger("broker")
        self._client: Client | None = None
        self._filters: dict[str, _Shared] = {}
        self._matcher: Any = None
        self._connected = asyncio.Event()
        self._waiting = 0
        self._places = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._unacknowledged: dict[int, asyncio.Future[None]] = {}
        self._received: deque[Message] = deque()
        self._gate = threading.BoundedSemaphore(MAX_RECEIVED)
        self._stopping = False

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def start(self) -> None:
        """Begin to connect; does not wait for the broker."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
        from paho.mqtt.matcher import MQTTMatcher

        self._loop = asyncio.get_running_loop()
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        for topic_filter, shared in self._filters.items():
            self._matcher[topic_filter] = shared
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.max_queued_messages_set(2 * MAX_IN_FLIGHT)
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        username, password = self._credentials
        if username is not None:
            client.username_pw_set(username, password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        self._client = client
        self._stopping = False
        client.connect_async(self._host, self._port, keepalive=_KEEP_ALIVE)
        client.loop_start()

    async def stop(self) -> None:
        """Disconnect; publishes under way raise BrokerError."""
        client, self._client = self._client, None
        if client is None:
            return
        self._stopping = True
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
        self._lost("the node is stopping")

    async def until_connected(self, timeout: float = PUBLISH_TIME) -> None:
        """Raises BrokerError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
        except TimeoutError:
            raise BrokerError(f"no connection to the MQTT broker at {self._host}:{self._port}") from None

    # --- subscribing ------------------------------------------------------------------------------------------

    def subscribe(self, topic_filter: str, handler: Handler) -> _Subscription:
        shared = self._filters.get(topic_filter)
        if shared is None:
            shared = self._filters[topic_filter] = _Shared(topic_filter)
            if self._matcher is not None:
                self._matcher[topic_filter] = shared
        subscription = _Subscription(shared, handler, self._cancel)
        shared.handlers.append(subscription)
        if self.connected:
            self._send_subscribe([topic_filter])
        return subscription

    def _cancel(self, subscription: _Subscription) -> None:
        shared = subscription.shared
        if subscription not in shared.handlers:
            return
        shared.handlers.remove(subscription)
        if shared.handlers:
            return
        del self._filters[shared.topic_filter]
        if self._matcher is not None:
            del self._matcher[shared.topic_filter]
        if self._client is not None and self.connected:
            self._client.unsubscribe(shared.topic_filter)

    def _send_subscribe(self, filters: Sequence[str]) -> None:
        if self._client is None:
            return
        for start in range(0, len(filters), _FILTERS_PER_SUBSCRIBE):
            batch = [(topic_filter, 1) for topic_filter in filters[start : start + _FILTERS_PER_SUBSCRIBE]]
            self._client.subscribe(batch)

    # --- publishing -------------------------------------------------------------------------------------------

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """With QoS 0 returns when the message was handed to the network."""
        if self._waiting >= MAX_WAITING:
            raise BrokerError(f"{MAX_WAITING} messages wait for the MQTT broker already; {topic} was not published")
        self._waiting += 1
        try:
            async with asyncio.timeout(PUBLISH_TIME):
                async with self._places:
                    await self._connected.wait()
                    await self._publish_now(topic, payload, qos, retain)
        except TimeoutError:
            raise BrokerError(
                f"the MQTT broker at {self._host}:{self._port} did not acknowledge {topic} within {PUBLISH_TIME:g} s"
            ) from None
        finally:
            self._waiting -= 1

    async def _publish_now(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        client = self._client
        if client is None:
            raise BrokerError("the connection to the MQTT broker was closed")
        try:
            info = client.publish(topic, payload, qos, retain)
        except ValueError as error:
            raise BrokerError(f"{topic!r} cannot be published: {error}") from error
        if info.rc != 0:
            raise BrokerError(f"the MQTT broker did not take {topic}: {info.rc.name}")
        acknowledged = self._unacknowledged[info.mid] = self._loop.create_future()
        try:
            await acknowledged
        finally:
            if self._unacknowledged.get(info.mid) is acknowledged:
                del self._unacknowledged[info.mid]

    # --- on paho's thread -------------------------------------------------------------------------------------

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        client.drop_out_messages()
        if reason.is_failure:
            self._post(self._refused, str(reason))
        else:
            self._post(self._ready)

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._post(self._lost, str(reason))

    def _on_publish(
        self, client: Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._post(self._acknowledged, mid)

    def _on_subscribe(
        self, client: Client, userdata: object, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._post(self._not_subscribed)

    def _on_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        try:
            received = Message(message.topic, bytes(message.payload), message.retain)
        except UnicodeDecodeError:
            return
        while not self._gate.acquire(timeout=0.5):
            if self._stopping:
                return
        self._received.append(received)
        self._post(self._dispatch_next)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    # --- posted to the event loop -----------------------------------------------------------------------------

    def _ready(self) -> None:
        self._connected.set()
        self._log.info("mqtt broker connected", host=self._host, port=self._port)
        for shared in self._filters.values():
            for subscription in shared.handlers:
                subscription.reconnected()
        self._send_subscribe(list(self._filters))

    def _refused(self, reason: str) -> None:
        self._log.error("mqtt broker refused the connection", host=self._host, port=self._port, reason=reason)

    def _lost(self, reason: str) -> None:
        if self.connected:
            self._log.info("mqtt broker disconnected", host=self._host, port=self._port, reason=reason)
        self._connected.clear()
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        for future in unacknowledged.values():
            if not future.done():
                future.set_exception(BrokerError(f"the connection to the MQTT broker was lost ({reason})"))

    def _acknowledged(self, mid: int) -> None:
        future = self._unacknowledged.get(mid)
        if future is not None and not future.done():
            future.set_result(None)

    def _not_subscribed(self) -> None:
        self._log.error("mqtt broker refused a subscription", host=self._host, port=self._port)

    def _dispatch_next(self) -> None:
        self._gate.release()
        message = self._received.popleft()
        for shared in list(self._matcher.iter_match(message.topic)):
            for subscription in list(shared.handlers):
                try:
                    subscription.hand_over(message)
                except Exception:
                    self._log.exception("a handler failed on an mqtt message", topic=message.topic)
