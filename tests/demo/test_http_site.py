"""The demo's HTTP process, its truth reader, and the adapter in between with the demo's own documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from twingateway_http import ADAPTER

import twingateway.demo
from tests.demo.site_process import Site, running
from tests.fair_time import PATIENCE
from twingateway import validate
from twingateway.adapter import Device, Driver
from twingateway.api.webhooks import WebhookServer
from twingateway.config.device import load_devices
from twingateway.demo.truth_http import read_truth
from twingateway.errors import DeviceRefused
from twingateway.plugins.registry import AdapterRegistry
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

SITE = Path(twingateway.demo.__file__).parent / "site"
NAMES = ("charger", "heatpump", "weather")
DEVICES = [SITE / "devices" / f"{name}.yaml" for name in NAMES]
MODELS = [SITE / "models" / f"{name}.yaml" for name in NAMES]
SECRET = "hook-secret"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    yield from running("twingateway.demo.http_site")


class Edge:
    """The adapter with the demo's devices running, and a webhook listener."""

    def __init__(self, port: int) -> None:
        self.context = MemoryContext()
        self.adapter = ADAPTER.open(ADAPTER.settings(), self.context)
        self.drivers: dict[str, Driver] = {}
        self.ports: dict[str, RecordingPort] = {}
        for device in load_devices(DEVICES, AdapterRegistry.installed(), environ={"HTTP_PORT": str(port)}):
            name = device.id.name
            self.ports[name] = RecordingPort()
            self.drivers[name] = self.adapter.driver(Device(device.id, device.settings), self.ports[name])
        self.runs = [asyncio.ensure_future(driver.run()) for driver in self.drivers.values()]
        self.webhooks = WebhookServer("127.0.0.1", 0, secret=SECRET, max_body=65536)

    async def start(self) -> str:
        await asyncio.sleep(0)
        self.webhooks.add("weather", self.context.webhooks["weather"])
        await self.webhooks.start()
        return "http://{}:{}/weather".format(*self.webhooks.address)

    async def stop(self) -> None:
        for run in self.runs:
            run.cancel()
        await asyncio.gather(*self.runs, return_exceptions=True)
        await self.webhooks.stop()
        await self.adapter.stop()


@pytest.fixture
async def edge(site: Site) -> AsyncIterator[Edge]:
    edge = Edge(site.port)
    yield edge
    await edge.stop()


def test_the_documents_are_valid() -> None:
    assert validate([*MODELS, *DEVICES], environ=os.environ | {"HTTP_PORT": "80"}) == []


async def test_values_move_and_energy_only_grows(site: Site) -> None:
    before = read_truth(site.port)
    async with asyncio.timeout(PATIENCE):
        while any(
            (after := read_truth(site.port))[device][name] == before[device][name]
            for device, name in (
                ("charger", "energy"),
                ("weather", "temperature"),
                ("heatpump", "outsideTemperature"),
            )
        ):
            await asyncio.sleep(0.05)
    assert after["charger"]["energy"] > before["charger"]["energy"]  # type: ignore[operator]


async def test_the_power_follows_a_written_limit(site: Site, edge: Edge) -> None:
    written = await edge.drivers["charger"].write("limit", 8)
    assert (written.confirmed, written.observed) == (True, 8)
    async with asyncio.timeout(PATIENCE):
        while read_truth(site.port)["charger"]["currentL1"] > 8:  # type: ignore[operator]
            await asyncio.sleep(0.05)

    with pytest.raises(DeviceRefused, match=r"422 .*limit_a is a whole number of amperes from 6 to 32"):
        await edge.drivers["charger"].write("limit", 99)
    assert read_truth(site.port)["charger"]["limit"] == 8


async def test_the_heat_pump_takes_a_set_point_by_query_and_a_mode_by_patch(site: Site, edge: Edge) -> None:
    assert (await edge.drivers["heatpump"].write("setpoint", 55.5)).observed == 55.5
    assert (await edge.drivers["heatpump"].write("mode", "off")).observed == "off"
    truth = read_truth(site.port)["heatpump"]
    assert (truth["setpoint"], truth["mode"]) == (55.5, "off")
    async with asyncio.timeout(PATIENCE):
        while read_truth(site.port)["heatpump"]["compressor"]:
            await asyncio.sleep(0.05)


async def test_frozen_the_twins_and_the_truth_agree_until_a_device_is_corrupted(site: Site, edge: Edge) -> None:
    # Runs last: it freezes the site that this module's tests share.
    url = await edge.start()
    assert await asyncio.to_thread(site.say, f"webhooks {url} {SECRET}") == {"pushing": True}
    weather = edge.ports["weather"]
    await weather.until(lambda r: len(r.reports) >= 3)
    times = [report.time or 0 for report in weather.reports]
    assert times == sorted(times)
    assert 0 <= edge.context.wall_ms() - times[-1] < 60_000

    assert await asyncio.to_thread(site.say, "freeze") == {"frozen": True}
    truth = read_truth(site.port)
    # Pushes were flushed: nothing has to be waited for.
    assert weather.values.keys() == truth["weather"].keys()
    assert weather.values["temperature"] == truth["weather"]["temperature"]
    for name in ("charger", "heatpump"):
        seen = await edge.drivers[name].read()
        assert seen == truth[name]
        assert edge.ports[name].problems == []

    assert site.say("corrupt heatpump") == {"corrupted": "heatpump"}
    lie = read_truth(site.port)
    changed = {
        (device, name) for device in truth for name in truth[device] if truth[device][name] != lie[device][name]
    }
    assert changed == {("heatpump", "tankTemperature")}
    assert (await edge.drivers["heatpump"].read())["tankTemperature"] == truth["heatpump"]["tankTemperature"]
    assert site.say("corrupt charger") == {"corrupted": "charger"}
    assert site.say("corrupt weather") == {"corrupted": "weather"}
    lie = read_truth(site.port)
    assert lie["charger"]["energy"] != truth["charger"]["energy"]
    assert lie["weather"]["temperature"] != truth["weather"]["temperature"]
    assert "no command" in site.say("corrupt toaster")["error"]


@pytest.mark.parametrize("last", ["quit\n", ""])
def test_the_process_ends_with_quit_or_its_stdin(last: str) -> None:
    site = Site("twingateway.demo.http_site")
    site.process.communicate(last, timeout=PATIENCE)
    assert site.process.returncode == 0
