"""Devices set up by their adapters: what happens when one cannot be, and when what it lacked comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from tests.gateway.workbench import PUMP, Bench, bench
from twingateway.adapter import Adapter, AdapterKind, Device, DevicePort, Driver, Value
from twingateway.errors import InvalidConfig
from twingateway.gateway.devices import adapter_runner
from twingateway.gateway.devices.context import Context
from twingateway.gateway.devices.host import ConfiguredDevice
from twingateway.testing.joined import FakeMachine, MemoryNode, fake_kind, until
from twingateway.twin.parse_model import parse_model
from twingateway.twin.register import Section

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {"properties": {"mode": {"type": "enum", "values": ["off", "on"]}}},
}


class Settings(BaseModel):
    pass


class Quiet(Driver):
    def __init__(self, device: Device, port: DevicePort) -> None:
        if device.model is None:
            raise InvalidConfig("the model is not here")
        self._port = port
        self._values = {"mode": device.model.properties["mode"].values[1]}

    async def run(self) -> None:
        self._port.report(self._values)
        await asyncio.Event().wait()

    async def read(self) -> Mapping[str, Value]:
        return self._values


class Quietly(Adapter):
    def driver(self, device: Device, port: DevicePort) -> Driver:
        return Quiet(device, port)


def _open(settings: Any, context: Any) -> Adapter:
    return Quietly()


def count(b: Bench) -> tuple[int, int]:
    """Devices of the adapter, and how many of them answer."""
    health = b.gateway.host.health()[0]
    return health.devices, health.online


async def test_a_device_whose_driver_needs_the_model_is_set_up_when_that_comes() -> None:
    async with bench() as b:
        kind = AdapterKind("quiet", "", Settings, Settings, _open)
        await b.gateway.host.open(kind, Settings(), Context("quiet", b.clock, None, None))
        b.gateway.host.run([ConfiguredDevice(PUMP, "quiet", Settings(), "pump@1")])
        await until(lambda: b.value(Section.PRESENCE, "source") is not None, 3)
        assert "the model is not here" in str(b.value(Section.PRESENCE, "source"))
        assert count(b) == (1, 0)

        await b.gateway.models.add("default", parse_model({**MODEL, "metadata": {"name": "other", "version": "1"}}))
        assert count(b) == (1, 0)
        await b.gateway.models.add("default", parse_model(MODEL))
        await until(lambda: b.value(Section.REPORTED, "mode") == "on", 3)
        await until(lambda: b.value(Section.PRESENCE, "source") is None, 3)
        assert count(b) == (1, 1)


class Reluctant(Adapter):
    """Can be started at the third attempt only."""

    attempts = 0
    stopped = 0

    def __init__(self, machines: Mapping[str, FakeMachine]) -> None:
        self._inner = fake_kind(machines).open(None, None)  # type: ignore[arg-type]

    async def start(self) -> None:
        type(self).attempts += 1
        if type(self).attempts < 3:
            raise OSError("no such port")

    async def stop(self) -> None:
        type(self).stopped += 1

    def driver(self, device: Device, port: DevicePort) -> Driver:
        return self._inner.driver(device, port)


async def test_an_adapter_that_cannot_be_opened_is_tried_again_and_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_runner, "BACK_OFF", (0.05, 0.1))
    machines = {"pump": FakeMachine({"flow": 1.0})}
    kind = AdapterKind("reluctant", "", Settings, Settings, lambda settings, context: Reluctant(machines))
    async with bench() as b:
        host = b.gateway.host
        await host.open(kind, Settings(), Context("reluctant", b.clock, None, None))
        await b.gateway.ownership.configure([PUMP])
        host.run([ConfiguredDevice(PUMP, "reluctant", Settings())])
        message = (await b.notice("adapter-fault")).message
        assert message == "the adapter reluctant could not be opened: OSError: no such port"
        assert host.health()[0].error == "OSError: no such port"
        await until(lambda: isinstance(b.value(Section.PRESENCE, "source"), dict))
        source: Any = b.value(Section.PRESENCE, "source")
        assert source["code"] == "adapter-fault"
        await until(lambda: b.value(Section.PRESENCE, "source")["next_try"] > b.clock.wall)  # type: ignore[index,call-overload,operator]
        assert b.gateway.queries.presence(PUMP).state == "offline"
        await b.notice("adapter-opened")
        await until(lambda: b.value(Section.REPORTED, "flow") == 1.0)
        await until(lambda: b.gateway.queries.presence(PUMP).state == "online")
        assert (host.health()[0].error, Reluctant.attempts, Reluctant.stopped) == ("", 3, 2)


def pump_model(maximum: int = 10) -> Any:
    properties = {"flow": {"type": "number", "maximum": maximum}, "speed": {"type": "integer", "access": "write"}}
    return parse_model({**MODEL, "spec": {"properties": properties}})


def site() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 5, "heat": 9}, frozenset({"speed"}))
    return cloud, edge


def properties(node: MemoryNode, section: str) -> Any:
    if not node.gateway.queries.exists(PUMP):
        return {}
    return node.gateway.queries.twin(PUMP)["status"]["properties"][section]  # type: ignore[index,call-overload]


async def test_what_is_said_before_the_model_is_here_is_marked_and_judged_when_it_comes() -> None:
    cloud, edge = site()
    async with cloud.running(), edge.running(cloud, models={"pump": "pump@1"}):
        edge.machines["pump"].say(flow=50)
        await until(lambda: properties(cloud, "reported").get("flow", {}).get("unvalidated"))
        await until(lambda: properties(cloud, "reported").get("heat", {}).get("unvalidated"))
        assert cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 50
        await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": "fast"}}})
        assert properties(cloud, "desired")["speed"]["unvalidated"] is True
        await until(lambda: cloud.gateway.queries.ack(PUMP, "speed").code == "unknown-model")
        edge.machines["pump"].values["flow"] = 6
        edge.machines["pump"].port = None
        await cloud.gateway.models.add("default", pump_model())
        await until(lambda: edge.machines["pump"].port is not None)  # the driver was made anew, with the model
        await until(lambda: cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 6)
        await until(lambda: "unvalidated" not in properties(cloud, "reported")["flow"])
        await until(lambda: "unvalidated" not in properties(cloud, "reported")["heat"])
        await until(lambda: cloud.gateway.queries.ack(PUMP, "speed").state == "rejected")
        assert "unvalidated" not in properties(cloud, "desired")["speed"]
        assert edge.machines["pump"].written == []


async def test_what_does_not_fit_the_model_that_came_goes_and_is_shown_as_refused() -> None:
    async with bench() as b:
        machine = FakeMachine({"flow": 50})
        await start(b, machine)
        await until(lambda: b.value(Section.PRESENCE, "unvalidated") == ["flow"])
        del machine.values["flow"]
        await b.gateway.models.add("default", pump_model())
        await until(lambda: b.value(Section.PRESENCE, "unvalidated") is None)
        assert b.value(Section.REPORTED, "flow") is None
        refused: Any = b.value(Section.PRESENCE, "refused")
        assert refused["flow"]["rule"] == "maximum"


async def test_a_mark_outlives_a_restart_and_goes_when_the_model_is_there_then() -> None:
    cloud, edge = site()
    async with cloud.running():
        async with edge.running(cloud, models={"pump": "pump@1"}):
            await until(lambda: cloud.gateway.table.value(PUMP, Section.PRESENCE, "unvalidated") == ["flow", "heat"])
        edge.machines["pump"].values.clear()
        await cloud.gateway.models.add("default", pump_model())
        assert properties(cloud, "reported")["flow"]["unvalidated"] is True
        async with edge.running(cloud, models={"pump": "pump@1"}):
            await until(lambda: cloud.gateway.table.value(PUMP, Section.PRESENCE, "unvalidated") is None)
            assert cloud.gateway.table.value(PUMP, Section.REPORTED, "flow") == 5


async def start(b: Bench, machine: FakeMachine) -> None:
    """The pump, run by this node, of a model that is not here."""
    kind = fake_kind({"pump": machine})
    await b.gateway.host.open(kind, Settings(), Context("fake", b.clock, None, None))
    await b.gateway.ownership.configure([PUMP])
    b.gateway.host.run([ConfiguredDevice(PUMP, "fake", Settings(), "pump@1")])


class Counted(Driver):
    """`lives`: what its drivers do, in order; each takes its time to close until `gate` is set."""

    lives: ClassVar[list[str]] = []
    gate: ClassVar[asyncio.Event]

    def __init__(self) -> None:
        self._number = sum(life.startswith("made") for life in self.lives) + 1
        self.lives.append(f"made {self._number}")

    async def run(self) -> None:
        self.lives.append(f"runs {self._number}")
        await asyncio.Event().wait()

    async def read(self) -> Mapping[str, Value]:
        return {}

    async def close(self) -> None:
        await self.gate.wait()
        self.lives.append(f"closed {self._number}")


class Counting(Adapter):
    def driver(self, device: Device, port: DevicePort) -> Driver:
        return Counted()

    async def stop(self) -> None:
        Counted.lives.append("stopped")


@pytest.fixture
def counting() -> AdapterKind:
    Counted.lives, Counted.gate = [], asyncio.Event()
    return AdapterKind("counting", "", Settings, Settings, lambda settings, context: Counting())


async def test_a_driver_that_never_ran_is_closed_too(counting: AdapterKind) -> None:
    Counted.gate.set()
    async with bench() as b:
        await b.gateway.host.open(counting, Settings(), Context("counting", b.clock, None, None))
        b.gateway.host.run([ConfiguredDevice(PUMP, "counting", Settings())])
        await b.gateway.host.stop()
        assert Counted.lives == ["made 1", "closed 1", "stopped"]


async def test_of_drivers_that_follow_each_other_quickly_each_is_closed_before_the_next_runs(
    counting: AdapterKind,
) -> None:
    async with bench() as b:
        host = b.gateway.host
        await host.open(counting, Settings(), Context("counting", b.clock, None, None))
        host.run([ConfiguredDevice(PUMP, "counting", Settings(), "pump@1")])
        await until(lambda: "runs 1" in Counted.lives, 3)
        for maximum in (10, 20):
            await b.gateway.models.add("default", pump_model(maximum), replace=True)
        await until(lambda: "made 3" in Counted.lives, 3)
        await asyncio.sleep(0.1)
        assert Counted.lives == ["made 1", "runs 1", "made 2", "made 3"]
        Counted.gate.set()
        await until(lambda: "runs 3" in Counted.lives, 3)
        assert Counted.lives[4:] == ["closed 1", "closed 2", "runs 3"]
        await host.stop()
        assert Counted.lives[-2:] == ["closed 3", "stopped"]
