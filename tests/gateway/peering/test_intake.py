"""What comes from a peer is taken lane by lane: registers one by one, each answered when it is durable or refused."""

from __future__ import annotations

import pytest

from tests.gateway.workbench import Bench, RecordingLine, bench, claim, register, turns
from twingateway.errors import ProtocolViolation
from twingateway.gateway.peering.intake import Intake
from twingateway.gateway.peering.peers import Peer
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC
from twingateway.sync.events import Durable, Event, PeerRefused
from twingateway.sync.knowledge import LocalStore
from twingateway.sync.session import Session
from twingateway.testing.joined import until
from twingateway.twin.register import Section, StoredRegister

ROOM = 900


def intake(b: Bench) -> Intake:
    return Intake(b.gateway.peers, b.gateway.inbound, b.gateway.ledger, b.gateway.sessions)


def met(b: Bench, edge: Peer, line: RecordingLine) -> Session:
    """The child's end of a session in which both have introduced themselves."""
    theirs = Session(LocalStore("edge", b"its store", b"its boot", {b"its boot": 99}), "root", None, 0)
    theirs.attach(line.number, datagrams=ROOM, now=0.0)
    for message in iter(lambda: theirs.next_control(line.number), None):
        intake(b).take(edge, line, CONTROL_TOPIC, message, 0.0)
    for message in iter(lambda: edge.session.next_control(line.number), None):
        theirs.receive_control(line.number, message, 0.0)
    theirs.resume(line.number, [], 0.0)
    return theirs


async def test_each_register_of_a_frame_is_answered_by_itself_and_not_before_it_is_durable() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        theirs = met(b, edge, line)

        def answered(now: float) -> list[Event]:
            frame = edge.session.next_frame(line.number, ROOM, now)
            return [] if frame is None else theirs.receive_state(line.number, frame, now)

        good, bad = register("flow", 1.5, 9), register("speed", 20, 9, section=Section.DESIRED)
        for lsn, each in enumerate((good, bad), 1):
            theirs.put(StoredRegister(each, lsn))
        frame = theirs.next_frame(line.number, ROOM, 0.01)
        assert frame is not None
        b.store.gate.clear()
        intake(b).take(edge, line, STATE_TOPIC, frame, 0.01)
        assert b.value(Section.REPORTED, "flow") == 1.5
        assert b.value(Section.DESIRED, "speed") is None
        assert not [event for event in answered(0.02) if isinstance(event, Durable)]
        b.store.gate.set()
        await until(lambda: b.durable(good.key) == 1.5)
        await turns()
        told = answered(0.04)
        assert [event.key for event in told if isinstance(event, Durable)] == [good.key]
        assert [(event.key, event.code) for event in told if isinstance(event, PeerRefused)] == [
            (bad.key, "not-yours")
        ]


async def test_what_is_published_on_no_lane_is_a_violation() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        with pytest.raises(ProtocolViolation, match="do not publish to 'twins/pump'"):
            intake(b).take(edge, line, "twins/pump", b"", 0.0)
