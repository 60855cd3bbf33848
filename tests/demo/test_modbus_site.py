"""The demo's Modbus process, its truth reader, and the adapter in between with the demo's own documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from twingateway_modbus import ADAPTER

import twingateway.demo
from tests.demo.site_process import Site, running
from tests.fair_time import PATIENCE
from twingateway import validate
from twingateway.adapter import Device, Driver
from twingateway.config.device import load_devices
from twingateway.demo.truth_modbus import read_truth
from twingateway.errors import DeviceRefused
from twingateway.plugins.registry import AdapterRegistry
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

SITE = Path(twingateway.demo.__file__).parent / "site"
DEVICES = [SITE / "devices" / f"{name}.yaml" for name in ("inverter", "meter", "hvac")]
MODELS = [SITE / "models" / f"{name}.yaml" for name in ("inverter", "meter", "hvac")]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    yield from running("twingateway.demo.modbus_site")


def drivers(port: int) -> dict[str, tuple[Driver, RecordingPort]]:
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext())
    loaded = load_devices(DEVICES, AdapterRegistry.installed(), environ={"MODBUS_PORT": str(port)})
    ports = [RecordingPort() for _ in loaded]
    return {
        device.id.name: (adapter.driver(Device(device.id, device.settings), port), port)
        for device, port in zip(loaded, ports, strict=True)
    }


def test_the_documents_are_valid() -> None:
    assert validate([*MODELS, *DEVICES], environ=os.environ | {"MODBUS_PORT": "502"}) == []


async def test_values_move_and_energy_only_grows(site: Site) -> None:
    before = read_truth(site.port)
    async with asyncio.timeout(PATIENCE):
        while (after := read_truth(site.port))["inverter"]["energyTotal"] == before["inverter"]["energyTotal"]:
            await asyncio.sleep(0.05)

    assert after["inverter"]["energyTotal"] > before["inverter"]["energyTotal"]  # type: ignore[operator]
    assert after["meter"]["energyImported"] >= before["meter"]["energyImported"]  # type: ignore[operator]
    assert after["meter"]["voltageL1"] != before["meter"]["voltageL1"]
    assert after["inverter"]["serial"] == "SN-4711-0008"


async def test_the_room_follows_a_written_set_point(site: Site) -> None:
    driver, _ = drivers(site.port)["hvac"]
    assert (await driver.write("setpoint", 30.5)).observed == 30.5
    before = read_truth(site.port)["hvac"]
    async with asyncio.timeout(PATIENCE):
        while not (now := read_truth(site.port)["hvac"])["roomTemperature"] > before["roomTemperature"]:  # type: ignore[operator]
            await asyncio.sleep(0.05)

    assert now["heating"] is True
    with pytest.raises(DeviceRefused, match="illegal data value"):
        await driver.write("setpoint", 60)
    assert read_truth(site.port)["hvac"]["setpoint"] == 30.5
    await driver.close()


async def test_frozen_the_adapter_and_the_truth_agree_until_a_unit_is_corrupted(site: Site) -> None:
    # Runs last: it freezes the site that this module's tests share.
    open_drivers = drivers(site.port)
    assert site.say("freeze") == {"frozen": True}

    truth = read_truth(site.port)
    for name, (driver, recorder) in open_drivers.items():
        seen = await driver.read()
        assert seen.keys() == truth[name].keys()
        assert [key for key in seen if not driver.matches(key, truth[name][key], seen[key])] == []
        assert recorder.problems == []

    assert site.say("corrupt 3") == {"corrupted": 3}
    lie = read_truth(site.port)
    changed = {
        (device, name) for device in truth for name in truth[device] if truth[device][name] != lie[device][name]
    }
    assert changed == {("hvac", "roomTemperature")}
    seen = await open_drivers["hvac"][0].read()
    assert seen["roomTemperature"] == truth["hvac"]["roomTemperature"]
    assert "no command" in site.say("corrupt 9")["error"]
    for driver, _ in open_drivers.values():
        await driver.close()


@pytest.mark.parametrize("last", ["quit\n", ""])
def test_the_process_ends_with_quit_or_its_stdin(last: str) -> None:
    site = Site("twingateway.demo.modbus_site")
    site.process.communicate(last, timeout=PATIENCE)
    assert site.process.returncode == 0
