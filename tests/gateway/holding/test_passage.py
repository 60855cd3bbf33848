"""Claims come up and answers go down by the way that leads to a node, and by no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.workbench import PUMP, bench, claim, register, turns
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.sync.hello import Hello, encode_hello
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section

SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")


async def test_a_child_cannot_take_the_way_to_another_living_child() -> None:
    async with bench() as b:
        (edge, _), (thief, line) = b.child("edge"), b.child("thief")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        b.gateway.sessions.control(thief, "claim", claim("edge", "pump"))
        await turns()
        assert line.of("claim-refused")[0]["device"] == "default/pump"
        await b.gateway.ledger.write([Draft(SPEED, 20)])
        assert SPEED in b.outbox(edge)
        assert b.outbox(thief) == {}
        assert b.gateway.inbound.judge(thief, register("flow", 1, 9)) is not None


@pytest.mark.parametrize("epoch", [0, 1])
async def test_who_held_a_device_once_is_told_durably_that_it_is_anothers(epoch: int) -> None:
    """It may be started again without a link; who never held it acts on nothing then."""
    async with bench() as b:
        (edge, _), (former, line) = b.child("edge"), b.child("former")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        b.gateway.sessions.control(former, "claim", claim("former", "pump", epoch=epoch))
        await until(lambda: line.of("claim-refused"))
        assert (lifecycle_key(PUMP) in b.outbox(former)) is (epoch > 0)


async def test_a_late_claim_of_a_process_whose_store_is_gone_takes_the_device_from_nobody() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        edge.session.receive_control(line.number, encode_hello(Hello("edge", b"\xbb", b"its boot", 1, opened=1)), 0.0)
        for store in ("bb", "aa"):
            b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store=store))
            await turns()
        assert b.lifecycle()["store"] == "bb"


@pytest.mark.parametrize("name", ["root", "edge-of-another-tenant"])
async def test_no_child_speaks_for_this_node_or_for_another_tenants_node(name: str) -> None:
    async with bench() as b:
        other, _ = b.child("edge-of-another-tenant", "other")
        b.unlink(other)
        thief, line = b.child("thief")
        b.gateway.sessions.control(thief, "claim", claim(name, "pump"))
        await turns()
        assert line.of("claim-refused")
        assert name not in thief.below


async def test_a_node_that_connects_by_itself_is_reached_directly_again() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        b.unlink(edge)
        region, _ = b.child("region")
        b.gateway.sessions.control(region, "claim", claim("edge", "pump"))
        await turns()
        assert b.gateway.peers.via("edge") is region
        b.child("edge")
        assert b.gateway.peers.via("edge") is edge
        assert "edge" not in region.below


async def test_what_leads_below_a_child_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from twingateway.gateway.peering import peers

    monkeypatch.setattr(peers, "MAX_BELOW", 3)
    async with bench() as b:
        region, line = b.child("region")
        for number in range(5):
            b.gateway.sessions.control(region, "claim", claim(f"edge-{number}", f"pump-{number}"))
        assert len(region.below) == 3
        assert len(line.of("claim-refused")) == 3


async def test_what_was_written_while_the_root_did_not_know_the_way_is_sent_when_it_does() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as b:
        region, _ = b.child("region")
        b.gateway.sessions.control(region, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
    async with bench(disk=disk) as b:
        await b.gateway.ledger.write([Draft(SPEED, 20)])
        region, _ = b.child("region")
        assert b.outbox(region) == {}
        b.gateway.sessions.control(region, "claim", claim("edge", "pump", epoch=1))
        assert b.outbox(region)[SPEED] == 20


# --- a device deleted and created again ---------------------------------------------------------------------------


async def test_a_region_passes_claims_up_on_every_link_and_refusals_down() -> None:
    async with bench("region", root=False) as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", "fan"))
        cloud, up = b.parent()
        [relayed] = up.of("claim")
        assert relayed == claim("edge", "pump", "fan")
        body = {"device": "default/pump", "node": "edge", "reason": "held by another"}
        b.gateway.sessions.control(cloud, "claim-refused", body)
        assert line.of("claim-refused") == [body]
        b.unlink(edge)
        b.unlink(cloud)
        _, again = b.parent()
        assert again.of("claim") == [], "a node that is gone claims when it is back"


async def test_what_is_below_goes_up_even_while_its_node_is_away() -> None:
    disk = MemoryDisk()
    granted: Any = {"state": "live", "holder": "edge", "store": "aa", "epoch": 1}
    async with bench("region", root=False, disk=disk) as b:
        cloud, _ = b.parent()
        applied = [register("state", granted, 7, section=Section.LIFECYCLE), register("flow", 1.5, 8)]
        durable: list[str] = []
        b.gateway.ledger.apply(applied, origin="edge", then=lambda: durable.append("durable"))
        await until(lambda: durable)
    async with bench("region", root=False, disk=disk) as b:
        cloud, _ = b.parent()
        scope = [stored.register.key for stored in b.gateway.peers.scope(cloud)]
        assert RegisterKey(PUMP, Section.REPORTED, "flow") in scope


async def test_who_went_back_to_an_older_link_before_is_to_claim_again_when_the_newer_one_ends_with_the_answer() -> (
    None
):
    async with bench() as b:
        child, older = b.child("edge")
        b.child("edge")
        b.gateway.sessions.control(
            child, "claim", {"node": "edge", "store": "aa", "devices": [["pump", 0, [0, 0, 0], False]]}
        )
        await until(lambda: b.lifecycle().get("holder") == "edge")
        assert older.of("claim-again") == []
        b.unlink(child)
        assert child.line is older
        assert older.of("claim-again") == [{"node": "edge"}]
