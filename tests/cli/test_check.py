from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel
from twingateway_modbus.driver import ModbusDriver
from typer.testing import Result

from tests.adapters_modbus.plant import Plant, sim_device
from tests.cli.conftest import Run
from twingateway.broker.client import PahoBroker
from twingateway.broker.embedded import EmbeddedBroker
from twingateway.cli.exit_codes import ExitCode
from twingateway.plugins.registry import AdapterRegistry

DEVICE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {{name: hvac}}
spec:
  adapter: modbus
  model: hvac@1
  address: {{host: 127.0.0.1, port: {port}, unit: 1, timeout: 200ms}}
  properties:
    temperature: {{table: holding, address: {address}, type: int16, scale: 0.5}}
    heating: {{table: discrete, address: 0}}
"""
MODEL = """\
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: hvac, version: "1"}
spec:
  properties:
    temperature: {type: number, unit: Celsius, maximum: 10}
    heating: {type: boolean}
"""
SEVERAL = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {{name: "hvac-{{n}}", range: 1..2}}
spec:
  profile: ../profiles/hvac.yaml
  address: {{host: 127.0.0.1, port: {port}, unit: "{{n}}", timeout: 200ms}}
"""
PROFILE = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: hvac}
spec:
  adapter: modbus
  model: hvac@2
  properties:
    temperature: {table: holding, address: 7, type: int16, scale: 0.5}
---
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: hvac, version: "2"}
spec:
  properties:
    temperature: {type: number, unit: Celsius}
"""
PLUG = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: plug-1}
spec:
  adapter: mqtt
  properties:
    power: {topic: "{base}/status", pick: apower}
"""

Check = Callable[..., Awaitable[Result]]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("devices").mkdir()
    Path("models").mkdir()
    Path("models/hvac.yaml").write_text(MODEL)


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def check(cli: Run) -> Check:
    """`twingateway check` in a thread, since the devices live on the test's own loop."""

    async def run(*args: object) -> Result:
        return await asyncio.to_thread(cli, "check", *args)

    return run


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    plant = Plant()
    yield plant
    await plant.close()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _device(port: int, address: int = 7, old: str = "", new: str = "") -> str:
    path = Path("devices/hvac.yaml")
    path.write_text(DEVICE.format(port=port, address=address).replace(old, new))
    return str(path)


async def test_values_with_the_units_of_the_model(check: Check, plant: Plant) -> None:
    result = await check(_device(await plant.serve(sim_device(1))))
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows == [["PROPERTY", "VALUE", "UNIT"], ["heating", "false"], ["temperature", "3.5", "Celsius"]]


async def test_values_as_json(check: Check, plant: Plant) -> None:
    result = await check(_device(await plant.serve(sim_device(1))), "-o", "json")
    assert json.loads(result.stdout) == {
        "temperature": {"value": 3.5, "unit": "Celsius"},
        "heating": {"value": False},
    }


async def test_a_value_that_the_model_refuses(check: Check, plant: Plant) -> None:
    result = await check(_device(await plant.serve(sim_device(1)), address=30))
    assert result.exit_code == ExitCode.INVALID
    assert "15" in result.stdout
    assert "10" in result.stdout


async def test_without_its_model_values_are_not_checked(check: Check, plant: Plant) -> None:
    Path("models/hvac.yaml").rename("elsewhere.yaml")
    file = _device(await plant.serve(sim_device(1)), address=30)
    result = await check(file)
    assert result.exit_code == 0
    assert "hvac@1 was not found" in result.stderr
    assert "--model" in result.stderr
    assert (await check(file, "--model", "elsewhere.yaml")).exit_code == ExitCode.INVALID


async def test_of_several_devices_each_is_told_by_name_and_one_that_fails_hinders_no_other(
    check: Check, plant: Plant
) -> None:
    Path("profiles").mkdir()
    Path("profiles/hvac.yaml").write_text(PROFILE)
    Path("devices/hvacs.yaml").write_text(SEVERAL.format(port=await plant.serve(sim_device(2))))
    result = await check("devices/hvacs.yaml")
    assert result.exit_code in (ExitCode.DEVICE_GONE, ExitCode.DEVICE_REFUSED)  # as the server treats a foreign unit
    assert result.stdout == "hvac-2  temperature=3.5 Celsius\n"
    assert "hvac-1: " in result.stderr
    assert "1 of 2 devices" in result.stderr
    found = await check("devices/hvacs.yaml", "-o", "json")
    assert json.loads(found.stdout) == {"hvac-2": {"temperature": {"value": 3.5, "unit": "Celsius"}}}


