"""Rule 12: checks → delivered with the attempt → write → final ack; each once, and none in its neighbour's way."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.devices.actuating import MODEL, SPEED, FakeDriver, crashed, rig
from tests.gateway.workbench import FULL, PUMP, turns
from twingateway.adapter import Value
from twingateway.errors import (
    AdapterFault,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidValue,
    Problem,
    WriteMismatch,
)
from twingateway.gateway.devices.models import read_model
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Changes
from twingateway.testing.joined import until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version


async def test_a_desired_value_is_delivered_and_attempted_in_one_commit_then_written_then_applied() -> None:
    async with rig() as r:
        order: list[str] = []
        commit = r.b.store.commit

        async def noting(changes: Changes) -> None:
            await commit(changes)
            told = [str(s.register.value["state"]) for s in changes.registers  # type: ignore[index,call-overload]
                    if s.register.key.section is Section.ACK]  # fmt: skip
            order.extend([" ".join([*told, *("attempt" for _ in changes.attempts)])] if told else [])

        async def writing() -> None:
            order.append("write")

        r.b.store.commit = noting  # type: ignore[method-assign]
        r.driver.during = writing
        version = await r.desire()
        ack = await r.settled()
        assert order == ["delivered attempt", "write", "applied"]
        assert (ack.version, ack.observed) == (version, 20)
        assert r.driver.written == [("speed", 20)]


async def test_without_a_durable_attempt_nothing_is_written() -> None:
    async with rig() as r:
        commit = r.b.store.commit
        refused: list[Changes] = []

        async def no_attempts(changes: Changes) -> None:
            if changes.attempts:
                refused.append(changes)
                raise FULL
            await commit(changes)

        r.b.store.commit = no_attempts  # type: ignore[method-assign]
        await r.desire()
        await until(lambda: bool(refused), 3)
        await turns(50)
        assert r.driver.written == []
        r.b.store.commit = commit  # type: ignore[method-assign]
        r.b.clock.seconds += 60
        r.actuator.nudge()
        assert (await r.settled()).state is AckState.APPLIED
        assert r.driver.written == [("speed", 20)]


async def test_the_outcome_is_not_forgotten_when_the_store_refuses_it() -> None:
    async with rig() as r:

        async def fill() -> None:
            r.b.store.error = FULL

        r.driver.during = fill
        r.driver.confirmed = False
        r.driver.blind = True
        await r.desire()
        await until(lambda: r.driver.written)
        await turns(50)
        r.b.store.error = None
        r.b.clock.seconds += 60
        r.actuator.nudge()
        ack = await r.settled()
        assert (ack.state, ack.code) == (AckState.DELIVERED, "unconfirmed")
        assert r.driver.written == [("speed", 20)], "written once"


async def test_a_value_is_written_though_a_newer_one_was_acknowledged_if_the_root_began_an_epoch_since() -> None:
    """The newer one was lost with the root's store, and with all others that had it."""
    async with rig() as r:
        ledger, key = r.b.gateway.ledger, RegisterKey(PUMP, Section.ACK, "speed")
        await ledger.write([Draft(lifecycle_key(PUMP), dict(r.b.lifecycle()))], version=Version(1, 2, 0))
        lost = Ack(Version(1, 1, 60_000), AckState.APPLIED, observed=30)
        ledger.apply([Register(key, Version(1, 1, 60_001), lost.to_value(), 0)], origin="", then=lambda: None)
        ledger.apply([Register(SPEED, Version(1, 1, 50_000), 20, 0)], origin="", then=lambda: None)
        r.actuator.nudge()
        await until(lambda: r.driver.written == [("speed", 20)])


async def test_a_value_that_comes_behind_the_ack_of_a_newer_one_is_not_written() -> None:
    """A node that is given a device is told first what the former holder said of it, and what is desired may come
    later, the older before the newer."""
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=False)
    driver.values["speed"] = 30
    newer, key = Version(1, 1, 60_000), RegisterKey(PUMP, Section.ACK, "speed")
    ack = Register(key, Version(1, 1, 60_001), Ack(newer, AckState.APPLIED, observed=30).to_value(), 0)
    disk.registers[key] = StoredRegister(ack, 60_001)
    async with rig(disk, driver=driver) as r:
        r.b.gateway.ledger.apply([Register(SPEED, newer, 30, 0)], origin="cloud", then=lambda: None)
        r.actuator.nudge()
        await r.desire("mode", "eco")
        await r.settled("mode")
        assert r.driver.written == [("mode", "eco")]


async def test_a_value_superseded_while_it_is_written_is_followed_by_the_newer_one() -> None:
    async with rig() as r:

        async def newer() -> None:
            r.driver.during = None
            await r.desire(value=30)

        r.driver.during = newer
        await r.desire(value=20)
        await until(lambda: (ack := r.ack()) is not None and ack.observed == 30)
        assert r.driver.written == [("speed", 20), ("speed", 30)]


async def test_a_value_that_gets_another_version_while_the_device_is_off_is_not_written_again() -> None:
    async with rig() as r:
        await r.desire(value=20)
        await r.settled()
        r.reporter.offline(DeviceUnreachable("it is off"))
        newest = await r.desire(value=20)
        await r.said(AckState.DELIVERED, "device-unreachable")
        r.reporter.online()
        r.actuator.returned()
        assert (await r.settled()).version == newest
        assert r.driver.written == [("speed", 20)]


async def test_a_value_that_gets_another_version_while_it_is_written_is_not_written_again() -> None:
    async with rig() as r:

        async def again() -> None:
            r.driver.during = None
            await r.desire(value=20)

        r.driver.during = again
        await r.desire(value=20)
        await until(lambda: (ack := r.ack()) is not None and ack.observed == 20)
        assert r.driver.written == [("speed", 20)]


