"""Desired values with terms: never written once nobody wants them, whatever was late, lost or restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.devices.actuating import FakeDriver, Rig, rig
from tests.gateway.workbench import PUMP, Bench, bench, claim, register
from twingateway.errors import DeviceUnreachable, InvalidValue, ProtocolViolation, TooLarge
from twingateway.gateway.peering.peers import Peer
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import Desired, Priority, Terms
from twingateway.twin.document import API_VERSION
from twingateway.twin.register import RegisterKey, Section, Version
from twingateway.twin.value import Value

SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")
DOCUMENT: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "DeviceTwin", "metadata": {"name": "pump"}, "spec": {}}


def patch(**values: Value) -> Value:
    return {"spec": {"desiredProperties": dict(values)}}


async def set_for(r: Rig | Bench, ttl: float, priority: Priority = Priority.NORMAL, **values: Value) -> Version:
    gateway = r.b.gateway if isinstance(r, Rig) else r.gateway
    written = await gateway.commands.patch(PUMP, patch(**values), None, Terms(ttl, priority))
    if isinstance(r, Rig):
        r.actuator.nudge()
    return next(iter(written.desired.values()))


async def test_in_time_it_is_written_and_shown_without_its_terms() -> None:
    async with rig() as r:
        await set_for(r, 30, speed=20)
        assert (await r.settled()).state is AckState.APPLIED
        assert r.driver.written == [("speed", 20)]
        twin: Any = r.b.gateway.queries.twin(PUMP)
        assert twin["spec"]["desiredProperties"] == {"speed": 20}
        assert twin["status"]["properties"]["desired"]["speed"]["ttl"] == 30


async def test_a_device_that_comes_back_too_late_is_not_written_to() -> None:
    async with rig(online=False) as r:
        await set_for(r, 30, speed=20)
        await r.desire("mode", "eco")
        await until(lambda: r.ack() is not None)
        r.b.clock.seconds += 30
        r.reporter.online()
        r.actuator.returned()
        assert (await r.settled()).state is AckState.EXPIRED
        assert (await r.settled("mode")).state is AckState.APPLIED
        assert r.driver.written == [("mode", "eco")]


async def test_the_time_passes_by_itself_and_is_told() -> None:
    async with rig(online=False) as r:
        await set_for(r, 0.05, speed=20)
        await until(lambda: r.ack() is not None)
        r.b.clock.seconds += 0.05
        assert (await r.settled()).code == "expired"


async def test_a_write_that_was_begun_in_time_is_read_back_but_not_repeated() -> None:
    driver = FakeDriver()
    driver.values["speed"] = 10
    driver.errors.append(DeviceUnreachable("gone in the middle"))
    async with rig(driver=driver) as r:
        await set_for(r, 30, speed=20)
        await r.said(AckState.DELIVERED, "device-unreachable")
        r.b.clock.seconds += 31
        r.actuator.returned()
        assert (await r.settled()).state is AckState.EXPIRED
        assert driver.written == [("speed", 20)]
        assert driver.reads == 2  # before the write that failed, and instead of the next


async def test_a_write_that_got_through_though_its_answer_did_not_is_applied() -> None:
    driver = FakeDriver()
    driver.errors.append(DeviceUnreachable("gone in the middle"))
    async with rig(driver=driver) as r:
        await set_for(r, 30, speed=20)
        await r.said(AckState.DELIVERED, "device-unreachable")
        driver.values["speed"] = 20
        r.b.clock.seconds += 31
        r.actuator.returned()
        ack = await r.settled()
        assert (ack.state, ack.observed) == (AckState.APPLIED, 20)


async def test_a_driver_that_lets_a_write_wait_is_stopped_when_the_time_is_up() -> None:
    driver = FakeDriver()
    reached: list[bool] = []

    async def wait_long() -> None:
        await asyncio.sleep(5)
        reached.append(True)

    driver.during = wait_long
    async with rig(driver=driver) as r:
        await set_for(r, 0.05, speed=20)
        await r.said(AckState.DELIVERED, "device-timeout")
        assert not reached


async def test_a_root_that_was_restarted_knows_nothing_and_writes_nothing() -> None:
    async with rig(online=False) as r:
        await set_for(r, 3600, speed=20)
        disk = r.b.store._disk
    async with rig(disk) as r:
        assert (await r.settled()).state is AckState.EXPIRED
        assert r.driver.written == []


async def test_setting_a_value_with_a_ttl_again_renews_it_and_without_one_makes_it_stay() -> None:
    async with bench() as b:
        await b.gateway.commands.put(DOCUMENT, "default")
        first = await set_for(b, 30, speed=20)
        second = await set_for(b, 30, speed=20)
        assert second > first
        written = await b.gateway.commands.patch(PUMP, patch(speed=20))
        assert b.value(Section.DESIRED, "speed") == 20
        assert written.desired["speed"] > second
        assert not (await b.gateway.commands.patch(PUMP, patch(speed=20))).desired


async def test_a_document_that_was_read_and_put_back_revives_nothing() -> None:
    async with bench() as b:
        await b.gateway.commands.put(DOCUMENT, "default")
        version = await set_for(b, 30, speed=20)
        same = {**DOCUMENT, "spec": {"desiredProperties": {"speed": 20}}}
        assert not (await b.gateway.commands.put(same, "default")).desired
        assert b.gateway.lifetimes.left(SPEED, version) == 30


async def test_a_plain_object_that_looks_like_an_envelope_stays_what_it_is() -> None:
    async with bench() as b:
        await b.gateway.commands.put(DOCUMENT, "default")
        odd: Value = {"$desired": 1, "ttl": 5}
        await b.gateway.commands.patch(PUMP, patch(speed=odd))
        assert b.gateway.queries.desired(PUMP)[0] == {"speed": odd}
        assert Desired.from_value(b.value(Section.DESIRED, "speed")) == Desired(odd)


@pytest.mark.parametrize(
    "terms", [{"ttl": -1}, {"ttl": "30s"}, {"ttl": True}, {"priority": "highest"}, {"priority": []}, {"after": 3}]
)
async def test_terms_that_are_not_understood_are_not_left_out(terms: dict[str, Value]) -> None:
    with pytest.raises(InvalidValue):
        Desired.from_value({"$desired": 20, **terms})
    async with rig() as r:
        await r.desire("speed", {"$desired": 20, **terms})
        assert (await r.settled()).state is AckState.REJECTED
        assert r.driver.written == []


async def test_a_value_that_has_no_room_for_terms_is_refused_where_it_is_written() -> None:
    async with bench() as b:
        await b.gateway.commands.put(DOCUMENT, "default")
        with pytest.raises((InvalidValue, TooLarge)):
            await set_for(b, 30, speed="x" * (64 * 1024 - 4))
        assert b.value(Section.DESIRED, "speed") is None


async def test_the_most_urgent_goes_first() -> None:
    async with rig(online=False) as r:
        patch_ = r.b.gateway.commands.patch
        await patch_(PUMP, patch(mode="low"), None, Terms(None, Priority.LOW))
        await patch_(PUMP, patch(valve=True))
        await patch_(PUMP, patch(speed=1), None, Terms(None, Priority.HIGH))
        r.reporter.online()
        r.actuator.returned()
        await r.settled("mode")
        assert [name for name, _ in r.driver.written] == ["speed", "valve", "mode"]


async def test_an_urgent_value_overtakes_those_that_wait_behind_one_that_is_written() -> None:
    driver = FakeDriver()
    async with rig(driver=driver, online=False) as r:

        async def urgent() -> None:
            driver.during = None
            await r.b.gateway.commands.patch(PUMP, patch(valve=False), None, Terms(None, Priority.HIGH))
            r.actuator.nudge()

        driver.during = urgent
        await r.b.gateway.commands.patch(PUMP, patch(speed=1))
        await r.b.gateway.commands.patch(PUMP, patch(mode="eco"))
        r.reporter.online()
        r.actuator.returned()
        await r.settled("mode")
        assert [name for name, _ in r.driver.written] == ["speed", "valve", "mode"]


async def test_a_value_that_was_replaced_before_anything_became_of_it_is_told() -> None:
    async with rig(online=False) as r:
        first = await r.b.gateway.commands.patch(PUMP, patch(speed=1))
        await r.b.gateway.commands.patch(PUMP, patch(speed=2))
        notice = await r.b.notice("desired-superseded")
        assert notice.device == PUMP
        assert (notice.detail["property"], notice.detail["version"]) == ("speed", str(first.desired["speed"]))
        r.reporter.online()
        r.actuator.returned()
        await r.settled()
        await r.b.events()
        await r.b.gateway.commands.patch(PUMP, patch(speed=3))
        assert not [e for e in await r.b.events() if getattr(e, "code", "") == "desired-superseded"]


# --- asking ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def holder() -> AsyncIterator[tuple[Bench, Peer, Any]]:
    async with bench("edge", root=False) as b:
        parent, line = b.parent()
        yield b, parent, line


async def test_a_holder_counts_from_when_it_asked_so_that_nothing_is_gained_on_the_way() -> None:
    async with holder() as (b, parent, line):
        lifetimes, version = b.gateway.lifetimes, Version(1, 1, 7)
        heard: list[object] = []
        lifetimes.watch(heard.append)
        lifetimes.ask(SPEED, version)
        [question] = line.of("want-ttl")
        assert lifetimes.left(SPEED, version) is None
        b.clock.seconds += 20
        b.gateway.sessions.control(parent, "ttl", {**question, "left": 25.0})
        assert lifetimes.left(SPEED, version) == 5
        assert heard == [PUMP]
        assert lifetimes.left(SPEED, Version(1, 1, 8)) is None, "of another version nothing is known"


async def test_an_answer_to_another_life_of_this_node_is_none() -> None:
    async with holder() as (b, parent, line):
        version = Version(1, 1, 7)
        b.gateway.lifetimes.ask(SPEED, version)
        [question] = line.of("want-ttl")
        b.gateway.sessions.control(parent, "ttl", {**question, "question": "00-1", "left": 25.0})
        assert b.gateway.lifetimes.left(SPEED, version) is None


async def test_what_could_not_be_asked_is_asked_on_the_next_link() -> None:
    async with holder() as (b, parent, line):
        b.unlink(parent)
        b.gateway.lifetimes.ask(SPEED, Version(1, 1, 7))
        _, line = b.parent()
        assert [body["property"] for body in line.of("want-ttl")] == ["speed"]


async def test_the_root_answers_what_is_left_and_nothing_for_what_it_does_not_know() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        await b.gateway.commands.put(DOCUMENT, "default")
        version = await set_for(b, 30, speed=20)
        b.clock.seconds += 12
        for asked in (version, Version(1, 1, 1)):
            body = {
                "node": "edge", "question": "q", "device": "pump", "property": "speed", "version": list(asked)
            }  # fmt: skip
            b.gateway.sessions.control(edge, "want-ttl", body)
        assert [body["left"] for body in line.of("ttl")] == [18, 0]


@pytest.mark.parametrize(
    "bad", [{}, {"device": "a/b/c"}, {"version": [1, 2]}, {"version": "1.2.3"}, {"property": None}]
)
async def test_a_question_that_makes_no_sense_is_a_violation(bad: dict[str, Any]) -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        body = {"node": "edge", "device": "pump", "property": "speed", "version": [1, 1, 1]}
        body = {**body, **bad} if bad else {"node": "edge"}
        if bad == {"property": None}:
            del body["property"]
        with pytest.raises(ProtocolViolation):
            b.gateway.sessions.control(edge, "want-ttl", body)


async def test_through_a_region_and_after_an_outage() -> None:
    cloud, region, edge = MemoryNode("cloud"), MemoryNode("region"), MemoryNode("edge")
    edge.machines["pump"] = pump = FakeMachine({"flow": 1.5}, frozenset({"speed"}))
    async with cloud.running(), region.running(cloud):
        commands = cloud.gateway.commands
        async with edge.running(region):
            await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 1.5)
            written = await commands.patch(PUMP, patch(speed=1), None, Terms(60))
            acks = await commands.settled(PUMP, written.desired, 5)
            assert acks["speed"].state is AckState.APPLIED
        late = await commands.patch(PUMP, patch(speed=2), None, Terms(0.05))
        again = await commands.patch(PUMP, patch(speed=2), None, Terms(0.05))
        assert (await commands.settled(PUMP, late.desired, 0.1))["speed"].state is AckState.SUPERSEDED
        await asyncio.sleep(0.06)
        async with edge.running(region):
            acks = await commands.settled(PUMP, again.desired, 5)
            assert acks["speed"].state is AckState.EXPIRED
            assert pump.written == [("speed", 1)]


async def test_a_holder_that_was_off_and_cannot_ask_waits_with_the_value_until_it_can() -> None:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = pump = FakeMachine({"flow": 1.5}, frozenset({"speed"}), DeviceUnreachable("off"))
    async with cloud.running():
        async with edge.running(cloud):
            await until(lambda: cloud.gateway.queries.exists(PUMP))
            written = await cloud.gateway.commands.patch(PUMP, patch(speed=2), None, Terms(60))
            await until(lambda: "delivered" in str(cloud.gateway.table.value(PUMP, Section.ACK, "speed")))
        pump.error = None
        edge.path.cut = True
        async with edge.running(cloud):
            await until(lambda: "ttl-unknown" in str(edge.gateway.table.value(PUMP, Section.ACK, "speed")))
            assert pump.written == []
            edge.path.cut = False
            acks = await cloud.gateway.commands.settled(PUMP, written.desired, 10)
            assert acks["speed"].state is AckState.APPLIED
            assert pump.written == [("speed", 2)]


async def test_what_an_unreachable_holder_never_heard_of_is_expired_when_its_time_is_up() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as b:
        await b.gateway.commands.put(DOCUMENT, "default")
        version = await set_for(b, 30, speed=20)
        await b.gateway.commands.patch(PUMP, patch(mode="eco"))
        b.clock.seconds += 29
        assert shown(b).state is AckState.PENDING
        b.clock.seconds += 1
        assert (shown(b).state, shown(b).code) == (AckState.EXPIRED, "expired-unconfirmed")
        assert shown(b, "mode").state is AckState.PENDING, "it has all the time in the world"
        acks = await b.gateway.commands.settled(PUMP, {"speed": version}, 5.0)
        assert acks["speed"].code == "expired-unconfirmed", "there is nothing to wait for"
    async with bench(disk=disk) as b:
        b.clock.wall += 29_000
        assert shown(b).state is AckState.PENDING
        b.clock.wall += 1_000
        assert shown(b).code == "expired-unconfirmed"


async def test_what_the_holder_says_of_an_expired_value_in_the_end_is_what_counts() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        await b.gateway.commands.put(DOCUMENT, "default")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        version = await set_for(b, 30, speed=20)
        epoch = b.lifecycle()["epoch"]
        assert isinstance(epoch, int)

        def say(state: str, seq: int) -> None:
            told: Value = {"version": str(version), "state": state}
            ack = register("speed", told, seq, section=Section.ACK, epoch=epoch)
            b.gateway.ledger.apply([ack], origin="edge", then=lambda: None)

        say("delivered", 5)
        b.clock.seconds += 31
        assert shown(b).code == "expired-unconfirmed"
        say("applied", 6)
        assert shown(b).state is AckState.APPLIED


def shown(b: Bench, name: str = "speed") -> Ack:
    ack = b.gateway.queries.ack(PUMP, name)
    assert ack is not None
    return ack
