"""Claims and grants, judged by the root; who may claim for whom; and claims that wait."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.workbench import FULL, PUMP, bench, claim, register, turns
from twingateway.errors import ProtocolViolation
from twingateway.gateway.holding import claims as module
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.mint import Draft
from twingateway.testing.joined import until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, Version

SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")
LIFECYCLE = RegisterKey(PUMP, Section.LIFECYCLE, "state")


async def test_the_first_claimant_is_granted_the_first_epoch_and_told() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="aa"))
        await until(lambda: LIFECYCLE in b.outbox(edge))
        assert b.lifecycle() == {"state": "live", "holder": "edge", "store": "aa", "epoch": 1}
        assert b.durable(LIFECYCLE) == b.lifecycle(), "a grant is durable before anyone hears of it"


async def test_what_a_holder_is_to_have_gets_its_fresh_numbers_in_the_transaction_of_the_grant() -> None:
    """Else a crash between the two would leave numbers below what the holder was told before that it has."""
    async with bench() as b:
        edge, _ = b.child("edge")
        [desired] = await b.gateway.ledger.write([Draft(SPEED, 5)])
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: SPEED in b.outbox(edge))
        commits = [{stored.register.key: stored.lsn for stored in commit.registers} for commit in b.store.commits]
        [granting] = [lsns for lsns in commits if LIFECYCLE in lsns]
        assert granting[SPEED] > desired.lsn
        assert b.gateway.table.get(SPEED) == replace(desired, lsn=granting[SPEED])


async def test_of_two_claimants_at_once_one_is_granted_and_one_is_refused() -> None:
    async with bench() as b:
        (one, _), (two, line) = b.child("one"), b.child("two")
        b.store.gate.clear()
        b.gateway.sessions.control(one, "claim", claim("one", "pump"))
        await turns()
        b.gateway.sessions.control(two, "claim", claim("two", "pump"))
        await turns()
        b.store.gate.set()
        await until(lambda: line.of("claim-refused"))
        assert b.lifecycle()["holder"] == "one"
        assert "held by one" in line.of("claim-refused")[0]["reason"]
        notice = await b.notice("claim-refused")
        assert notice.device == PUMP
        assert "held by one, not by two" in notice.message, "where the document is that is one too many"


async def test_of_two_nodes_below_one_child_one_is_granted() -> None:
    async with bench() as b:
        region, line = b.child("region")
        for node in ("east", "west"):
            b.gateway.sessions.control(region, "claim", claim(node, "pump"))
        await until(lambda: line.of("claim-refused"))
        assert b.lifecycle()["holder"] == "east"
        assert line.of("claim-refused")[0]["node"] == "west"


async def test_a_claim_that_finds_the_disk_full_is_granted_when_there_is_room() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.store.error = FULL
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns(50)
        assert b.lifecycle() == {}
        b.store.error = None
        await until(lambda: b.lifecycle().get("holder") == "edge")


async def test_the_same_claim_again_changes_nothing_but_is_told_to_who_does_not_know() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: LIFECYCLE in b.outbox(edge))
        before = b.gateway.table.get(LIFECYCLE)
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", epoch=1))
        await turns(50)
        assert b.gateway.table.get(LIFECYCLE) is before
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", epoch=0))
        await turns(50)
        after = b.gateway.table.get(LIFECYCLE)
        assert before is not None
        assert after is not None
        assert after.register == before.register
        assert after.lsn > before.lsn


async def test_a_holder_with_a_new_store_gets_the_next_epoch() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="aa"))
        await until(lambda: b.lifecycle().get("epoch") == 1)
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="bb"))
        await until(lambda: b.lifecycle().get("epoch") == 2)
        assert b.gateway.inbound.judge(edge, register("flow", 1, 9, epoch=1)) is not None


# --- who may speak for whom ---------------------------------------------------------------------------------------


async def test_a_child_cannot_claim_into_another_tenant() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        with pytest.raises(ProtocolViolation):
            b.gateway.sessions.control(edge, "claim", claim("edge", "victim/pump"))
        await turns()
        assert DeviceId("victim", "pump") not in b.gateway.table


async def test_a_holder_whose_device_is_created_again_has_it_back_under_a_new_incarnation() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        await b.gateway.commands.delete(PUMP)
        assert b.outbox(edge)[LIFECYCLE] == {"state": "deleted", "holder": "edge", "epoch": 1}
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", epoch=1))
        await until(lambda: line.of("claim-refused"))
        await b.gateway.commands.put(document("pump"), "default")
        await until(lambda: b.lifecycle().get("holder") == "edge")
        stored = b.gateway.table.get(LIFECYCLE)
        assert stored is not None
        assert stored.register.version.incarnation == 2


async def test_a_grant_that_waits_for_the_store_does_not_bring_a_deleted_device_back() -> None:
    async with bench() as b:
        await b.gateway.commands.put(document("pump"), "default")
        edge, _ = b.child("edge")
        b.store.gate.clear()
        b.tasks.start(b.gateway.commands.delete(PUMP), "delete")
        await turns()
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        b.store.gate.set()
        await turns(100)
        assert b.lifecycle()["state"] == "deleted"


async def test_a_device_run_here_that_is_deleted_and_created_again_is_this_nodes_at_once() -> None:
    async with bench() as b:
        await b.gateway.ownership.configure([PUMP])
        await until(lambda: b.gateway.ownership.held(PUMP))
        await b.gateway.commands.delete(PUMP)
        assert not b.gateway.ownership.held(PUMP)
        await turns(50)
        await b.gateway.commands.put(document("pump"), "default")
        await until(lambda: b.gateway.ownership.held(PUMP))


# --- nodes that are not the root ----------------------------------------------------------------------------------


async def test_many_claims_go_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLAIMS_AT_ONCE", 2)
    async with bench("edge", root=False) as b:
        await b.gateway.ownership.configure([DeviceId("default", f"pump-{number}") for number in range(5)])
        _, up = b.parent()
        assert [len(body["devices"]) for body in up.of("claim")] == [2, 2, 1]


async def test_what_a_device_said_before_its_grant_is_minted_again_under_it() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        flow = RegisterKey(PUMP, Section.REPORTED, "flow")
        b.gateway.ledger.report([Draft(flow, 1.5)])
        assert b.outbox(cloud) == {}, "a device is local until it is granted"
        assert not b.gateway.ownership.held(PUMP)
        granted: Any = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 4}
        b.gateway.ledger.apply(
            [register("state", granted, 7, section=Section.LIFECYCLE)], origin="cloud", then=lambda: None
        )
        await until(lambda: b.outbox(cloud))
        assert b.outbox(cloud) == {
            flow: 1.5,
            RegisterKey(PUMP, Section.PRESENCE, "kept"): {
                "floor": "1.4.3",
                "reported": ["flow"],
                "ack": [],
                "override": [],
            },
        }
        stored = b.gateway.table.get(flow)
        assert stored is not None
        assert stored.register.version[:2] == (1, 4)
        assert b.gateway.ownership.held(PUMP)


async def test_what_was_given_back_on_a_former_link_does_not_count_on_a_new_one() -> None:
    """More may have come to the root since, and been given back in vain."""
    async with bench("edge", root=False) as edge, bench("region", root=False) as region:
        await edge.gateway.ownership.configure([PUMP])
        cloud, up = edge.parent()
        edge.gateway.ownership.on_restore(cloud, {"node": "edge", "devices": {"pump": []}})
        await edge.gateway.committer.submit()
        said = up.of("claim")[-1]
        assert said["devices"] == [["pump", 0, [0, 0, 0], True]]
        root, over = region.parent()
        below, _ = region.child("edge")
        region.gateway.sessions.control(below, "claim", said)
        assert over.of("claim")[-1]["devices"] == said["devices"]
        edge.unlink(cloud)
        region.unlink(root)
        for again in (edge.parent()[1], region.parent()[1]):
            assert [body["devices"] for body in again.of("claim")] == [[["pump", 0, [0, 0, 0], False]]]


# --- messages that make no sense ----------------------------------------------------------------------------------

BAD: list[Any] = [None, 7, "x", [], {}, {"node": 7}, {"devices": []}, {"node": "edge", "devices": 7}]
BAD_CLAIMS: list[Any] = [
    {"node": "edge", "store": "aa", "devices": [["pump"]]},
    {"node": "edge", "store": "aa", "devices": ["pump"]},
    {"node": "a/b", "store": "aa", "devices": [["pump", 0, [0, 0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["not a name", 0, [0, 0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["pump", -1, [0, 0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["pump", 2**70, [0, 0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["pump", 0, [0, 2**63, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["pump", True, [0, 0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [["pump", 0, [0, 0], False]]},
    {"node": "edge", "store": "aa", "devices": [[None, 0, "abc", False]]},
]
KINDS = (
    "claim",
    "claim-refused",
    "restore",
    "want-root",
    "root-registers",
    "about",
    "models",
    "want-models",
    "model",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [*BAD, *BAD_CLAIMS])
async def test_a_hostile_child_is_told_so_and_changes_nothing(kind: str, body: Any) -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        await turns()
        before = {stored.register.key for stored in b.gateway.table.registers()}
        with contextlib.suppress(ProtocolViolation):
            b.gateway.sessions.control(edge, kind, body)
        await turns()
        assert {stored.register.key for stored in b.gateway.table.registers()} == before


@pytest.mark.parametrize("kind", ["claim-refused", "restore", "want-root", "about"])
async def test_a_child_does_not_say_what_only_a_parent_says(kind: str) -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        with pytest.raises(ProtocolViolation):
            b.gateway.sessions.control(edge, kind, {"root": "edge", "node": "root", "devices": {}})


def document(name: str, **desired: Any) -> Any:
    return {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": name},
        "spec": {"desiredProperties": desired},
    }


async def test_a_refusal_that_a_newer_grant_has_overtaken_is_void() -> None:
    async with bench(name="edge", root=False) as b:
        parent, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        mine = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 1}
        grant = Register(lifecycle_key(PUMP), Version(1, 1, 9), mine, 0)
        b.gateway.ledger.apply([grant], origin="cloud", then=lambda: None)
        refusal = {"device": str(PUMP), "node": "edge", "reason": "it was deleted"}
        b.gateway.sessions.control(parent, "claim-refused", {**refusal, "version": [1, 1, 8]})
        assert b.gateway.ownership.held(PUMP)
        b.gateway.sessions.control(parent, "claim-refused", {**refusal, "version": [1, 1, 9]})
        assert not b.gateway.ownership.held(PUMP)


async def test_who_goes_back_to_an_older_link_claims_there_again() -> None:
    async with bench("edge", root=False) as b:
        cloud, older = b.parent()
        await b.gateway.ownership.configure([PUMP])
        _, newer = b.parent()
        assert len(newer.of("claim")) == 1, "the answer may be on its way there"
        claimed = len(older.of("claim"))
        b.unlink(cloud)
        assert cloud.line is older
        assert len(older.of("claim")) == claimed + 1


async def test_what_a_node_claimed_with_a_store_that_it_lost_is_not_granted_once_the_device_is_free() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        await b.gateway.commands.put(document("pump"), "default")
        await b.gateway.commands.delete(PUMP)
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="aa"))
        await turns()
        b.store.gate.clear()
        creating = b.tasks.start(b.gateway.commands.put(document("pump"), "default"), "creating")
        await turns()
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="bb"))
        await turns()
        b.store.gate.set()
        await creating
        await until(lambda: b.lifecycle().get("store"))
        await turns(100)
        assert b.lifecycle()["store"] == "bb"


async def test_what_the_root_refused_stays_refused_on_a_new_link_whose_answer_is_lost() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        ownership = b.gateway.ownership
        await ownership.configure([PUMP])
        mine = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 1}

        def told(seq: int) -> None:
            grant = Register(lifecycle_key(PUMP), Version(1, 1, seq), mine, 0)
            b.gateway.ledger.apply([grant], origin="cloud", then=lambda: None)

        told(9)
        assert ownership.held(PUMP)
        refusal = {"node": "edge", "device": str(PUMP), "reason": "it is held by other", "version": [1, 1, 12]}
        ownership.on_claim_refused(cloud, refusal)
        ownership.claim_at(cloud)
        assert not ownership.held(PUMP)
        told(15)
        assert ownership.held(PUMP)
