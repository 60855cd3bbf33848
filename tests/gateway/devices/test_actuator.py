"""Rule 12: checks → delivered with the attempt → write → final ack; after doubt, read back before writing again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.gateway.devices.test_reporter import reporter
from tests.gateway.workbench import FULL, PUMP, Bench, bench, turns
from twingateway.adapter import Driver, Value, Written
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
from twingateway.gateway.devices.actuator import Actuator
from twingateway.gateway.devices.models import read_model
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.ledger import Draft
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Attempt, Changes
from twingateway.testing.joined import until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")
MODEL: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {
        "properties": {
            "speed": {"type": "integer", "access": "read-write", "maximum": 100},
            "valve": {"type": "boolean", "access": "write", "idempotent": True},
        }
    },
}


class FakeDriver(Driver):
    """Holds values; `errors` are raised by the next writes, `blind` makes reading back impossible; `unreadable` is
    raised by reads, which wait for `asked` first. Writes that are not `confirmed` are answered by what it `keeps`."""

    def __init__(self) -> None:
        self.writable = frozenset({"speed", "mode", "valve"})
        self.values: dict[str, Value] = {}
        self.written: list[tuple[str, Value]] = []
        self.errors: list[Exception] = []
        self.confirmed = True
        self.keeps: Value = None
        self.blind = False
        self.unreadable: DeviceError | None = None
        self.asked: Callable[[], Awaitable[object]] | None = None
        self.reads = 0
        self.during: Callable[[], Awaitable[None]] | None = None

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def read(self) -> Mapping[str, Value]:
        self.reads += 1
        if self.asked is not None:
            await self.asked()
        if self.unreadable is not None:
            raise self.unreadable
        return {} if self.blind else self.values

    async def write(self, name: str, value: Value) -> Written:
        self.written.append((name, value))
        if self.during is not None:
            await self.during()
        if self.errors:
            raise self.errors.pop(0)
        self.values[name] = value
        return Written(self.confirmed, value if self.confirmed else self.keeps)


@dataclass
class Rig:
    """One device held by the root itself."""

    b: Bench
    driver: FakeDriver
    reporter: Reporter
    actuator: Actuator
    acks: list[Ack] = field(default_factory=list)

    async def desire(self, name: str = "speed", value: Value = 20) -> Version:
        [stored] = await self.b.gateway.ledger.write([Draft(RegisterKey(PUMP, Section.DESIRED, name), value)])
        self.actuator.nudge()
        return stored.register.version

    def ack(self, name: str = "speed") -> Ack | None:
        value = self.b.value(Section.ACK, name)
        return None if value is None else Ack.from_value(value)

    async def settled(self, name: str = "speed") -> Ack:
        await until(lambda: (ack := self.ack(name)) is not None and ack.settled, 3)
        ack = self.ack(name)
        assert ack is not None
        return ack

    async def said(self, state: AckState, code: str, name: str = "speed") -> None:
        await until(lambda: (ack := self.ack(name)) is not None and (ack.state, ack.code) == (state, code), 3)


@asynccontextmanager
async def rig(
    disk: MemoryDisk | None = None, *, model: str | None = None, online: bool = True, driver: FakeDriver | None = None
) -> AsyncIterator[Rig]:
    async with bench(disk=disk) as b:
        gateway = b.gateway
        await gateway.ownership.configure([PUMP])
        await until(lambda: gateway.ownership.held(PUMP))
        driver = driver or FakeDriver()
        port = reporter(b, model)
        attempts = (await b.store.load()).attempts
        wishes = Wishes(gateway.table, gateway.ledger, DeviceLocks(), lambda device, name: None)
        actuator = Actuator(
            PUMP, model, driver, port, gateway.models, wishes, b.clock,
            gateway.ownership.held, gateway.lifetimes, attempts,
        )  # fmt: skip
        if online:
            port.online()
        gateway.lifetimes.watch(lambda device: actuator.nudge())
        b.tasks.start(actuator.run(), "desired")
        await turns()
        yield Rig(b, driver, port, actuator)


def crashed(disk: MemoryDisk, *, attempted: bool) -> None:
    """Leave a disk as a crash in the middle of writing speed=20 leaves it."""
    version = Version(1, 1, 50_000)
    disk.registers[SPEED] = StoredRegister(Register(SPEED, version, 20, 0), 50_000)
    if attempted:
        disk.attempts[SPEED] = Attempt(PUMP, "speed", version)


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
    monkeypatch.setattr("twingateway.gateway.devices.actuator.ASK_TIMEOUT", 0.01)
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