async def test_a_value_superseded_while_its_neighbour_is_written_is_not_written() -> None:
    async with rig(online=False) as r:
        await r.desire("mode", "eco")
        await r.desire("speed", 20)

        async def newer() -> None:
            r.driver.during = None
            await r.desire("speed", 30)

        r.driver.during = newer
        r.reporter.online()
        r.actuator.returned()
        await until(lambda: (ack := r.ack()) is not None and ack.observed == 30)
        assert ("speed", 20) not in r.driver.written


async def test_a_device_that_is_off_leaves_the_value_delivered_with_the_reason_and_gets_it_when_it_returns() -> None:
    async with rig(online=False) as r:
        r.reporter.fail(DeviceUnreachable("cable out"), None)
        await r.desire()
        await r.said(AckState.DELIVERED, "device-unreachable")
        assert r.driver.written == []
        r.reporter.online()
        r.actuator.returned()
        assert (await r.settled()).state is AckState.APPLIED


async def test_a_passing_error_is_retried_with_growing_pauses_and_said_once() -> None:
    async with rig() as r:
        r.driver.values["speed"] = 0
        r.driver.errors = [DeviceTimeout("no answer") for _ in range(5)]
        await r.desire()
        await r.said(AckState.DELIVERED, "device-timeout")
        waited = []
        for tries in range(2, 6):
            pause = 0.0
            while len(r.driver.written) < tries:
                r.b.clock.seconds += 0.5
                pause += 0.5
                r.actuator.nudge()
                await turns(30)
            waited.append(pause)
        assert waited == sorted(waited)
        assert waited[-1] >= 8
        said = [
            s for changes in r.b.store.commits for s in changes.registers if s.register.key.section is Section.ACK
        ]
        assert len(said) == 2, "delivered, then why it waits"
        r.b.clock.seconds += 60
        r.actuator.nudge()
        assert (await r.settled()).state is AckState.APPLIED


async def test_a_change_of_one_property_does_not_hurry_the_retries_of_another() -> None:
    async with rig() as r:
        r.driver.errors = [DeviceTimeout("no answer")]
        await r.desire("speed", 20)
        await r.said(AckState.DELIVERED, "device-timeout")
        await r.desire("mode", "eco")
        assert (await r.settled("mode")).state is AckState.APPLIED
        assert r.driver.written == [("speed", 20), ("mode", "eco")]


async def test_waiting_for_a_device_that_is_off_takes_no_work() -> None:
    async with rig() as r:
        r.driver.errors = [DeviceUnreachable("cable out")]
        await r.desire()
        await r.said(AckState.DELIVERED, "device-unreachable")
        r.reporter.fail(DeviceUnreachable("cable out"), None)
        r.b.clock.seconds += 3600
        looked: list[object] = []
        r.actuator._held = lambda device: bool(looked.append(device)) or True  # type: ignore[func-returns-value]
        await asyncio.sleep(0.1)
        assert len(looked) < 10


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (DeviceRefused("the device says no"), AckState.FAILED, "device-refused"),
        (InvalidValue(Problem("no register holds it", "speed")), AckState.REJECTED, "invalid-value"),
        (WriteMismatch("it stayed at 7", observed=7), AckState.FAILED, "write-mismatch"),
        (DeviceError("odd"), AckState.FAILED, "device-error"),
        (AdapterFault("bug"), AckState.FAILED, "adapter-fault"),
        (ZeroDivisionError("bug"), AckState.FAILED, "adapter-fault"),
    ],
)
async def test_what_will_never_work_ends_with_its_reason(error: Exception, state: AckState, code: str) -> None:
    async with rig() as r:
        r.driver.errors = [error]
        await r.desire()
        ack = await r.settled()
        assert (ack.state, ack.code) == (state, code)
        assert ack.observed == (7 if isinstance(error, WriteMismatch) else None)
        await r.desire("mode", "eco")
        assert (await r.settled("mode")).state is AckState.APPLIED, "the actuator lives on"


async def test_a_value_waits_for_the_model_that_the_device_names() -> None:
    async with rig(model="pump@1") as r:
        await r.desire()
        await r.said(AckState.DELIVERED, "unknown-model")
        assert r.driver.written == []
        await r.b.gateway.models.add("default", read_model(MODEL))
        r.actuator.nudge()
        assert (await r.settled()).state is AckState.APPLIED


@pytest.mark.parametrize(("name", "value"), [("speed", 101), ("speed", "fast"), ("colour", "red"), ("mode", "eco")])
async def test_what_the_model_or_the_driver_refuses_is_rejected_without_asking_the_device(
    name: str, value: Value
) -> None:
    async with rig(model="pump@1") as r:
        await r.b.gateway.models.add("default", read_model(MODEL))
        await r.desire(name, value)
        assert (await r.settled(name)).state is AckState.REJECTED
        assert r.driver.written == []


async def test_a_removed_desired_value_takes_its_ack_with_it_and_writes_nothing() -> None:
    async with rig() as r:
        await r.desire()
        await r.settled()
        await r.desire(value=None)
        await until(lambda: r.ack() is None)
        assert r.driver.written == [("speed", 20)]


async def test_an_old_attempt_of_a_settled_value_does_not_touch_a_new_value() -> None:
    disk = MemoryDisk()
    async with rig(disk) as r:
        await r.desire()
        await r.settled()
    async with rig(disk) as r:
        await r.desire(value=30)
        await until(lambda: (ack := r.ack()) is not None and ack.observed == 30)
        assert r.driver.written == [("speed", 30)]
