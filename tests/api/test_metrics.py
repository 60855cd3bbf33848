"""What adapters count themselves, at `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from tests.api.site import in_process, node_with_pump
from twingateway.adapter import Adapter, AdapterKind, Device, DevicePort, Driver, Figure
from twingateway.errors import DeviceTimeout
from twingateway.gateway.devices.context import Context
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId


class Settings(BaseModel):
    pass


class Counting(Adapter):
    def driver(self, device: Device, port: DevicePort) -> Driver:
        raise AssertionError("there is no device")

    def figures(self) -> Iterable[Figure]:
        yield Figure("requests", "Requests sent", 3, {"endpoint": "a:502"}, grows=True)
        yield Figure("requests", "Requests sent", 4, {"endpoint": 'b"\n'}, grows=True)
        yield Figure("resting", "Units left alone", 1)


class Broken(Counting):
    def figures(self) -> Iterable[Figure]:
        raise RuntimeError("out of figures")


async def test_figures_of_adapters_are_shown_and_one_that_fails_harms_nobody() -> None:
    async with in_process() as site:
        for name, made in (("counting", Counting), ("broken", Broken)):

            def opened(settings: Any, context: Any, made: type[Adapter] = made) -> Adapter:
                return made()

            kind = AdapterKind(name, "", Settings, Settings, opened)
            await site.gateway.host.open(kind, Settings(), Context(name, site.gateway.clock, None, None))
        text = (await site.client.get("/metrics")).text
    assert 'twingateway_counting_requests_total{endpoint="a:502"} 3.0\n' in text
    assert 'twingateway_counting_requests_total{endpoint="b\\"\\n"} 4.0\n' in text
    assert "# TYPE twingateway_counting_requests_total counter\n" in text
    assert "twingateway_counting_resting 1.0\n" in text
    assert "twingateway_broken_" not in text
    assert "twingateway_uptime_seconds" in text


async def test_a_root_counts_the_twins_in_each_state_whoever_holds_them() -> None:
    edge, made = MemoryNode("edge"), DeviceId("acme", "made")
    edge.machines["valve"] = FakeMachine({"open": True})
    edge.machines["fan"] = FakeMachine(error=DeviceTimeout("no answer"))
    async with in_process(node_with_pump()) as site:

        async def counts() -> dict[str, float]:
            lines = (await site.client.get("/metrics")).text.splitlines()
            told = (line.removeprefix('twingateway_twins{presence="') for line in lines if "_twins{" in line)
            return {state: float(value) for state, value in (line.split('"} ') for line in told)}

        twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": made.name}, "spec": {}}
        await site.client.put(f"/twins/{made.name}?namespace={made.namespace}", json=twin)
        presence = site.gateway.queries.presence
        valve, fan = DeviceId("default", "valve"), DeviceId("default", "fan")
        async with edge.running(site.node):
            await until(lambda: (presence(valve).state, presence(fan).state) == ("online", "offline"))
            await until(lambda: presence(DeviceId("default", "pump")).state == "online")
            assert await counts() == {"online": 2, "offline": 1, "stale": 0, "unreachable": 0, "unknown": 1}
        await until(lambda: presence(valve).state == "unreachable")
        assert await counts() == {"online": 1, "offline": 0, "stale": 0, "unreachable": 2, "unknown": 1}
