"""What adapters count themselves, at `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from tests.api.site import in_process
from twingateway.adapter import Adapter, AdapterKind, Device, DevicePort, Driver, Figure
from twingateway.gateway.devices.context import Context


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
