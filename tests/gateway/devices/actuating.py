"""One device of a fake driver's, held by the root itself, whose desired values an actuator carries out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.gateway.devices.test_reporter import reporter
from tests.gateway.workbench import PUMP, Bench, bench, turns
from twingateway.adapter import Driver, Value, Written
from twingateway.errors import (
    DeviceError,
)
from twingateway.gateway.devices.actuator import Actuator
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.mint import Draft
from twingateway.ports.memory_store import MemoryDisk
from twingateway.ports.store import Attempt
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
