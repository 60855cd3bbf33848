"""One connection: a link below, an MQTT connection on it, and on that the session with the peer at its other end.

A carrier only moves things: bytes → packets → frames → registers, and back. It judges nothing (Inbound does), keeps
nothing beyond the connection (the session does) and makes nothing durable (the ledger does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from twingateway.errors import LinkError, ProtocolViolation, TwinGatewayError
from twingateway.gateway.inbound import Inbound
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.peers import Peer, Peers
from twingateway.mqtt.events import Closing, PeerDisconnected, Published
from twingateway.mqtt.events import Event as MqttEvent
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC, overhead, unwrap_datagram, wrap
from twingateway.mqtt.streams import STATE_STREAM
from twingateway.ports.link import CONTROL_STREAM, Link, LinkFacts
from twingateway.ports.store import PeerRecord
from twingateway.sync import events as sync_events

log = structlog.get_logger("link")

#: Bytes that may wait on the state stream before more frames are built.
STREAM_BACKLOG = 32 * 1024
#: Bytes that a peer may leave unread on the control stream before it is taken for one that never reads.
CONTROL_BACKLOG = 16 * 1024 * 1024
#: MQTT 5 reason codes.
QUOTA_EXCEEDED, UNSPECIFIED = 0x97, 0x80
#: How soon to look again at a full state stream, in seconds.
STREAM_RETRY = 0.01

_STATE_OVERHEAD = overhead(STATE_TOPIC)


class Connection(Protocol):
    """What the client's and the server's MQTT connection have in common."""

    def receive(self, stream: int, data: bytes, now: float) -> list[MqttEvent]: ...
    def to_send(self) -> list[tuple[int, bytes]]: ...
    def publish(self, topic: str, payload: bytes, stream: int = 0) -> None: ...
    def heard(self, now: float) -> None: ...
    def timer(self, now: float) -> list[MqttEvent]: ...
    def next_deadline(self) -> float | None: ...
    def disconnect(self, reason_code: int, reason: str) -> None: ...


class PeerEvents(Protocol):
    """What the gateway does when something about a peer happens."""

    def linked(self, peer: Peer) -> None:
        """The peer proved who it is and a session runs on a new link."""
        ...

    def unlinked(self, peer: Peer) -> None: ...

    def control(self, peer: Peer, kind: str, body: Any) -> None:
        """An application message. Raises ProtocolViolation for one that makes no sense."""
        ...

    def refused(self, peer: Peer, event: sync_events.PeerRefused) -> None: ...

    def rolled_back(self, peer: Peer) -> None:
        """The peer was told of numbers that this store does not know: it is an older copy of itself."""
        ...


class Carrier:
    """Implements LinkHandler; the client's and the server's side derive from it."""

    def __init__(self, peers: Peers, inbound: Inbound, ledger: Ledger, peer_events: PeerEvents) -> None:
        self._peers = peers
        self._inbound = inbound
        self._ledger = ledger
        self._peer_events = peer_events
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._peer: Peer | None = None
        self._number = 0
        self._mqtt_handlers: dict[type, Callable[[Any, float], None]] = {
            Published: self._on_published,
            PeerDisconnected: self._on_peer_disconnected,
            Closing: self._on_closing,
        }
        self._session_handlers: dict[type, Callable[[Peer, Any], None]] = {
            sync_events.RegistersReceived: self._on_registers,
            sync_events.ResumeNeeded: self._on_resume,
            sync_events.CompareNeeded: self._on_compare,
            sync_events.LowAdvanced: self._on_position,
            sync_events.PeerStoreChanged: self._on_position,
            sync_events.PeerRefused: self._peer_events.refused,
            sync_events.ControlReceived: lambda peer, event: self._peer_events.control(peer, event.kind, event.body),
            sync_events.LocalRolledBack: lambda peer, event: self._peer_events.rolled_back(peer),
            sync_events.Durable: lambda peer, event: None,
        }
        self._lanes: dict[str, Callable[[Peer, bytes, float], None]] = {
            STATE_TOPIC: self._on_state,
            CONTROL_TOPIC: self._on_control,
        }
        self._now = 0.0

    # --- Line: what the gateway asks of a peer's live connection ------------------------------------------------

    @property
    def number(self) -> int:
        return self._number

    def wake(self) -> None:
        if self._link is not None:
            self._link.wake()

    def send_control(self, kind: str, body: dict[str, Any]) -> None:
        if self._peer is None:
            return
        try:
            self._peer.session.send_control(self._number, kind, body)
        except ValueError as error:
            log.error("a control message cannot be sent", peer=self._name, kind=kind, reason=str(error))
        self.wake()

    def close(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.disconnect(0, reason)
            self._flush()
        if self._link is not None:
            self._link.close(0, reason)

    def facts(self) -> LinkFacts:
        return LinkFacts("none", "") if self._link is None else self._link.facts()

    # --- LinkHandler ---------------------------------------------------------------------------------------------

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        if self._connection is not None:
            self._handle(self._connection.receive(stream, data, now), now)
        self._pump(now)

    def datagram(self, data: bytes, now: float) -> None:
        connection, peer = self._connection, self._peer
        if connection is None or peer is None or peer.line is not self:
            return  # before the peer proved who it is: dropped, unacknowledged
        connection.heard(now)
        self._now = now
        with self._contained():
            topic, payload = unwrap_datagram(data)
            self._lane(topic, peer, payload, now)
        self._pump(now)

    def next_datagram(self, room: int, now: float) -> bytes | None:
        if self._peer is None:
            return None
        frame = self._peer.session.next_frame(self._number, room - _STATE_OVERHEAD, now)
        if frame is None:
            self._arm(now)
            return None
        return wrap(STATE_TOPIC, frame)

    def timer(self, now: float) -> None:
        if self._connection is not None:
            self._handle(self._connection.timer(now), now)
        self._pump(now)

    def closed(self, error: LinkError | None, now: float) -> None:
        peer, self._link, self._connection = self._peer, None, None
        self._peer = None
        if peer is not None:
            peer.session.detach(self._number)
            if peer.line is self:
                peer.line = None
                self._peer_events.unlinked(peer)

    # --- joining -------------------------------------------------------------------------------------------------

    def _join(self, peer: Peer, now: float) -> None:
        """The session of `peer` runs on this link from now on; an older link of the same peer gives way."""
        assert self._link is not None
        older, peer.line = peer.line, self
        self._peer = peer
        self._number = peer.next_link()
        room = self._link.datagram_room
        peer.session.attach(self._number, datagrams=max(0, room - _STATE_OVERHEAD), now=now)
        if older is not None:
            older.close("a newer connection of the same node took over")
        self._peer_events.linked(peer)
        self._pump(now)

    def _handle(self, events: list[MqttEvent], now: float) -> None:
        self._now = now
        with self._contained():
            for event in events:
                self._mqtt_handlers[type(event)](event, now)

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """What goes wrong with what this peer sent ends this connection, and nothing else."""
        try:
            yield
        except ProtocolViolation as error:
            self._violated(error)
        except TwinGatewayError as error:  # no room for what it sends: it comes again and sends it again
            self._violated(ProtocolViolation(error.message, reason_code=QUOTA_EXCEEDED))
        except Exception:
            log.exception("a connection's handler failed", peer=self._name)
            self._violated(ProtocolViolation("internal error", reason_code=UNSPECIFIED))

    def _on_published(self, event: Published, now: float) -> None:
        if self._peer is not None:
            self._lane(event.topic, self._peer, event.payload, now)

    def _on_peer_disconnected(self, event: PeerDisconnected, now: float) -> None:
        log.info("peer disconnected", peer=self._name, reason=event.reason, code=event.reason_code)
        if self._link is not None:
            self._link.close(0, "")

    def _on_closing(self, event: Closing, now: float) -> None:
        log.warning("closing a connection", peer=self._name, reason=event.message, code=event.reason_code)
        self._flush()
        if self._link is not None:
            self._link.close(0, event.message)

    def _lane(self, topic: str, peer: Peer, payload: bytes, now: float) -> None:
        lane = self._lanes.get(topic)
        if lane is None:
            raise ProtocolViolation(f"nodes do not publish to {topic!r}", reason_code=0x90)
        lane(peer, payload, now)

    def _on_state(self, peer: Peer, payload: bytes, now: float) -> None:
        self._session(peer, peer.session.receive_state(self._number, payload, now))

    def _on_control(self, peer: Peer, payload: bytes, now: float) -> None:
        self._session(peer, peer.session.receive_control(self._number, payload, now))

    def _session(self, peer: Peer, events: list[sync_events.Event]) -> None:
        for event in events:
            self._session_handlers[type(event)](peer, event)

    # --- the session's events ------------------------------------------------------------------------------------

    def _on_registers(self, peer: Peer, event: sync_events.RegistersReceived) -> None:
        session, number = peer.session, self._number
        accepted = []
        for register in event.registers:
            refusal = self._inbound.judge(peer, register)
            if refusal is None:
                accepted.append(register)
            else:
                session.refuse(number, event.frame, register.key, register.version, refusal.code, refusal.message)

        def durable() -> None:
            session.committed(number, event.frame)
            self.wake()

        self._ledger.apply(accepted, origin=peer.name, then=durable)

    def _on_resume(self, peer: Peer, event: sync_events.ResumeNeeded) -> None:
        peer.session.resume(self._number, self._peers.scope(peer), self._now)

    def _on_compare(self, peer: Peer, event: sync_events.CompareNeeded) -> None:
        peer.session.compare(self._number, self._peers.origin(peer))

    def _on_position(self, peer: Peer, event: sync_events.LowAdvanced | sync_events.PeerStoreChanged) -> None:
        record = PeerRecord(peer.name, event.store_id, event.low, event.boot_id, event.lsn)
        self._peers.remember(record)
        self._ledger.remember(record)

    # --- sending -------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Move what is ready into the link's streams, and ask it for a round of datagrams."""
        if self._link is None or self._connection is None:
            return
        peer = self._peer
        if peer is not None:
            while (message := peer.session.next_control(self._number)) is not None:
                self._connection.publish(CONTROL_TOPIC, message)
            if self._link.unsent(CONTROL_STREAM) > CONTROL_BACKLOG:
                self._violated(ProtocolViolation("what was sent is never read", reason_code=QUOTA_EXCEEDED))
                return
            self._pump_stream(peer, self._connection, self._link, now)
        self._flush()
        self._link.wake()
        self._arm(now)

    def _pump_stream(self, peer: Peer, connection: Connection, link: Link, now: float) -> None:
        room = STREAM_BACKLOG - link.unsent(STATE_STREAM)
        while room > 0 and (frame := peer.session.next_stream_frame(self._number, now)) is not None:
            connection.publish(STATE_TOPIC, frame, STATE_STREAM)
            room -= len(frame)
        if room <= 0:
            link.wake(now + STREAM_RETRY)

    def _flush(self) -> None:
        if self._connection is not None and self._link is not None:
            for stream, data in self._connection.to_send():
                self._link.write(stream, data)

    def _arm(self, now: float) -> None:
        if self._link is None or self._connection is None:
            return
        deadlines = [self._connection.next_deadline()]
        if self._peer is not None:
            deadlines.append(self._peer.session.next_deadline(self._number))
        # A deadline that has come means "as soon as there is room": the link asks by itself when there is.
        earliest = min((d for d in deadlines if d is not None and d > now), default=None)
        if earliest is not None:
            self._link.wake(earliest)

    def _violated(self, error: ProtocolViolation) -> None:
        log.warning("protocol violation", peer=self._name, reason=error.message, code=error.reason_code)
        if self._connection is not None:
            self._connection.disconnect(error.reason_code, error.message)
            self._flush()
        if self._link is not None:
            self._link.close(0, error.message)

    @property
    def _name(self) -> str:
        return self.facts().peer_address if self._peer is None else self._peer.name
