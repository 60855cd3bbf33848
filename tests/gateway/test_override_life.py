"""What else may happen to a local override: more of them, second thoughts, crashes, moves, deletes, lost stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined, model, undecided
from twingateway.errors import DeviceUnreachable, NotHolder, StoreFull
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Changes
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.entry import EVENT
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import RegisterKey, Section, Version


async def quiet(both: Joined) -> None:
    """Nothing is overridden any more, at neither end, and nothing waits."""
    await both.calm(lambda: both.state(both.cloud) is None and both.state(both.edge) is None)


async def values(both: Joined, code: str) -> list[Any]:
    return [entry.value["value"] for entry in await both.events(both.cloud, code)]


# --- several, and second thoughts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
async def test_of_several_the_newest_wins_and_each_is_in_the_journal_once(restart: bool) -> None:
    async with joined() as both:
        both.cut()
        for value in (97, 98, 99):
            await both.override(value)
            await until(lambda value=value: both.written[-1:] == [value])  # type: ignore[misc]
            if restart:
                await both.restart(both.edge)
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert both.written == [97, 98, 99]
        await both.recorded("override", 3)
        assert await values(both, "override") == [97, 98, 99]
        assert await both.events(both.cloud, "conflict", "conflict-open") == []


async def test_one_whose_entry_the_journal_gave_up_is_judged_all_the_same() -> None:
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        await until(lambda: both.written == [99])
        assert await both.holder.store.evict(EVENT, 0, 0)
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert await values(both, "override") == []
        assert len(await both.events(both.cloud, "conflict")) == 1


async def test_one_after_the_other_while_the_verdicts_are_on_their_way() -> None:
    async with joined() as both:
        both.edge.path.cut_down = True
        await both.override(98)
        await until(lambda: both.desired() == 98 and both.written == [98])
        await both.override(99)
        await until(lambda: both.desired() == 99)
        both.edge.path.cut_down = False
        await both.applied(99)
        await quiet(both)
        assert both.written == [98, 99], "what became of the first must not come back"
        assert await both.events(both.cloud, "conflict", "conflict-open") == []


async def test_withdrawing_offline_leaves_no_trace_but_in_the_journal() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        await until(lambda: both.written == [99, 10])
        both.heal()
        await both.applied(10)
        await quiet(both)
        assert both.written == [99, 10]
        await both.recorded("override-withdrawn")
        assert await values(both, "override") == await values(both, "override-withdrawn") == [99]


async def test_one_that_is_withdrawn_too_late_is_taken_back() -> None:
    async with joined() as both:
        both.edge.path.cut_down = True
        await both.override(99)
        await until(lambda: both.desired() == 99)
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        await until(lambda: both.written == [99, 10])
        both.edge.path.cut_down = False
        await both.applied(10)
        await quiet(both)
        assert both.written == [99, 10], "the desired value that it had become was never followed"


async def test_a_new_one_after_a_withdrawn_one_is_no_conflict_with_it() -> None:
    async with joined() as both:
        both.edge.path.cut_down = True
        await both.override(98)
        await until(lambda: both.desired() == 98)
        both.cut()
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        await until(lambda: both.written == [98, 10])
        await both.override(99)
        both.edge.path.cut_down = False
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert both.written == [98, 10, 99]
        assert await both.events(both.cloud, "conflict", "conflict-open") == []


async def test_a_new_one_does_not_hide_that_the_one_before_it_was_withdrawn_too_late() -> None:
    """The holder has the verdict, and the root has not heard yet that there is nothing left to accept."""
    async with joined() as both:
        both.edge.path.cut_down = True
        await both.override(98)
        await until(lambda: both.desired() == 98)
        both.edge.path.cut_up = True
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        await until(lambda: both.written == [98, 10])
        both.edge.path.cut_down = False
        await until(lambda: both.desired(both.edge) == 98)
        await both.override(99)
        await until(lambda: both.written == [98, 10, 99])
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        both.edge.path.cut_up = False
        await both.applied(10)
        await quiet(both)
        assert both.written == [98, 10, 99, 10]


async def test_later_writes_of_the_cloud_are_followed_as_ever() -> None:
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(99)
        both.heal()
        await both.applied(99)
        await both.desire(60)
        await both.applied(60)
        await both.restart(both.edge)
        await both.desire(70)
        await both.applied(70)
        assert both.written == [99, 60, 70]


async def test_a_removed_value_is_a_change_of_the_cloud_too() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.desire(None)
        both.heal()
        await quiet(both)
        [told] = await both.events(both.cloud, "conflict")
        assert (told.value["cloud"]["value"], told.value["winner"]) == (None, "cloud")
        assert both.desired() is None
        assert both.written == [99]


async def test_where_nothing_was_desired_withdrawing_leaves_the_device_as_it_is() -> None:
    async with joined(first=None) as both:
        both.cut()
        await both.override(98)
        await until(lambda: both.written == [98])
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        both.heal()
        await quiet(both)
        assert both.desired() is None
        await both.override(99)
        await both.applied(99)
        await quiet(both)
        assert both.written == [98, 99]


# --- the device ----------------------------------------------------------------------------------------------------


async def test_what_cannot_be_confirmed_is_written_once_all_the_same() -> None:
    async with joined() as both:
        both.pump.confirms = False
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        both.heal()
        await until(lambda: both.desired() == 99)
        await both.calm(lambda: (ack := both.root.queries.ack(PUMP, SPEED)) and ack.code == "unconfirmed")
        assert both.written == [99]


async def test_a_device_that_is_off_gets_it_when_it_is_back() -> None:
    async with joined() as both:
        assert both.pump.port is not None
        both.pump.port.offline(DeviceUnreachable("unplugged"))
        await both.override(99)
        await until(lambda: both.desired() == 99)
        both.pump.port.online()
        await both.applied(99)
        await quiet(both)
        assert both.written == [99]


async def test_a_write_that_a_crash_interrupted_is_read_back_first() -> None:
    async with joined() as both:
        both.cut()
        await both.override(98)
        await until(lambda: both.written == [98])
        await until(lambda: (found := both.holder.queries.overrides(PUMP)[SPEED]) and "ack" in found)  # type: ignore[operator]
        write = both.holder.store.commit

        async def full_once_written(changes: Any) -> None:
            if both.written[-1] == 99:
                raise StoreFull("no space left")
            await write(changes)

        both.holder.store.commit = full_once_written  # type: ignore[method-assign]
        await both.override(99)
        await until(lambda: both.written == [98, 99])
        await both.restart(both.edge)
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert both.written == [98, 99]


async def test_what_stood_below_one_that_never_reached_the_device_is_not_written_again() -> None:
    async with joined() as both:
        both.pump.error = DeviceUnreachable("pump is off")
        await both.override(99)
        await until(lambda: (found := both.holder.queries.overrides(PUMP)[SPEED]) and "off" in str(found))  # type: ignore[operator]
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        both.pump.error = None
        await both.applied(10)
        await quiet(both)
        assert both.written == []


async def test_what_the_device_took_it_holds_though_another_override_stood_over_it_that_it_never_saw() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        await both.calm_here()
        assert both.pump.port is not None
        both.pump.port.offline(DeviceUnreachable("unplugged"))
        await both.override(88)
        await until(lambda: "unplugged" in str(both.holder.queries.overrides(PUMP)))
        await both.override(99)
        both.pump.port.online()
        await both.calm_here()
        assert both.written == [99]


async def test_a_verdict_between_attempt_and_write_does_not_make_the_outcome_unknown() -> None:
    async with joined(first=None) as both:
        commit = both.holder.store.commit

        async def slow_attempt(changes: Changes) -> None:
            await commit(changes)
            if any("attempted" in str(stored.register.value) for stored in changes.registers):
                await until(lambda: both.desired(both.edge) == 99)

        both.holder.store.commit = slow_attempt  # type: ignore[method-assign]
        both.pump.values.clear()
        await both.override(99)
        await both.applied(99)
        await quiet(both)
        assert both.written == [99]


async def test_without_room_in_the_store_nothing_happens() -> None:
    async with joined() as both:
        both.cut()
        both.edge.disk.full = True
        with pytest.raises(StoreFull):
            await both.override(99)
        both.edge.disk.full = False
        both.heal()
        await both.desire(60)
        await both.applied(60)
        await quiet(both)
        assert both.written == [60]
        assert await both.events(both.cloud, "override") == []


# --- moves and deletes ---------------------------------------------------------------------------------------------


async def moved_to(both: Joined, name: str) -> MemoryNode:
    """Another edge at the same machine."""
    other = MemoryNode(name)
    other.machines["pump"] = FakeMachine(dict(both.pump.values), frozenset({SPEED}))
    both.others.append(other)
    await both.start(other)
    await both.root.commands.move(PUMP, name)
    await until(lambda: other.gateway.ownership.held(PUMP))
    return other


async def test_a_move_takes_an_open_override_along() -> None:
    async with joined("manual") as both:
        await undecided(both)
        other = await moved_to(both, "other")
        await until(lambda: both.state(other) == "undecided")
        await both.root.verdicts.resolve(PUMP, SPEED, edge=False, actor="dora")
        await until(lambda: other.machines["pump"].written == [(SPEED, 50)])
        await both.applied(50)
        assert both.state(other) is None
        assert both.written == [99]


async def test_whoever_is_given_a_device_asks_whether_it_holds_what_was_applied() -> None:
    async with joined("manual") as both:
        await undecided(both)
        both.cut()
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        await until(lambda: both.written == [99, 50])
        other = await moved_to(both, "other")
        await until(lambda: other.machines["pump"].written == [(SPEED, 99)])
        await both.root.commands.move(PUMP, "edge")
        both.pump.say(speed=99)
        both.heal()
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.calm(lambda: both.state(both.edge) == both.state(both.cloud) == "undecided")
        await until(lambda: "handed-over" not in str(both.root.queries.overrides(PUMP)))
        assert both.written == [99, 50]


@pytest.mark.parametrize("state", ["unjudged", "undecided"])
async def test_a_move_to_the_root_itself_takes_it_along_too(state: str) -> None:
    both = Joined()
    both.cloud.machines["pump"] = FakeMachine({"flow": 1.5}, frozenset({SPEED}))
    both.edge.machines["pump"] = FakeMachine({"flow": 1.5}, frozenset({SPEED}))
    try:
        await both.start(both.cloud)
        await both.root.commands.put_model("default", model("manual"))
        await both.start(both.edge)
        await both.root.commands.move(PUMP, "edge")
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.desire(10)
        await both.applied(10)
        both.root.repair._running = state == "unjudged"
        both.cut()
        await both.override(99)
        await both.desire(50)
        both.heal()
        await until(lambda: both.state(both.cloud) == state)
        await until(lambda: "applied" in str(both.root.queries.overrides(PUMP)))
        await both.root.commands.move(PUMP, "cloud")
        await until(lambda: both.root.ownership.held(PUMP))
        both.root.repair._running = False
        await until(lambda: both.state(both.cloud) == "undecided")
        await both.root.verdicts.resolve(PUMP, SPEED, edge=False, actor="dora")
        await both.applied(50)
        assert both.cloud.machines["pump"].written[-1] == (SPEED, 50)
        assert (SPEED, 99) not in both.cloud.machines["pump"].written
    finally:
        await both.stop(both.edge)
        await both.stop(both.cloud)


async def test_one_that_the_root_was_never_told_of_ends_with_a_move() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        other = await moved_to(both, "other")
        both.heal()
        await until(lambda: not both.holder.table.section(PUMP, Section.OVERRIDE))
        await both.calm()
        await both.recorded("override-void")
        assert await values(both, "override") == await values(both, "override-void") == [99]
        assert both.desired() == 10
        await both.root.commands.move(PUMP, "edge")
        await until(lambda: both.holder.ownership.held(PUMP))
        await both.calm()
        assert both.state(both.edge) is None
        assert other.machines["pump"].written == [(SPEED, 10)]
        with pytest.raises(NotHolder):
            await other.gateway.overrides.set(PUMP, SPEED, 5, "olaf")


async def test_a_move_to_its_own_holder_takes_an_override_along_of_which_the_root_had_not_heard() -> None:
    async with joined("manual") as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        await both.root.commands.move(PUMP, "edge")
        both.heal()
        await until(lambda: both.state(both.cloud) == "undecided")
        await both.calm()
        assert await both.events(both.cloud, "override-void") == []
        assert both.state(both.edge) == "undecided"
        assert both.written == [99]


async def test_one_set_while_another_node_held_the_device_ends_though_it_came_back() -> None:
    async with joined("manual") as both:
        both.cut()
        await moved_to(both, "other")
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.root.commands.move(PUMP, "edge")
        both.heal()
        await both.recorded("override-void")
        await until(lambda: both.root.table.value(PUMP, Section.LIFECYCLE, "state")["store"] != "")  # type: ignore[index,call-overload]
        await both.calm()
        assert await values(both, "override-void") == [99]
        assert [both.state(node) for node in (both.edge, both.cloud)] == [None, None]
        assert both.desired() == 10


@pytest.mark.parametrize("anew", [False, True])
async def test_one_of_a_deleted_device_ends_and_never_comes_back(anew: bool) -> None:
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.root.commands.delete(PUMP)
        document = {
            "apiVersion": "edge.iot.org/v1",
            "kind": "DeviceTwin",
            "metadata": {"name": "pump"},
            "spec": {"model": "pump@1", "desiredProperties": {SPEED: 20}},
        }
        if anew:
            await both.root.commands.put(document, "default")
        both.heal()
        await until(lambda: not both.holder.table.section(PUMP, Section.OVERRIDE))
        if not anew:
            await both.root.commands.put(document, "default")
        await both.applied(20)
        await quiet(both)
        await both.recorded("override-void")
        assert await values(both, "override") == await values(both, "override-void") == [99]
        assert both.desired() == 20
        assert both.written == [99, 20]


# --- stores --------------------------------------------------------------------------------------------------------


async def test_a_root_that_was_restored_takes_the_verdict_back_from_the_holder() -> None:
    async with joined() as both:
        old = both.backup(both.cloud)
        await both.override(99)
        await both.applied(99)
        await quiet(both)
        await both.stop(both.cloud)
        both.cloud.disk = old
        await both.start(both.cloud)
        await both.applied(99)
        await quiet(both)
        await both.desire(60)
        await both.applied(60)
        assert both.written == [99, 60]
        assert await both.events(both.cloud, "conflict") == []


async def test_a_root_that_was_restored_does_not_judge_by_what_it_forgot() -> None:
    async with joined() as both:
        old = both.backup(both.cloud)
        await both.desire(50)
        await both.applied(50)
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [50, 99])
        await both.stop(both.cloud)
        both.cloud.disk = old
        await both.start(both.cloud)
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert both.written == [50, 99]
        assert await both.events(both.cloud, "conflict") == []


async def test_what_a_restored_root_has_of_an_override_that_was_replaced_is_not_accepted_over_the_later_one() -> None:
    async with joined("edge-wins") as both:
        await both.override(98)
        await both.applied(98)
        await quiet(both)
        old = both.backup(both.cloud)
        await both.override(99)
        await both.applied(99)
        await quiet(both)
        both.cut()
        await both.stop(both.cloud)
        both.cloud.disk = old
        await both.start(both.cloud)
        await both.root.commands.move(PUMP, "other")
        await both.root.commands.move(PUMP, "edge")  # what it said of the pump before is of a former tenure
        both.heal()
        await until(lambda: both.holder.ownership.held(PUMP) and both.root.repair.repairs == 1)
        await both.applied(99)
        await quiet(both)
        assert both.written == [98, 99]


@pytest.mark.parametrize("edge", [False, True])
async def test_a_holder_that_lost_its_store_is_given_the_override_back(edge: bool) -> None:
    async with joined("manual") as both:
        await undecided(both)
        await both.stop(both.edge)
        both.edge.disk = MemoryDisk()
        await both.start(both.edge)
        await until(lambda: both.holder.ownership.held(PUMP) and both.state(both.edge) == "undecided")
        await both.calm()
        assert both.written == [99]
        await both.root.verdicts.resolve(PUMP, SPEED, edge=edge, actor="dora")
        await both.applied(99 if edge else 50)
        await quiet(both)
        assert both.written == ([99] if edge else [99, 50])


async def test_a_holder_that_lost_its_store_and_is_given_the_override_back_twice_has_it() -> None:
    async with joined("manual") as both:
        await both.stop(both.edge)
        both.edge.disk = MemoryDisk()
        await both.start(both.edge)
        await both.calm(lambda: both.holder.ownership.held(PUMP))  # what is left of it then is noted
        await undecided(both)
        await both.stop(both.edge)
        both.edge.disk = MemoryDisk()
        both.cloud.disk.full = True  # so that it is given back its word, and not granted the device
        await both.start(both.edge)
        await until(lambda: both.state(both.edge) is not None)
        await both.holder.committer.submit()
        await both.restart(both.edge)
        await until(lambda: both.holder.ownership._own_claim(PUMP).restored)
        both.cloud.disk.full = False
        await both.calm(lambda: both.holder.ownership.held(PUMP))
        assert (both.state(both.cloud), both.state(both.edge)) == ("undecided", "undecided")
        assert both.written == [99]


async def test_nothing_is_judged_while_the_root_is_being_repaired_but_then() -> None:
    async with joined() as both:
        both.root.repair._running = True
        await both.override(99)
        await both.calm(lambda: both.state(both.cloud) == "unjudged" and both.ack() == "delivered")
        both.root.repair._running = False
        await both.applied(99)


async def test_a_verdict_waits_for_a_store_that_is_full() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        both.cloud.disk.full = True
        both.heal()
        await until(lambda: both.state(both.cloud) == "unjudged")
        both.cloud.disk.full = False
        await both.applied(99)
        await quiet(both)
        assert both.written == [99]


async def test_a_verdict_is_given_once_whenever_the_root_is_killed() -> None:
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        await until(lambda: both.written == [99])
        both.heal()
        await until(lambda: any(key.section is Section.VERDICT for key in both.cloud.disk.registers))
        await both.restart(both.cloud)
        await both.applied(99)
        await quiet(both)
        assert len(await both.events(both.cloud, "conflict")) == 1
        assert both.written == [99]


async def test_what_a_root_had_not_judged_when_it_was_killed_it_judges_then() -> None:
    async with joined("edge-wins") as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        commit = both.root.store.commit

        async def no_verdicts(changes: Changes) -> None:
            if any(stored.register.key.section is Section.VERDICT for stored in changes.registers):
                raise StoreFull("no space left")
            await commit(changes)

        both.root.store.commit = no_verdicts  # type: ignore[method-assign]
        both.heal()
        await until(lambda: any(key.section is Section.OVERRIDE for key in both.cloud.disk.registers))
        assert both.state(both.cloud) == "unjudged"
        await both.restart(both.cloud)
        await both.applied(99)
        await quiet(both)
        assert len(await both.events(both.cloud, "conflict")) == 1
        assert both.written == [99]


async def test_an_edge_that_was_restored_follows_nothing_that_is_over() -> None:
    async with joined() as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.calm_here()
        old = both.backup(both.edge)
        both.heal()
        await both.applied(99)
        await both.desire(60)
        await both.applied(60)
        await both.stop(both.edge)
        both.edge.disk = old
        await both.start(both.edge)
        await until(lambda: both.holder.repair.repairs == 1)
        await both.applied(60)
        await quiet(both)
        assert both.written == [99, 60]
        await both.desire(70)
        await both.applied(70)


async def test_one_set_anew_after_a_restore_is_not_taken_for_the_one_that_was_lost() -> None:
    async with joined() as both:
        both.cut()
        await both.override(97)
        await until(lambda: both.written == [97])
        old = both.backup(both.edge)
        lost = await both.override(98)
        both.heal()
        await both.applied(98)
        await quiet(both)
        both.cut()
        await both.stop(both.edge)
        both.edge.disk = old
        await both.start(both.edge)
        later = await both.override(99)
        assert later.rpartition(".")[0] == lost.rpartition(".")[0], "of one line: the copy knows of no verdict"
        assert later != lost
        await until(lambda: both.written[-1:] == [99])
        both.heal()
        await both.applied(99)
        await quiet(both)
        assert both.written[-1] == 99
        assert await both.events(both.cloud, "conflict", "conflict-open") == []


@pytest.mark.parametrize("restarted", [False, True])
async def test_one_whose_base_is_on_no_disk_any_more_is_judged(restarted: bool) -> None:
    async with joined() as both:
        key = RegisterKey(PUMP, Section.OVERRIDE, SPEED)
        based = Override(OverrideId("line", 1), 99, "olaf", "edge", Version(1, 1, 1 << 40), 0)
        if restarted:
            both.root.repair._running = True
        await both.holder.ledger.write([Draft(key, based.to_value())])
        if restarted:
            await until(lambda: key in both.cloud.disk.registers)
            await both.restart(both.cloud)
        await both.applied(99)
        await quiet(both)
        assert both.written == [99]


async def test_the_root_refuses_what_the_model_does_not_allow() -> None:
    async with joined() as both:
        key = RegisterKey(PUMP, Section.OVERRIDE, SPEED)
        forged = Override(OverrideId("forged-1", 1), 5000, "mallory", "edge", Version(9, 9, 9), 0)
        forged = replace(forged, base=both.holder.queries.version(PUMP))
        await both.holder.ledger.write([Draft(key, forged.to_value())])
        await both.recorded("override-refused")
        await quiet(both)
        assert both.desired() == 10
        assert 5000 not in both.written


# --- a region in between -------------------------------------------------------------------------------------------


async def test_it_travels_through_a_region() -> None:
    async with joined() as both:
        await both.stop(both.edge)
        region, leaf = MemoryNode("region"), MemoryNode("leaf")
        leaf.machines["valve"] = FakeMachine({"flow": 1.0}, frozenset({SPEED}))
        async with region.running(both.cloud), leaf.running(region, {"valve": "pump@1"}):
            valve = PUMP._replace(name="valve")
            await until(lambda: leaf.gateway.ownership.held(valve))
            await until(lambda: leaf.gateway.models.find("default", "pump@1") is not None)
            await leaf.gateway.overrides.set(valve, SPEED, 99, "olaf")
            await until(lambda: both.root.table.values(valve, Section.DESIRED) == {SPEED: 99})
            await until(lambda: leaf.gateway.queries.overrides(valve) == {} == both.root.queries.overrides(valve))
            assert leaf.machines["valve"].written == [(SPEED, 99)]
            with pytest.raises(NotHolder, match="leaf"):
                await region.gateway.overrides.set(valve, SPEED, 5, "olaf")


@pytest.mark.parametrize("accepted", [False, True])
async def test_one_that_is_withdrawn_before_it_came_to_the_device_changes_nothing_there(accepted: bool) -> None:
    async with joined() as both:
        if accepted:
            await both.override(13)
            await both.applied(13)
            await both.calm(lambda: both.state(both.edge) is None)
            both.pump.written.clear()
        assert both.pump.port is not None
        both.pump.port.offline(DeviceUnreachable("unplugged"))
        both.cut()
        await both.override(99)
        await until(lambda: "unplugged" in str(both.holder.queries.overrides(PUMP)))
        await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")
        both.pump.say(flow=1.5)
        both.heal()
        await both.calm(lambda: both.ack() == "applied")
        await quiet(both)
        assert both.written == [], "it has what is desired"