async def test_the_devices_of_several_files_are_read_in_turn(check: Check, plant: Plant, nobody: int) -> None:
    _device(await plant.serve(sim_device(1)))
    Path("devices/off.yaml").write_text(DEVICE.format(port=nobody, address=7).replace("name: hvac", "name: off", 1))
    for names in (["devices/hvac.yaml", "devices/off.yaml"], ["devices"]):
        result = await check(*names)
        assert result.stdout == "hvac  heating=false  temperature=3.5 Celsius\n"
        assert "error: off: no connection" in result.stderr
        assert result.exit_code == ExitCode.DEVICE_GONE


async def test_the_devices_own_refusal(check: Check, plant: Plant) -> None:
    port = await plant.serve(sim_device(1))
    file = _device(port, 1000, "    heating: {table: discrete, address: 0}\n", "")
    result = await check(file)
    assert result.exit_code == ExitCode.DEVICE_REFUSED
    assert result.stderr.startswith("error: temperature: ")


async def test_a_device_that_is_off(check: Check, nobody: int) -> None:
    result = await check(_device(nobody))
    assert result.exit_code == ExitCode.DEVICE_GONE
    assert f"127.0.0.1:{nobody}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_a_device_that_takes_too_long(check: Check, plant: Plant) -> None:
    async def never(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    file = _device(server.sockets[0].getsockname()[1], old="timeout: 200ms", new="timeout: 30s")
    result = await check(file, "--timeout", "100ms")
    server.close()
    assert result.exit_code == ExitCode.DEVICE_GONE
    assert result.stderr == "error: the device was not read within 0.1 s\n"


async def test_a_fault_of_the_adapter_is_called_one(
    check: Check, nobody: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(driver: ModbusDriver) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(ModbusDriver, "read", read)
    result = await check(_device(nobody))
    assert result.exit_code == ExitCode.INTERNAL
    assert result.stderr == "error: the adapter 'modbus' failed: ZeroDivisionError: a bug\n"


async def test_a_file_that_is_not_valid(check: Check) -> None:
    result = await check(_device(502, old="int16", new="int17"))
    assert result.exit_code == ExitCode.INVALID
    assert "devices/hvac.yaml:9: spec.properties.temperature.type: " in result.stderr


async def test_an_mqtt_device(check: Check) -> None:
    Path("plug.yaml").write_text(PLUG)
    broker = EmbeddedBroker(("127.0.0.1", 0))
    await broker.start()
    host, port = broker.address
    plug = PahoBroker(host, port)
    await plug.start()
    await plug.until_connected()
    await plug.publish("plug-1/status", b'{"apower": 61.2}', retain=True)
    result = await check("plug.yaml", "--broker", f"{host}:{port}", "--timeout", "20s")
    await plug.stop()
    await broker.stop()
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [["PROPERTY", "VALUE", "UNIT"], ["power", "61.2"]]


async def test_an_mqtt_device_needs_its_broker(check: Check, nobody: int) -> None:
    Path("plug.yaml").write_text(PLUG)
    result = await check("plug.yaml")
    assert result.exit_code == ExitCode.NO_CONNECTION
    assert "--broker" in result.stderr
    absent = await check("plug.yaml", "--broker", f"127.0.0.1:{nobody}", "--timeout", "200ms")
    assert absent.exit_code == ExitCode.NO_CONNECTION
    assert (await check("plug.yaml", "--broker", "nonsense")).exit_code == ExitCode.USAGE


class _Keyed(BaseModel):
    key: str


async def test_an_adapter_that_needs_settings_gets_them_from_the_node_file(
    check: Check, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Modbus adapter as if it needed a key: without the node file that is said, with it the device is read."""
    modbus = AdapterRegistry.installed().get("modbus")

    def open_with_key(settings: Any, context: Any) -> Any:
        assert settings.key == "k"
        return modbus.open(modbus.settings(), context)

    kind = replace(modbus, settings=_Keyed, open=open_with_key)
    monkeypatch.setattr(AdapterRegistry, "installed", classmethod(lambda cls: cls([kind])))
    device = _device(await plant.serve(sim_device(1)))
    lacking = await check(device)
    assert lacking.exit_code == ExitCode.INVALID
    assert "needs settings of a node file (key): name that file with --node" in lacking.stderr
    Path("node.yaml").write_text("node: {name: n}\nadapters: {modbus: {key: k}}\n")
    found = await check(device, "--node", "node.yaml")
    assert found.exit_code == 0, found.output
    assert "3.5" in found.stdout
