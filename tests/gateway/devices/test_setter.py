"""A device is asked what it holds before it is written where it may hold the value already, and believed."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.devices.actuating import MODEL, FakeDriver, Rig, crashed, rig
from tests.gateway.workbench import PUMP, turns
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    DeviceUnreachable,
    WriteMismatch,
)
from twingateway.gateway.devices.models import read_model
from twingateway.gateway.devices.setter import Doubt, Setter
from twingateway.gateway.devices.wishes import Wish
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.register import RegisterKey, Section, Version


@pytest.mark.parametrize("holds", [True, False])
async def test_without_an_attempt_on_record_the_device_is_asked_what_it_holds(holds: bool) -> None:
    """The record may have been lost: with a store, or because another node held the device meanwhile."""
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=False)
    driver.values["speed"] = 20 if holds else 10
    async with rig(disk, driver=driver) as r:
        ack = await r.settled()
        assert (ack.state, ack.observed) == (AckState.APPLIED, 20)
        assert r.driver.written == ([] if holds else [("speed", 20)])


@pytest.mark.parametrize("error", [DeviceTimeout("no answer"), DeviceRefused("not that one")])
async def test_without_an_attempt_on_record_what_cannot_be_read_is_written(error: DeviceError) -> None:
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=False)
    driver.unreadable = error
    async with rig(disk, driver=driver) as r:
        assert (await r.settled()).state is AckState.APPLIED
        assert r.driver.written == [("speed", 20)]


async def test_a_device_that_never_says_what_it_holds_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("twingateway.gateway.devices.setter.ASK_TIMEOUT", 0.01)
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=False)
    driver.asked = asyncio.Event().wait
    async with rig(disk, driver=driver) as r:
        assert (await r.settled()).state is AckState.APPLIED
        assert r.driver.written == [("speed", 20)]


async def test_the_device_is_asked_once_and_not_before_each_write() -> None:
    async with rig() as r:
        for value in (20, 30, 40):
            await r.desire(value=value)
            await until(lambda value=value: (ack := r.ack()) is not None and ack.observed == value)  # type: ignore[misc]
        assert r.driver.written == [("speed", 20), ("speed", 30), ("speed", 40)]
        assert r.driver.reads == 1


async def set_back_after(error: DeviceError) -> list[tuple[str, object]]:
    """What is written to a device at 20 when a write of 30 ends so, and 20 is desired again."""
    async with rig() as r:
        await r.desire(value=20)
        await r.settled()
        r.driver.errors = [error]
        await r.desire(value=30)
        await until(lambda: (ack := r.ack()) is not None and ack.code == error.code)
        await r.desire(value=20)
        await r.said(AckState.APPLIED, "")
        return list(r.driver.written)


@pytest.mark.parametrize("error", [DeviceUnreachable("cable out"), DeviceRefused("no")])
async def test_after_a_write_that_failed_the_device_is_asked_what_it_holds(error: DeviceError) -> None:
    assert await set_back_after(error) == [("speed", 20), ("speed", 30)]


@pytest.mark.parametrize("error", [DeviceTimeout("no answer"), WriteMismatch("20 after 30 was written", observed=20)])
async def test_after_a_write_that_may_be_on_its_way_still_the_next_value_goes_behind_it(error: DeviceError) -> None:
    assert await set_back_after(error) == [("speed", 20), ("speed", 30), ("speed", 20)]


async def test_what_the_device_took_it_holds_though_another_value_was_rejected_since() -> None:
    async with rig(model="pump@1") as r:
        await r.b.gateway.models.add("default", read_model(MODEL))
        await r.desire(value=20)
        await r.said(AckState.APPLIED, "")
        await r.desire(value=101)
        await until(lambda: (ack := r.ack()) is not None and ack.state is AckState.REJECTED)
        await r.desire(value=20)
        await r.said(AckState.APPLIED, "")
        assert r.driver.written == [("speed", 20)]


@pytest.mark.parametrize("had_written", [True, False])
async def test_after_a_crash_behind_the_attempt_the_device_itself_says_whether_it_was_written(
    had_written: bool,
) -> None:
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=True)
    driver.values["speed"] = 20 if had_written else 10
    async with rig(disk, driver=driver) as r:
        assert (await r.settled()).state is AckState.APPLIED
        assert r.driver.written == ([] if had_written else [("speed", 20)])


async def handed_over(r: Rig) -> None:
    """speed=20 was applied by another holder, as this one is told when it is given the device."""
    version = await r.desire()
    await r.settled()
    ack = Ack(version, AckState.APPLIED, observed=20).handed_over()
    r.driver.written.clear()
    r.driver.reads = 0
    await r.b.gateway.ledger.write([Draft(RegisterKey(PUMP, Section.ACK, "speed"), ack.to_value())])


@pytest.mark.parametrize("holds", [True, False])
async def test_a_device_that_was_handed_over_is_asked_whether_it_holds_what_was_applied(holds: bool) -> None:
    async with rig() as r:
        await handed_over(r)
        r.driver.values["speed"] = 20 if holds else 7
        r.actuator.nudge()
        await r.said(AckState.APPLIED, "")
        assert r.driver.written == ([] if holds else [("speed", 20)])
        r.driver.values["speed"] = 8
        r.actuator.nudge()
        await turns()
        assert r.driver.reads == 1, "it is asked once"


@pytest.mark.parametrize("holds", [True, False])
async def test_what_a_device_that_was_handed_over_says_it_holds_is_known_from_then_on(holds: bool) -> None:
    driver = FakeDriver()
    driver.values["speed"] = 20 if holds else 7
    setter = Setter(driver, {})
    setter.took("speed", 20)
    setter.lost_sight("speed")
    assert await setter.ask(Wish("speed", 20, Version(1, 1, 1)), 20, 20) == (holds, driver.values["speed"])
    again = setter.doubt(Wish("speed", 20, Version(1, 1, 2)), 20, was_begun=False)
    assert again is (Doubt.UNKNOWN if holds else Doubt.NONE)


async def test_what_was_applied_before_is_believed_where_the_device_cannot_say() -> None:
    async with rig() as r:
        await handed_over(r)
        r.driver.blind = True
        r.actuator.nudge()
        await r.said(AckState.APPLIED, "")
        assert r.driver.written == []


async def test_a_device_that_was_handed_over_while_it_is_off_is_asked_when_it_is_back() -> None:
    async with rig() as r:
        await handed_over(r)
        r.driver.values["speed"] = 7
        r.driver.unreadable = DeviceUnreachable("it is off")
        r.actuator.nudge()
        await until(lambda: r.driver.reads == 1)
        await turns()
        assert r.ack() is not None
        assert r.ack().is_handed_over  # type: ignore[union-attr]
        r.driver.unreadable = None
        r.actuator.returned()
        await r.said(AckState.APPLIED, "")
        assert r.driver.written == [("speed", 20)]


async def test_a_new_value_for_a_device_that_was_handed_over_is_read_back_first() -> None:
    async with rig() as r:
        await handed_over(r)
        r.driver.values["speed"] = 30
        version = await r.desire(value=30)
        await until(lambda: (ack := r.ack()) is not None and ack.version == version and ack.settled)
        assert r.driver.written == []


async def test_so_is_one_that_came_while_the_device_was_off() -> None:
    """What is said of it meanwhile takes the place of what was said of the value before."""
    async with rig() as r:
        await handed_over(r)
        r.driver.values["speed"] = 30
        r.reporter.offline(DeviceUnreachable("it is off"))
        await r.desire(value=30)
        await r.said(AckState.DELIVERED, "device-unreachable")
        r.reporter.online()
        r.actuator.returned()
        await r.said(AckState.APPLIED, "")
        assert r.driver.written == []


async def test_an_outcome_that_nobody_can_read_is_failed_and_not_repeated() -> None:
    disk, driver = MemoryDisk(), FakeDriver()
    crashed(disk, attempted=True)
    driver.blind = True
    async with rig(disk, driver=driver) as r:
        ack = await r.settled()
        assert (ack.state, ack.code) == (AckState.FAILED, "outcome-unknown")
        assert r.driver.written == []


async def test_an_idempotent_property_is_written_again_when_nobody_can_read_it() -> None:
    async with rig(model="pump@1") as r:
        await r.b.gateway.models.add("default", read_model(MODEL))
        r.driver.blind = True
        r.driver.errors = [DeviceTimeout("no answer")]
        await r.desire("valve", True)
        await r.said(AckState.DELIVERED, "device-timeout", "valve")
        r.actuator.returned()
        assert (await r.settled("valve")).state is AckState.APPLIED
        assert r.driver.written == [("valve", True)] * 2


async def test_another_value_observed_after_a_write_has_failed_though_the_driver_raised_nothing() -> None:
    async with rig() as r:
        r.driver.confirmed = False
        r.driver.keeps = 18
        await r.desire()
        ack = await r.settled()
        assert (ack.state, ack.code, ack.observed) == (AckState.FAILED, "write-mismatch", 18)
        assert ack.message == "speed is 18 after 20 was written"


async def test_what_the_device_had_reported_before_is_no_confirmation_and_no_failure() -> None:
    async with rig() as r:
        r.driver.confirmed = False
        r.driver.keeps = 20
        await r.desire()
        ack = await r.settled()
        assert (ack.state, ack.code) == (AckState.DELIVERED, "unconfirmed")
        assert "said nothing" in ack.message
