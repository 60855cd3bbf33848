"""One connection: a link below, an MQTT connection on it, and on that the session with the peer at its other end.

A carrier only moves things: bytes → packets → frames, which `Intake` takes, and back. It judges nothing and keeps
nothing beyond the connection (the session does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Protocol

import structlog

from twingateway.errors import LinkError, ProtocolViolation, TwinGatewayError
from twingateway.gateway.peering.debts import Debts
from twingateway.gateway.peering.intake import Intake
from twingateway.gateway.peering.journal_lane import JournalLane
from twingateway.gateway.peering.peer_events import PeerEvents
from twingateway.gateway.peering.peers import Direction, Peer
from twingateway.gateway.state.meter import Meter
from twingateway.mqtt.events import Closing, PeerDisconnected, Published
from twingateway.mqtt.events import Event as MqttEvent
from twingateway.mqtt.lanes import CONTROL_TOPIC, JOURNAL_TOPICS, STATE_TOPIC, overhead, unwrap_datagram, wrap
from twingateway.mqtt.streams import STATE_STREAM
from twingateway.ports.link import CONTROL_STREAM, Link, LinkFacts

log = structlog.get_logger("link")

#: Bytes that may wait on the state stream before more frames are built.
STREAM_BACKLOG = 32 * 1024
#: Bytes that a peer may leave unread on the control stream before it is taken for one that never reads.
CONTROL_BACKLOG = 16 * 1024 * 1024
#: MQTT 5 reason codes.
QUOTA_EXCEEDED, UNSPECIFIED = 0x97, 0x80
#: How soon to look again at a full state stream, in seconds.
STREAM_RETRY = 0.01
#: A peer that was asked every so often whether it is there is quiet after so many times that long.
QUIET_AFTER = 1.5

_STATE_OVERHEAD = overhead(STATE_TOPIC)


def told_seconds(text: str, limits: tuple[float, float]) -> float | None:
    """A time that a peer told as a capability; None if it did not, or if it is out of `limits` (least, most)."""
    try:
        interval = float(text)
    except ValueError:
        return None
    return interval if limits[0] <= interval <= limits[1] else None


class Connection(Protocol):
    """What the client's and the server's MQTT connection have in common."""

    @property
    def open(self) -> bool: ...
    @property
    def sends(self) -> bool: ...
    def receive(self, stream: int, data: bytes, now: float) -> list[MqttEvent]: ...
    def to_send(self) -> list[tuple[int, bytes]]: ...
    def publish(self, topic: str, payload: bytes, stream: int = 0) -> None: ...
    def heard(self, now: float) -> None: ...
    def timer(self, now: float) -> list[MqttEvent]: ...
    def next_deadline(self) -> float | None: ...
    def disconnect(self, reason_code: int, reason: str) -> None: ...


class Carrier:
    """Implements LinkHandler and Line; the client's and the server's side derive from it."""

    url = ""

    def __init__(self, intake: Intake, peer_events: PeerEvents) -> None:
        self._intake = intake
        self._peer_events = peer_events
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._peer: Peer | None = None
        self._journal: JournalLane | None = None
        self._number = 0
        self._by_datagram = False
        self.quiet = True
        self._heard_at = 0.0
        self._quiet_after: float | None = None
        self._debts: Debts | None = None
        self._has_said = True
        """Whether anything went into the link lately, which the peer may have to answer."""
        self._frames = Meter()
        self._mqtt_handlers: dict[type, Callable[[Any, float], None]] = {
            Published: self._on_published,
            PeerDisconnected: self._on_peer_disconnected,
            Closing: self._on_closing,
        }
        self._now = 0.0

    # --- Line: what the gateway asks of a peer's live connection ------------------------------------------------

    @property
    def number(self) -> int:
        return self._number

    def wake(self) -> None:
        if self._link is not None and self._by_datagram:
            self._link.wake()
        else:
            self.pump()

    def pump(self) -> None:
        if self._link is not None:
            self._link.wake(self._now)  # in the past: as soon as may be

    def send_control(self, kind: str, body: dict[str, Any]) -> None:
        if self._peer is None:
            return
        try:
            self._peer.session.send_control(self._number, kind, body)
        except ValueError as error:
            log.error("a control message cannot be sent", peer=self._name, kind=kind, reason=str(error))
        self.pump()

    def close(self, reason: str, code: int = 0) -> None:
        if self._connection is not None:
            self._connection.disconnect(code, reason)
            self._flush()
        if self._link is not None:
            self._link.close(0, reason)

    def facts(self) -> LinkFacts:
        if self._link is None:
            return LinkFacts("none", "")
        rate = self._frames.rate(asyncio.get_running_loop().time())
        return replace(self._link.facts(), frame_rate=rate)

    # --- LinkHandler ---------------------------------------------------------------------------------------------

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        return ()

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        self._hear(now)
        if self._connection is not None:
            self._handle(self._connection.receive(stream, data, now), now)
        self._pump(now)

    def datagram(self, data: bytes, now: float) -> None:
        connection, peer = self._connection, self._peer
        if connection is None or peer is None or not connection.open:
            return  # before the peer proved who it is: dropped, unacknowledged
        self._hear(now)
        connection.heard(now)
        self._now = now
        self._contained(self._unwrap, peer, data, now)
        self._pump(now)

    def next_datagram(self, room: int, now: float) -> bytes | None:
        if self._peer is None or self._connection is None or self._link is None or not self._connection.sends:
            return None
        routine = self._journal is None or self._journal.may_report(now)
        frame = self._peer.session.next_frame(
            self._number, room - _STATE_OVERHEAD, now, routine=routine, roomy=self._link.is_roomy(now)
        )
        if frame is None:
            self._arm(now, self._pump_what_is_large(self._peer, self._connection, now))
            return None
        self._has_said = True
        self._frames.add(len(frame), now)
        return wrap(STATE_TOPIC, frame)

    def timer(self, now: float) -> None:
        if self._connection is not None:
            self._handle(self._connection.timer(now), now)
        self._pump(now)

    def closed(self, error: LinkError | None, now: float) -> None:
        self._link = self._connection = None
        self._detach()

    # --- joining -------------------------------------------------------------------------------------------------

    def _attach(self, peer: Peer, now: float) -> None:
        """The session of `peer` sends on this link from now on; older links go on receiving."""
        assert self._link is not None
        self._peer = peer
        self._number = peer.next_link()
        self._debts = Debts(peer.session, self._number, self.facts)
        peer.lines.append(self)
        room = self._link.datagram_room
        self._by_datagram = room > 0
        eager = peer.direction is Direction.PARENT
        peer.session.attach(self._number, datagrams=max(0, room - _STATE_OVERHEAD), now=now, eager=eager)
        if self._connection is not None:
            opens = peer.direction is Direction.PARENT
            events = self._peer_events.journal
            self._journal = JournalLane(peer, self._number, self._link, self._connection, events, opens=opens)

    def _detach(self) -> None:
        """The session goes on without this link."""
        peer, self._peer = self._peer, None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if peer is not None:
            sent = peer.session.active == self._number
            peer.session.detach(self._number)
            peer.lines.remove(self)
            self._peer_events.unlinked(peer, sent=sent)

    def _linked(self, peer: Peer, now: float) -> None:
        """Both ends have accepted each other."""
        self.quiet = False
        self._heard_at = now
        self._peer_events.linked(peer)
        self._pump(now)

    def _hear(self, now: float) -> None:
        self._heard_at = now
        if self.quiet and self._peer is not None and self._connection is not None and self._connection.open:
            self._turn(self._peer, quiet=False)

    def _turn(self, peer: Peer, *, quiet: bool) -> None:
        self.quiet = quiet
        self._peer_events.reached(peer)

    def _is_quiet(self, now: float) -> bool:
        """Whether the peer says so little that it may be gone."""
        return self._quiet_after is not None and now >= self._heard_at + self._quiet_after

    def _watch(self, peer: Peer, now: float) -> None:
        """What has to be looked at now and then, on a link that is open."""
        overdue = None if self._debts is None else self._debts.overdue(now, heard=not self.quiet)
        if overdue is not None:
            self._violated(ProtocolViolation(overdue, reason_code=QUOTA_EXCEEDED))
        if not self.quiet and self._is_quiet(now):
            self._turn(peer, quiet=True)

    def _handle(self, events: list[MqttEvent], now: float) -> None:
        self._now = now
        for event in events:
            if not self._contained(self._mqtt_handlers[type(event)], event, now):
                return

    def _contained(self, take: Callable[..., None], *arguments: Any) -> bool:
        """What goes wrong with what this peer sent ends this connection, and nothing else. Whether all went well."""
        try:
            take(*arguments)
            return True
        except ProtocolViolation as error:
            self._violated(error)
        except TwinGatewayError as error:  # no room for what it sends: it comes again and sends it again
            self._violated(ProtocolViolation(error.message, reason_code=QUOTA_EXCEEDED))
        except Exception:
            log.exception("a connection's handler failed", peer=self._name)
            self._violated(ProtocolViolation("internal error", reason_code=UNSPECIFIED))
        return False

    def _unwrap(self, peer: Peer, datagram: bytes, now: float) -> None:
        topic, payload = unwrap_datagram(datagram)
        self._intake.take(peer, self, topic, payload, now)

    def _on_published(self, event: Published, now: float) -> None:
        if self._peer is None:
            return
        if event.topic in JOURNAL_TOPICS and self._journal is not None:
            self._journal.receive(event.topic, event.payload)
        else:
            self._intake.take(self._peer, self, event.topic, event.payload, now)

    def _on_peer_disconnected(self, event: PeerDisconnected, now: float) -> None:
        log.info("peer disconnected", peer=self._name, reason=event.reason, code=event.reason_code)
        if self._link is not None:
            self._link.close(0, "")

    def _on_closing(self, event: Closing, now: float) -> None:
        log.warning("closing a connection", peer=self._name, reason=event.message, code=event.reason_code)
        self._flush()
        if self._link is not None:
            self._link.close(0, event.message)

    # --- sending -------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Move what is ready into the link's streams, and ask it for a round of datagrams."""
        link, connection, peer = self._link, self._connection, self._peer
        if link is None or connection is None:
            return
        due = None
        if peer is not None:
            if connection.open:
                self._watch(peer, now)
            while (message := peer.session.next_control(self._number)) is not None:
                if link.unsent(CONTROL_STREAM) > CONTROL_BACKLOG:
                    self._violated(ProtocolViolation("what was sent is never read", reason_code=QUOTA_EXCEEDED))
                    return
                connection.publish(CONTROL_TOPIC, message)
            if connection.sends:
                self._pump_stream(peer, connection, link, now)
                if self._journal is not None:
                    self._flush()  # so that what is urgent counts as unsent by now
                    self._journal.pump(now)
            due = peer.session.next_deadline(self._number)
        self._flush()
        if due is not None and due <= now:
            link.wake()
        self._arm(now, due)

    def _pump_stream(self, peer: Peer, connection: Connection, link: Link, now: float) -> None:
        # On a link without datagrams all state goes this way: one frame at a time, so that nothing stale waits.
        room = (STREAM_BACKLOG if link.datagram_room else 1) - link.unsent(STATE_STREAM)
        while (
            room > 0 and connection.sends and (frame := peer.session.next_stream_frame(self._number, now)) is not None
        ):
            self._frames.add(len(frame), now)
            connection.publish(STATE_TOPIC, frame, STATE_STREAM)
            room -= len(frame)
        if room <= 0:
            link.wake(now + STREAM_RETRY)

    def _pump_what_is_large(self, peer: Peer, connection: Connection, now: float) -> float | None:
        """What is due that no datagram takes; the session's next deadline."""
        due = peer.session.next_deadline(self._number)
        if due is not None and due <= now and self._link is not None:
            self._pump_stream(peer, connection, self._link, now)
            self._flush()
            due = peer.session.next_deadline(self._number)
        return due

    def _flush(self) -> None:
        if self._connection is not None and self._link is not None:
            for stream, data in self._connection.to_send():
                self._link.write(stream, data)
                self._has_said = True

    def _arm(self, now: float, due: float | None) -> None:
        """Ask for the next call of `timer`; `due`: the session's deadline."""
        if self._link is None or self._connection is None:
            return
        # One that has come means "as soon as there is room": the link asks by itself when there is.
        at = inf if due is None or due <= now else due
        due = self._connection.next_deadline()
        if due is not None and now < due < at:
            at = due
        if self._peer is not None:
            for due in self._own_deadlines(now):
                if now < due < at:
                    at = due
        if at < inf:
            self._link.wake(at)

    def _own_deadlines(self, now: float) -> tuple[float, ...]:
        return () if self._quiet_after is None else (self._heard_at + self._quiet_after,)

    def _violated(self, error: ProtocolViolation) -> None:
        log.warning("protocol violation", peer=self._name, reason=error.message, code=error.reason_code)
        self.close(error.message, error.reason_code)

    @property
    def _name(self) -> str:
        return self.facts().peer_address if self._peer is None else self._peer.name
