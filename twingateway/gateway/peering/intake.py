"""What comes from peers, taken into the gateway: frames and control messages go to the peer's session, and what that
makes of them to whom it concerns.

It keeps nothing: what a peer is known to have is the session's, and what it said, the ledger's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twingateway.errors import ProtocolViolation
from twingateway.gateway.peering.inbound import Inbound
from twingateway.gateway.peering.peer_events import PeerEvents
from twingateway.gateway.peering.peers import Line, Peer, Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC
from twingateway.ports.store import PeerRecord
from twingateway.sync.events import (
    CompareNeeded,
    ControlReceived,
    Durable,
    Event,
    FormerProcess,
    LocalRolledBack,
    LowAdvanced,
    PeerRefused,
    PeerStoreChanged,
    RegistersReceived,
    ResumeNeeded,
)


class Intake:
    """Of one gateway, for all of its links."""

    def __init__(self, peers: Peers, inbound: Inbound, ledger: Ledger, peer_events: PeerEvents) -> None:
        self._peers = peers
        self._inbound = inbound
        self._ledger = ledger
        self._peer_events = peer_events
        self._handlers: dict[type, Callable[[Peer, Line, Any, float], None]] = {
            RegistersReceived: self._on_registers,
            ResumeNeeded: self._on_resume,
            CompareNeeded: self._on_compare,
            LowAdvanced: self._on_position,
            PeerStoreChanged: self._on_position,
            PeerRefused: lambda peer, line, event, now: peer_events.refused(peer, event),
            ControlReceived: lambda peer, line, event, now: peer_events.control(peer, event.kind, event.body),
            FormerProcess: self._on_former,
            LocalRolledBack: lambda peer, line, event, now: peer_events.rolled_back(peer, event.forked_at),
            Durable: lambda peer, line, event, now: None,
        }

    def take(self, peer: Peer, line: Line, topic: str, payload: bytes, now: float) -> None:
        """What the peer published on its link `line`. Raises ProtocolViolation, or what the store has against it."""
        events: list[Event]
        if topic == STATE_TOPIC:
            events = peer.session.receive_state(line.number, payload, now)
        elif topic == CONTROL_TOPIC:
            events = peer.session.receive_control(line.number, payload, now)
        else:
            raise ProtocolViolation(f"nodes do not publish to {topic!r}", reason_code=0x90)
        for event in events:
            self._handlers[type(event)](peer, line, event, now)

    def take_early(self, peer: Peer, payload: bytes) -> None:
        """What a peer sent ahead of a handshake: nobody answers it. Raises ProtocolViolation, or what the store has
        against it."""
        registers, events = peer.session.read_early(payload)
        for event in events:
            if isinstance(event, LowAdvanced):
                self._keep_position(peer, event)
        verdicts = self._inbound.judge_all(peer, registers)
        good = [register for register, refusal in zip(registers, verdicts, strict=True) if refusal is None]
        self._ledger.apply(good, origin=peer.name, then=lambda: None)

    def _on_registers(self, peer: Peer, line: Line, event: RegistersReceived, now: float) -> None:
        session, number = peer.session, line.number
        accepted = []
        for register, refusal in zip(event.registers, self._inbound.judge_all(peer, event.registers), strict=True):
            if refusal is None:
                accepted.append(register)
            else:
                session.refuse(number, event.frame, register.key, register.version, refusal.code, refusal.message)

        def durable() -> None:
            session.committed(number, event.frame)
            line.wake()

        self._ledger.apply(accepted, origin=peer.name, then=durable)

    def _on_resume(self, peer: Peer, line: Line, event: ResumeNeeded, now: float) -> None:
        peer.session.resume(line.number, self._peers.scope(peer), now)

    def _on_compare(self, peer: Peer, line: Line, event: CompareNeeded, now: float) -> None:
        peer.session.compare(line.number, self._peers.origin(peer))

    def _on_position(self, peer: Peer, line: Line, event: LowAdvanced | PeerStoreChanged, now: float) -> None:
        self._keep_position(peer, event)

    def _on_former(self, peer: Peer, line: Line, event: FormerProcess, now: float) -> None:
        self._peer_events.turned_away(peer, line)
        line.close("another process of this name began later")

    def _keep_position(self, peer: Peer, event: LowAdvanced | PeerStoreChanged) -> None:
        """How far the peer's store has got, told in its next hello."""
        record = PeerRecord(peer.name, event.store_id, event.low, event.boot_id, event.lsn)
        self._peers.remember(record)
        self._ledger.remember(record)
