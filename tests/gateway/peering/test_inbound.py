"""What a peer may write, refusal by refusal."""

from __future__ import annotations

import pytest

from tests.gateway.workbench import PUMP, Bench, bench, claim, register
from twingateway.gateway.peering.peers import Peer
from twingateway.gateway.peering.reach import NODES
from twingateway.gateway.state.mint import Draft
from twingateway.testing.joined import until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value


async def held(b: Bench) -> Peer:
    """A child that was granted the pump."""
    edge, _ = b.child("edge")
    b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
    await until(lambda: b.lifecycle().get("holder") == "edge")
    return edge


def code(b: Bench, peer: Peer, register: Register) -> str:
    refusal = b.gateway.inbound.judge(peer, register)
    return "" if refusal is None else refusal.code


async def test_a_holder_writes_what_its_device_says_under_its_epoch() -> None:
    async with bench() as b:
        edge = await held(b)
        for section in (Section.REPORTED, Section.PRESENCE):
            assert code(b, edge, register("flow", 1, 9, section=section)) == ""
        assert code(b, edge, register("flow", 1, 9, epoch=0)) == "fenced"
        assert code(b, edge, register("flow", 1, 9, epoch=2)) == "fenced"
        other = Register(RegisterKey(PUMP, Section.REPORTED, "flow"), Version(2, 1, 9), 1, 0)
        assert code(b, edge, other) == "fenced"


@pytest.mark.parametrize("section", [Section.DESIRED, Section.TAGS, Section.LIFECYCLE])
async def test_no_child_writes_what_the_root_writes(section: Section) -> None:
    async with bench() as b:
        edge = await held(b)
        assert code(b, edge, register("state", 1, 99, section=section)) == "not-yours"


async def test_no_child_writes_for_a_device_of_another_or_of_nobody() -> None:
    async with bench() as b:
        await held(b)
        other, _ = b.child("other")
        assert code(b, other, register("flow", 1, 9)) == "not-yours"
        assert code(b, other, register("flow", 1, 9, device=DeviceId("default", "unknown"))) == "not-yours"


async def test_no_child_writes_into_another_tenant() -> None:
    async with bench() as b:
        edge = await held(b)
        assert code(b, edge, register("flow", 1, 9, device=DeviceId("victim", "pump"))) == "not-authorized"


async def test_reach_is_told_only_by_who_is_spoken_of_as_hearing_it_or_leads_there() -> None:
    async with bench() as b:
        edge = await held(b)
        b.child("other")
        b.child("stranger", "victim")
        cases = (
            ("below", "edge", ""),
            ("below", "between", ""),
            ("below", "other", "not-yours"),
            ("below", "root", "not-yours"),
            ("below", "stranger", "not-yours"),
            ("stranger", "edge", "not-yours"),
            ("root", "edge", "not-yours"),
        )
        for node, speaker, expected in cases:
            told = register(speaker, {"state": "up"}, 1, section=Section.REACH, device=DeviceId(NODES, node))
            assert code(b, edge, told) == expected, (node, speaker)
        outside = register("edge", {"state": "up"}, 1, section=Section.REACH)
        assert code(b, edge, outside) == "not-yours"


@pytest.mark.parametrize("value", ["applied", {"state": "applied"}, {"version": "1", "state": "applied"}, 7])
async def test_an_ack_that_is_none_is_refused(value: Value) -> None:
    async with bench() as b:
        edge = await held(b)
        assert code(b, edge, register("speed", value, 9, section=Section.ACK)) == "invalid-value"
        good: Value = {"version": "1.1.5", "state": "applied"}
        assert code(b, edge, register("speed", good, 9, section=Section.ACK)) == ""
        assert code(b, edge, register("speed", None, 9, section=Section.ACK)) == ""


async def test_values_beyond_the_limits_are_refused() -> None:
    async with bench() as b:
        edge = await held(b)
        assert code(b, edge, register("flow", "x" * 70_000, 9)) == "too-large"
        assert code(b, edge, register("flow", 2**60, 9)) == "invalid-value"


async def test_a_deleted_device_takes_nothing_any_more() -> None:
    async with bench() as b:
        edge = await held(b)
        await b.gateway.commands.delete(PUMP)
        assert code(b, edge, register("flow", 1, 9)) == "deleted"


async def test_a_parent_writes_what_the_root_writes_in_this_nodes_namespace_and_nothing_else() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        for section in (Section.DESIRED, Section.TAGS, Section.LIFECYCLE):
            assert code(b, cloud, register("speed", 1, 9, section=section)) == ""
        for section in (Section.REPORTED, Section.ACK, Section.PRESENCE, Section.REACH):
            assert code(b, cloud, register("speed", 1, 9, section=section)) == "not-yours"
        foreign = register("speed", 1, 9, section=Section.DESIRED, device=DeviceId("victim", "pump"))
        assert code(b, cloud, foreign) == "not-authorized"


async def test_what_the_root_writes_goes_down_to_the_holder_only() -> None:
    async with bench() as b:
        edge = await held(b)
        other, _ = b.child("other")
        speed = RegisterKey(PUMP, Section.DESIRED, "speed")
        await b.gateway.ledger.write([Draft(speed, 20)])
        assert b.outbox(edge)[speed] == 20
        assert b.outbox(other) == {}
        assert [s.register.key for s in b.gateway.peers.scope(other)] == []
        assert speed in [s.register.key for s in b.gateway.peers.scope(edge)]
