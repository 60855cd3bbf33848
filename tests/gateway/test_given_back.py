"""What a holder had told before its store was replaced, or another one before a move, and copies of it on the way: it
is given back whole, or void everywhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.workbench import FULL, PUMP, Bench, bench, claim, register, turns
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.inbound import Refusal
from twingateway.gateway.peering.peers import Peer
from twingateway.gateway.state.lifecycle import TENURE
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.conflict import Outcome, Verdict
from twingateway.twin.kept import KEPT_NAME, SLICES, slice_of
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, Version
from twingateway.twin.value import Value

SPEED = RegisterKey(PUMP, Section.OVERRIDE, "speed")
NOTE = RegisterKey(PUMP, Section.PRESENCE, KEPT_NAME)


def override(value: int, seq: int, *, epoch: int = 1, name: str = "speed", node: str = "edge") -> Register:
    set_ = Override(OverrideId("line", value), value, "olaf", node, ZERO, 0, said=Version(1, epoch, seq))
    return register(name, set_.to_value(), seq, section=Section.OVERRIDE, epoch=epoch)


def lifecycle(holder: str, store: str, seq: int, epoch: int) -> Register:
    value: Value = {"state": "live", "holder": holder, "store": store, "epoch": epoch}
    return register("state", value, seq, section=Section.LIFECYCLE)


def take(b: Bench, *registers: Register, origin: str = "cloud") -> None:
    b.gateway.ledger.apply(registers, origin=origin, then=lambda: None)


def restore(b: Bench, parent: Peer, node: str, *registers: Register) -> None:
    for batch in wire.batches([(PUMP, list(registers))]):
        b.gateway.ownership.on_restore(parent, {"node": node, "devices": batch})


def names(body: dict[str, Any]) -> list[str]:
    return sorted(f"{section}/{name}" for section, name, *_ in body["devices"][PUMP.name])


async def test_what_is_given_back_late_of_a_device_that_was_deleted_is_none_of_the_one_created_since() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        anew = replace(lifecycle("edge", b.gateway.peers.store_id.hex(), 9, 1), version=Version(2, 1, 9))
        take(b, anew)
        restore(b, cloud, "edge", lifecycle("edge", "former store", 7, 1), override(99, 8), register("flow", 1, 6))
        assert b.gateway.table.section(PUMP, Section.OVERRIDE) == {}
        assert b.gateway.table.section(PUMP, Section.REPORTED) == {}


async def test_what_is_given_back_before_the_lifecycle_is_known_is_not_of_an_ended_device() -> None:
    async with bench("edge", root=False) as b:
        cloud, line = b.parent()
        await b.gateway.ownership.configure([PUMP])
        restore(b, cloud, "edge", override(99, 30))
        await b.gateway.committer.submit()
        assert line.of("claim")[-1]["devices"] == [["pump", 1, [0, 0, 0], True]]
        take(b, lifecycle("edge", "former store", 7, 1))
        assert b.value(Section.OVERRIDE, "speed") is not None
        assert b.outbox(cloud) == {}, "until it is granted with this store nothing is said"
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 8, 2))
        await b.gateway.committer.submit()
        assert {SPEED, NOTE} <= b.outbox(cloud).keys()
        stored = b.gateway.table.get(SPEED)
        assert stored is not None
        assert stored.register.version[:2] == (1, 2)


async def test_what_was_not_given_back_is_void_on_the_way() -> None:
    async with bench("region", root=False) as region, bench("edge", root=False) as edge:
        cloud, _ = edge.parent()
        await edge.gateway.ownership.configure([PUMP])
        take(edge, lifecycle("edge", edge.gateway.peers.store_id.hex(), 8, 2))
        await edge.gateway.committer.submit()
        note = Register(NOTE, edge.gateway.table.get(NOTE).register.version, edge.outbox(cloud)[NOTE], 0)  # type: ignore[union-attr]
        region.parent()
        take(region, lifecycle("edge", "its store", 8, 2))
        take(region, override(98, 30), override(99, 31, epoch=2, name="mode"), origin="edge")
        take(region, note, origin="edge")
        assert region.gateway.table.get(SPEED) is None
        assert region.value(Section.OVERRIDE, "mode") is not None, "it is of the new grant"
        take(region, override(98, 30), origin="edge")
        assert region.gateway.table.get(SPEED) is None, "nor is it taken again"


async def test_an_override_of_a_former_tenure_is_void_on_the_way_though_only_the_grant_tells_of_that() -> None:
    async with bench("edge", root=False) as b:
        b.parent()
        await b.gateway.ownership.configure([PUMP])
        mine = b.gateway.peers.store_id.hex()
        take(b, lifecycle("edge", mine, 7, 1), override(99, 8))
        came_back = lifecycle("edge", mine, 9, 3)
        value: Any = came_back.value
        take(b, replace(came_back, value={**value, TENURE: 3}))
        assert b.gateway.table.get(SPEED) is None
        note: Any = b.value(Section.PRESENCE, KEPT_NAME)
        assert note["override"] == []


async def test_what_is_still_being_kept_of_one_of_a_former_tenure_is_not_later_than_what_is_given_back() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        mine = b.gateway.peers.store_id.hex()
        take(b, lifecycle("edge", mine, 7, 1))
        b.store.gate.clear()
        keeping = asyncio.create_task(b.gateway.ledger.write([Draft(SPEED, override(99, 50).value)]))
        await turns()
        came_back = lifecycle("edge", "", 9, 3)
        value: Any = came_back.value
        others = replace(override(97, 8), version=Version(1, 2, 8))  # who had it from a holder before both
        restore(b, cloud, "edge", replace(came_back, value={**value, TENURE: 3}), others)
        b.store.gate.set()
        await keeping
        take(b, replace(lifecycle("edge", mine, 10, 4), value={**value, TENURE: 3, "store": mine, "epoch": 4}))
        await b.gateway.committer.submit()
        kept: Any = b.value(Section.OVERRIDE, "speed")
        assert kept is not None, "what was given back is gone"
        assert kept["value"] == 97


async def test_a_device_that_is_the_first_of_its_holder_has_no_note() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 8, 1))
        await b.gateway.committer.submit()
        assert NOTE not in b.outbox(cloud)


async def test_what_comes_late_while_it_is_given_back_is_given_back_too() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        claim = {"node": "edge", "store": "aa", "devices": [["pump", 0, [0, 0, 0], False]]}
        b.gateway.sessions.control(edge, "claim", claim)
        await turns()
        take(b, override(98, 30), origin="edge")
        anew, done = claim | {"store": "bb"}, claim | {"store": "bb", "devices": [["pump", 0, [0, 0, 0], True]]}
        b.gateway.sessions.control(edge, "claim", anew)
        await turns()
        assert [names(body) for body in line.of("restore")] == [["lifecycle/state", "override/speed"]]
        take(b, override(99, 31), origin="edge")
        for _ in range(2):  # the second crosses with what it is given then
            b.gateway.sessions.control(edge, "claim", done | {"given": line.of("restore")[0]["given"]})
            await turns()
        given, again = line.of("restore")[1:]
        assert given["devices"]["pump"][0][3]["value"] == 99
        assert again == given
        assert b.lifecycle()["store"] == "aa"
        b.gateway.sessions.control(edge, "claim", done | {"given": given["given"]})
        await turns()
        assert b.lifecycle()["store"] == "bb"
        assert len(line.of("restore")) == 3
        assert isinstance(b.gateway.inbound.judge(edge, override(100, 32)), Refusal)


async def test_who_was_put_back_to_a_copy_from_before_it_was_given_back_anything_is_given_it_again() -> None:
    """It was granted the device with that store, and nobody was told a number that the copy lacks."""
    async with bench() as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        take(b, override(98, 30), origin="edge")
        by_copy = claim("edge", "pump", store="bb")
        b.gateway.sessions.control(edge, "claim", by_copy)
        await turns()
        done = by_copy | {"devices": [["pump", 0, [0, 0, 0], True]], "given": line.of("restore")[0]["given"]}
        for body in (done, done, by_copy):  # the second before it heard of its grant
            b.gateway.sessions.control(edge, "claim", body)
            await turns()
        assert b.lifecycle()["store"] == "bb"
        assert [names(body) for body in line.of("restore")] == [["lifecycle/state", "override/speed"]] * 2


async def test_what_was_given_back_before_a_device_was_moved_away_is_given_back_again_when_it_returns() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await turns()
        take(b, override(98, 30), origin="edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump", store="bb"))
        await turns()
        for node in ("other", "edge"):
            await b.gateway.commands.move(PUMP, node)
        done = claim("edge", "pump", store="bb") | {"devices": [["pump", 0, [0, 0, 0], True]]}
        b.gateway.sessions.control(edge, "claim", done | {"given": line.of("restore")[0]["given"]})
        await turns()
        assert ["override/speed" in names(body) for body in line.of("restore")] == [True, True]
        assert b.lifecycle()["store"] == "", "the holder drops what it was given in a former tenure"
        b.gateway.sessions.control(edge, "claim", done | {"given": line.of("restore")[1]["given"]})
        await turns()
        assert b.lifecycle()["store"] == "bb"


async def test_the_mark_of_what_is_given_back_goes_down_with_it_and_up_with_the_claim() -> None:
    async with bench("region", root=False) as region, bench("edge", root=False) as edge:
        cloud, up = region.parent()
        below, line = region.child("edge")
        body = {"node": "edge", "devices": {"pump": []}, "given": {"pump": "its mark"}}
        region.gateway.ownership.on_restore(cloud, body)
        assert line.of("restore") == [body]
        parent, out = edge.parent("region")
        await edge.gateway.ownership.configure([PUMP])
        edge.gateway.ownership.on_restore(parent, body)
        await until(lambda: "given" in out.of("claim")[-1])
        region.gateway.sessions.control(below, "claim", out.of("claim")[-1])
        assert up.of("claim")[-1]["given"] == {"pump": "its mark"}


async def test_what_is_given_back_beside_a_note_is_added_to_the_slice_that_speaks_of_it() -> None:
    first, second = (next(name for name in map(str, range(1000)) if slice_of(name) == part) for part in SLICES[:2])
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        nothing: Value = {"floor": "1.1.5", "reported": [], "ack": [], "override": []}
        notes = [register(part, nothing, 6, section=Section.PRESENCE) for part in SLICES[:2]]
        gone = override(97, 5, name="gone")
        restore(b, cloud, "edge", override(98, 7, name=first), override(99, 8, name=second), gone, *notes)
        for part, name in zip(SLICES, (first, second), strict=False):
            note: Any = b.value(Section.PRESENCE, part)
            assert note["override"] == [name]


async def test_a_holder_takes_back_what_comes_late_unless_it_was_changed() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        restore(b, cloud, "edge", override(98, 30))
        restore(b, cloud, "edge", override(99, 31))
        assert b.value(Section.OVERRIDE, "speed") == override(99, 31).value
        restore(b, cloud, "edge", override(98, 30))
        assert b.value(Section.OVERRIDE, "speed") == override(99, 31).value


async def test_what_comes_when_another_has_the_device_is_not_said_under_the_grant_of_that_one() -> None:
    """It was on its way while the device was moved; the other, who has said more since, is not heard just now."""
    async with bench("edge", root=False) as b:
        cloud, line = b.parent()
        await b.gateway.ownership.configure([PUMP])
        other = lifecycle("other", "", 9, 2)
        assert isinstance(other.value, dict)
        take(b, replace(other, value={**other.value, TENURE: 2}))
        flow = register("flow", 6, 8)
        claims = len(line.of("claim"))
        restore(b, cloud, "edge", lifecycle("edge", "", 7, 1), override(99, 30), flow)
        assert b.gateway.table.get(flow.key) is None
        assert SPEED not in b.outbox(cloud)
        await b.gateway.committer.submit()
        assert len(line.of("claim")) == claims, "it was not taken back"
        restore(b, cloud, "edge", replace(flow, version=Version(1, 3, 10)))
        assert b.value(Section.REPORTED, "flow") == 6, "a node on the way knows of a later grant"


async def test_what_comes_late_is_told_when_it_is_durable() -> None:
    """Else a holder that is killed before that is told of numbers that it does not know to have issued, and takes its
    store for an older copy of itself."""
    disk = MemoryDisk()
    async with bench("edge", root=False, disk=disk) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 8, 1))
        await b.gateway.committer.submit()
        b.store.gate.clear()
        restore(b, cloud, "edge", override(99, 30))
        await turns()
        told = [entry.lsn for entry in cloud.session.outbox if entry.register.key == SPEED]
    async with bench("edge", root=False, disk=disk) as b:
        cloud, _ = b.parent()
        said = {"node": "edge", "store": b.gateway.peers.store_id.hex(), "numbers": told}
        b.gateway.sessions.control(cloud, "said", said)
        assert not b.gateway.repair.running
        await b.gateway.ownership.configure([PUMP])
        restore(b, cloud, "edge", override(99, 30))
        await b.gateway.committer.submit()
        await until(lambda: SPEED in b.outbox(cloud))


@pytest.mark.parametrize("in_a_former_process", [False, True])
@pytest.mark.parametrize(("said", "shown"), [(2, 99), (40, 97)])
async def test_how_far_an_override_of_an_older_copy_came_since_is_no_news_of_it(
    said: int, shown: int, in_a_former_process: bool
) -> None:
    """It was put back with the store, and written to the device once more; the one that replaced it is told."""
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        here = override(97, said)
        take(b, lifecycle("edge", "former store", 7, 1))
        b.gateway.numbers.lsns(50)
        if in_a_former_process:
            await b.gateway.ledger.write([Draft(SPEED, here.value)])
        await b.gateway.ownership.configure([PUMP])
        if not in_a_former_process:
            await b.gateway.ledger.write([Draft(SPEED, here.value)])
        restore(b, cloud, "edge", override(99, 30))
        told: Any = b.value(Section.OVERRIDE, "speed")
        assert told["value"] == shown


async def test_how_far_an_override_has_come_is_in_doubt_under_the_next_grant() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", "former store", 7, 1))
        applied = Ack(ZERO, AckState.APPLIED, observed=97)
        here = Override(OverrideId("line", 2), 97, "olaf", "edge", ZERO, 0, True, applied, said=Version(1, 1, 9))
        await b.gateway.ledger.write([Draft(SPEED, here.to_value())])
        told = register("speed", Ack(Version(1, 1, 5), AckState.APPLIED).to_value(), 30, section=Section.ACK)
        restore(b, cloud, "edge", override(96, 4), told)
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 8, 2))
        kept = Override.read(b.value(Section.OVERRIDE, "speed"))
        assert kept == replace(here, ack=applied.handed_over())
        ack = Ack.from_value(b.value(Section.ACK, "speed"))
        assert ack.is_handed_over


@pytest.mark.parametrize("is_late", [False, True])
async def test_what_replaced_an_override_is_taken_back_also_while_the_device_is_written(is_late: bool) -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", "former store", 7, 1))
        b.gateway.numbers.lsns(50)
        here = override(97, 40 if is_late else 2)
        await b.gateway.ledger.write([Draft(SPEED, here.value)])
        b.store.gate.clear()
        progress = b.tasks.start(b.gateway.ledger.write([Draft(SPEED, here.value)]), "how far it has come")
        await turns()
        restore(b, cloud, "edge", override(99, 30))
        b.store.gate.set()
        await progress
        told: Any = b.value(Section.OVERRIDE, "speed")
        assert told["value"] == (97 if is_late else 99)


async def test_what_is_passed_on_with_a_grant_is_kept_under_the_number_that_it_is_passed_on_with() -> None:
    """Else it counts as told, after a crash, to who was told of what has lower numbers."""
    async with bench("region", root=False) as b:
        desired = register("speed", 2, 5, section=Section.DESIRED)
        take(b, desired, lifecycle("edge", "aa", 8, 1))
        await b.gateway.committer.submit()
        shown = b.gateway.table.get(desired.key)
        assert shown is not None
        assert b.store._disk.registers[desired.key].lsn == shown.lsn


async def test_a_region_adds_what_its_child_said_last() -> None:
    async with bench("region", root=False) as b:
        cloud, _ = b.parent()
        _, line = b.child("edge")
        take(b, lifecycle("edge", "its store", 8, 1))
        take(b, override(99, 31), override(7, 32, name="mode"), origin="edge")
        restore(b, cloud, "edge", override(98, 30))
        assert [names(body) for body in line.of("restore")] == [["override/mode", "override/speed"]]
        assert line.of("restore")[0]["devices"]["pump"][0][3]["value"] == 99
        take(b, lifecycle("other", "", 9, 2))
        b.child("other")
        restore(b, cloud, "edge", override(98, 30))
        assert [names(body) for body in line.of("restore")][1:] == [["override/speed"]], "it holds the device no more"


async def test_how_far_an_override_of_an_older_copy_came_since_takes_no_place_from_a_later_one() -> None:
    """A region that lost its store cannot tell its child that it is an older copy; the root has the later one."""
    async with bench() as root, bench("region", root=False) as region:
        since = replace(override(97, 2), version=Version(1, 1, 80))
        edge, _ = root.child("edge")
        claim = {"node": "edge", "store": "aa", "devices": [["pump", 0, [0, 0, 0], False]]}
        root.gateway.sessions.control(edge, "claim", claim)
        await turns()
        take(root, override(99, 30), origin="edge")
        refusal = root.gateway.inbound.judge(edge, since)
        assert refusal is not None
        assert refusal.code == "replaced"
        cloud, _ = region.parent()
        _, line = region.child("edge")
        take(region, lifecycle("edge", "aa", 8, 1), since)
        restore(region, cloud, "edge", override(99, 30))
        assert line.of("restore")[0]["devices"]["pump"][0][3]["value"] == 99
        assert root.gateway.inbound.judge(edge, replace(override(99, 30), version=Version(1, 1, 81))) is None


async def test_an_override_of_a_former_grant_refuses_none_of_the_present_one() -> None:
    """It came to the region only when its device had been moved: the root gave the new holder the one before."""
    async with bench("region", root=False) as b:
        b.parent()
        other, _ = b.child("other")
        take(b, lifecycle("edge", "aa", 8, 1))
        take(b, override(99, 31), origin="edge")
        take(b, lifecycle("other", "bb", 9, 2))
        given = Override(OverrideId("line", 98), 98, "olaf", "edge", ZERO, 0, said=Version(1, 1, 30))
        late = register("speed", given.to_value(), 5, section=Section.OVERRIDE, epoch=2)
        assert b.gateway.inbound.judge(other, late) is None


async def test_a_region_gives_back_what_only_it_was_told_before_it_passes_the_claim_on() -> None:
    async with bench("region", root=False) as b:
        _, up = b.parent()
        edge, line = b.child("edge")
        take(b, lifecycle("edge", "aa", 8, 1))
        take(b, override(99, 31), origin="edge")
        claim = {"node": "edge", "store": "bb", "devices": [["pump", 0, [0, 0, 0], False]]}
        b.gateway.sessions.control(edge, "claim", claim)
        assert [names(body) for body in line.of("restore")] == [["override/speed"]]
        assert up.of("claim") == []
        b.gateway.sessions.control(edge, "claim", claim | {"devices": [["pump", 0, [0, 0, 0], True]]})
        assert [body["store"] for body in up.of("claim")] == ["bb"]
        assert len(line.of("restore")) == 1


async def test_who_loses_a_device_forgets_all_overrides_of_it() -> None:
    async with bench("edge", root=False) as b:
        b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 8, 1))
        await b.gateway.overrides.set(PUMP, "speed", 5, "olaf")
        b.gateway.ledger.take_back([override(6, 40, name="mode", node="other")], then=lambda: None)
        take(b, lifecycle("other", "", 9, 2))
        assert b.gateway.table.section(PUMP, Section.OVERRIDE) == {}
        void = await b.notice("override-void")
        assert void.detail["property"] == "speed", "the other is known at the root, which gives it to the next holder"


async def test_a_region_that_knows_nothing_of_the_present_grant_passes_the_claim_on() -> None:
    async with bench("region", root=False) as b:
        _, up = b.parent()
        edge, line = b.child("edge")
        take(b, lifecycle("other", "aa", 8, 1))
        take(b, override(99, 31), origin="other")
        take(b, lifecycle("edge", "", 9, 2))
        claim = {"node": "edge", "store": "bb", "devices": [["pump", 0, [0, 0, 0], False]]}
        b.gateway.sessions.control(edge, "claim", claim)
        assert line.of("restore") == [], "the root has what the other said, and gives it"
        assert [body["store"] for body in up.of("claim")] == ["bb"]


async def test_with_its_word_a_holder_is_given_what_the_root_made_of_it() -> None:
    """Else it would act on its own word as soon as the device is granted, which may come alone."""
    desired, verdict = RegisterKey(PUMP, Section.DESIRED, "speed"), RegisterKey(PUMP, Section.VERDICT, "speed")
    async with bench() as root, bench("edge", root=False) as edge:
        child, line = root.child("edge")
        root.gateway.sessions.control(child, "claim", claim("edge", "pump", store="aa"))
        await until(lambda: root.lifecycle().get("epoch") == 1)
        take(root, override(99, 30), origin="edge")
        lost = Verdict(OverrideId("line", 99), Outcome.LOST, 0).to_value()
        await root.gateway.ledger.write([Draft(desired, 50), Draft(verdict, lost)])
        root.gateway.sessions.control(child, "claim", claim("edge", "pump", store="bb"))
        await until(lambda: line.of("restore"))
        parent, _ = edge.parent()
        await edge.gateway.ownership.configure([PUMP])
        edge.gateway.ownership.on_restore(parent, line.of("restore")[0])
        assert edge.value(Section.OVERRIDE, "speed") == root.value(Section.OVERRIDE, "speed")
        assert (edge.value(desired.section, "speed"), edge.value(verdict.section, "speed")) == (50, lost)


@pytest.mark.parametrize(("state", "shown"), [("offline", 6), ("online", 0)])
async def test_what_a_device_said_here_before_it_fell_silent_does_not_count_if_another_heard_it_since(
    state: str, shown: int
) -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        flow = RegisterKey(PUMP, Section.REPORTED, "flow")
        presence: Value = {"state": state, "since": 1}
        b.gateway.ledger.report([Draft(flow, 0), Draft(RegisterKey(PUMP, Section.PRESENCE, "state"), presence)])
        refused = {"node": "edge", "device": str(PUMP), "reason": "it is held by other"}
        b.gateway.sessions.control(cloud, "claim-refused", refused)
        restore(b, cloud, "edge", register("flow", 6, 9))
        assert b.value(Section.REPORTED, "flow") == shown


@pytest.mark.parametrize(("state", "shown"), [("offline", 6), ("online", 0)])
async def test_what_a_device_said_to_a_former_holder_that_never_heard_of_the_next_does_not_count_either(
    state: str, shown: int
) -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        take(b, lifecycle("edge", b.gateway.peers.store_id.hex(), 1, 1))
        flow = RegisterKey(PUMP, Section.REPORTED, "flow")
        presence: Value = {"state": state, "since": 1}
        b.gateway.ledger.report([Draft(flow, 0), Draft(RegisterKey(PUMP, Section.PRESENCE, "state"), presence)])
        given = lifecycle("edge", "", 9, 3)
        assert isinstance(given.value, dict)
        moved = replace(given, value={**given.value, TENURE: 3})
        restore(b, cloud, "edge", moved, register("flow", 6, 8, epoch=2))
        assert b.value(Section.REPORTED, "flow") == shown


async def test_a_device_that_is_heard_again_counts_also_while_the_disk_is_too_full_to_say_so() -> None:
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        flow, state = RegisterKey(PUMP, Section.REPORTED, "flow"), RegisterKey(PUMP, Section.PRESENCE, "state")
        b.gateway.ledger.report([Draft(flow, 21), Draft(state, {"state": "offline", "since": 1})])
        refused = {"node": "edge", "device": str(PUMP), "reason": "it is held by other"}
        b.gateway.sessions.control(cloud, "claim-refused", refused)
        b.store.error = FULL
        b.gateway.ownership._statements.say({state: {"state": "online", "since": 2}})
        await turns()
        restore(b, cloud, "edge", register("flow", 6, 9))
        assert b.value(Section.REPORTED, "flow") == 21
