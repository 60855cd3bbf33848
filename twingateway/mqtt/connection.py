"""What both ends of an MQTT connection do alike: packets by stream to their duty, deadlines, and the end.

Strategy: bytes of the control stream are handled packet by packet; bytes of other streams are held until the
connection is open. `state` says what each packet means; `_duties` of the two ends does it. Every error raised on the
way, whoever is at fault, becomes a farewell to the peer and one `Closing` event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import mqtt5
from mqtt5 import Packet

from twingateway.errors import ProtocolViolation, TooLarge, TwinGatewayError
from twingateway.mqtt.events import Closing, Event, PeerDisconnected, Published
from twingateway.mqtt.keepalive import KeepAlive
from twingateway.mqtt.lanes import wrap
from twingateway.mqtt.reasons import ReasonCode, reason_code
from twingateway.mqtt.state import Duty, Machine, Outcome, Phase, Table
from twingateway.mqtt.streams import CONTROL_STREAM, Streams

#: Seconds from the start of a link until CONNACK.
CONNECT_TIMEOUT = 10.0


#: Methods of (stream, packet, now); the packet is of the class that the state tables list.
Duties: TypeAlias = Mapping[Duty, Callable[..., None]]


class Connection(ABC):
    """One end. Times are monotonic seconds; `receive` and `timer` never raise for what a peer does."""

    _duties: ClassVar[Duties]

    def __init__(self, table: Table, max_packet: int) -> None:
        self._machine = Machine(table)
        self._streams = Streams(max_packet)
        self._keep_alive = KeepAlive(0, 0.0)
        self._connect_by: float | None = None
        self._peer_max_packet: int | None = None
        self._events: list[Event] = []

    # --- for the owner ----------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Between CONNACK success and the end; what datagrams are accepted in."""
        return self._machine.open

    @property
    def sends(self) -> bool:
        """Whether what is published now leaves at once."""
        return self._machine.open

    @property
    def closed(self) -> bool:
        return self._machine.closed

    def start(self, now: float) -> None:
        """The link is up."""
        self._machine.step(Outcome.START)
        self._connect_by = now + CONNECT_TIMEOUT

    def receive(self, stream: int, data: bytes, now: float) -> list[Event]:
        """Bytes arrived on a stream, cut anywhere."""
        if self.closed:
            return []
        self.heard(now)
        try:
            if stream == CONTROL_STREAM or self.open:
                self._run(stream, data, now)
            else:
                self._streams.hold(stream, data, len(data))
        except TwinGatewayError as error:
            self._fail(reason_code(error), error.message)
        return self._drain()

    def heard(self, now: float) -> None:
        """Anything arrived from the peer, a datagram for instance."""
        self._keep_alive.heard(now)

    def to_send(self) -> list[tuple[int, bytes]]:
        """(stream id, bytes) to write to the link, in this order."""
        return self._streams.to_send()

    def next_deadline(self) -> float | None:
        """When to call `timer`, at the latest."""
        if self._machine.closed:
            return None
        dead_at = self._keep_alive.dead_at
        other = self._next_of_phase()
        return dead_at if other is None or (dead_at is not None and dead_at < other) else other

    def timer(self, now: float) -> list[Event]:
        """Time has passed."""
        dead_at = self._keep_alive.dead_at
        if self.closed or self._machine.phase is Phase.IDLE:
            return []
        if not self.open and self._connect_by is not None and now >= self._connect_by:
            self._connect_timed_out()
        elif dead_at is not None and now >= dead_at:
            self._fail(ReasonCode.KEEP_ALIVE_TIMEOUT, "nothing was heard for one and a half keep-alives")
        return self._drain()

    def disconnect(self, reason_code: int = ReasonCode.SUCCESS, reason: str = "") -> None:
        """Say goodbye; the owner closes the link once that is flushed. Nothing is reported any more."""
        if not self.closed:
            if self._machine.phase is not Phase.IDLE:
                self._streams.write(CONTROL_STREAM, self._farewell(reason_code, reason))
            self._machine.step(Outcome.CLOSE)

    # --- for the two ends -------------------------------------------------------------------------------------

    @abstractmethod
    def _farewell(self, code: int, reason: str) -> bytes:
        """The packet that ends the connection in the present phase."""

    @abstractmethod
    def _connect_timed_out(self) -> None: ...

    def _next_of_phase(self) -> float | None:
        """What is due beside the end of the peer's keep-alive, in the present phase."""
        return None if self._machine.open else self._connect_by

    def _run(self, stream: int, data: bytes, now: float) -> None:
        for packet in self._streams.read(stream, data):
            self._handle(stream, packet, now)
            if self.closed:
                return

    def _handle(self, stream: int, packet: Packet, now: float) -> None:
        self._duties[self._machine.duty(stream, packet)](self, stream, packet, now)

    def _release(self, now: float) -> None:
        """Handle what was held until the connection is open."""
        for stream, early in self._streams.release():
            if isinstance(early, bytes):
                self._run(stream, early, now)
            else:
                self._handle(stream, early, now)
            if self.closed:
                return

    def _wrapped(self, topic: str, payload: bytes) -> bytes:
        packet = wrap(topic, payload)
        if self._peer_max_packet is not None and len(packet) > self._peer_max_packet:
            raise TooLarge(f"a packet of {len(packet)} bytes; the peer accepts {self._peer_max_packet}")
        return packet

    def _emit(self, event: Event) -> None:
        self._events.append(event)

    def _drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _fail(self, code: int, message: str) -> None:
        if not self.closed:
            self.disconnect(code, message)
            self._emit(Closing(code, message))

    def _deliver(self, stream: int, packet: mqtt5.PublishPacket, now: float) -> None:
        if int(packet.qos):
            raise ProtocolViolation("nodes publish at QoS 0", ReasonCode.QOS_NOT_SUPPORTED)
        if packet.retain:
            raise ProtocolViolation("nodes retain nothing", ReasonCode.RETAIN_NOT_SUPPORTED)
        self._emit(Published(packet.topic, packet.payload, stream))

    def _leave(self, stream: int, packet: mqtt5.DisconnectPacket, now: float) -> None:
        self._machine.step(Outcome.CLOSE)
        self._emit(PeerDisconnected(int(packet.reason_code), packet.reason_str or ""))

    def _ignore(self, stream: int, packet: Packet, now: float) -> None:
        pass


def continues(packet: mqtt5.AuthPacket, method: str) -> None:
    """Raises ProtocolViolation unless this AUTH continues the exchange that CONNECT began."""
    if int(packet.reason_code) != mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION:
        raise ProtocolViolation("AUTH does not continue the authentication", ReasonCode.PROTOCOL_ERROR)
    if packet.authentication_method != method:
        raise ProtocolViolation("AUTH names another method than CONNECT", ReasonCode.PROTOCOL_ERROR)
