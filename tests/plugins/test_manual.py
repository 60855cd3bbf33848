"""The smallest adapter of the manual is one: a registry takes it, its driver reads and writes, its test passes."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from twingateway.adapter import Device, DeviceId
from twingateway.errors import DeviceUnreachable
from twingateway.plugins.registry import ADAPTERS, AdapterRegistry
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

TEXT = (Path(__file__).parents[2] / "adapters" / "README.md").read_text(encoding="utf-8")
#: The vendor's library, which the manual takes for granted.
LIBRARY = """
class MeterError(Exception):
    pass

meters = {"10.0.0.7": {"power": 42, "limit": 10}}

class Meter:
    def __init__(self, address):
        self.address = address

    def values(self, name):
        values = meters.get(self.address, {})
        if name not in values:
            raise MeterError(f"no {name}")
        return values

    async def get(self, name):
        return self.values(name)[name]

    async def set(self, name, value):
        self.values(name)[name] = value
"""
SIMULATOR = """
from acme import meters

class SimulatedMeter:
    def __init__(self, **values):
        self.values = values
        self.address = f"simulated-{id(self)}"

    def plug_in(self):
        meters[self.address] = self.values

    def unplug(self):
        meters.pop(self.address, None)

    def __enter__(self):
        self.plug_in()
        return self

    def __exit__(self, *_):
        self.unplug()
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterRegistry:
    package, library, info = (tmp_path / name for name in ("acme_twins", "acme", "acme_twins-1.0.dist-info"))
    for folder in (package, library, info):
        folder.mkdir()
    (library / "__init__.py").write_text(LIBRARY)
    (library / "simulator.py").write_text(SIMULATOR)
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        name = re.match(r"# acme_twins/(\w+\.py)\n", code)
        (package / (name[1] if name else "manual_test.py")).write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-twins\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [name for name in sys.modules if name.split(".")[0] in ("acme", "acme_twins")]:
        monkeypatch.delitem(sys.modules, module)
    [entries] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    [(name, target)] = tomllib.loads(entries)["project"]["entry-points"][ADAPTERS].items()
    (info / "entry_points.txt").write_text(f"[{ADAPTERS}]\n{name} = {target}\n")
    return AdapterRegistry(entries=[EntryPoint(name, target, ADAPTERS)])


async def test_it_reads_and_writes_and_says_what_went_wrong(registry: AdapterRegistry) -> None:
    kind = registry.get("acme")
    assert "acme" not in sys.modules, "the protocol's library is imported with the first device"
    adapter = kind.open(kind.settings(), MemoryContext())

    def driver(*properties: str) -> Any:
        settings = kind.device(address="10.0.0.7", properties=list(properties))
        return adapter.driver(Device(DeviceId("default", "meter"), settings), RecordingPort())

    assert await driver("power").read() == {"power": 42}
    assert (await driver("limit").write("limit", 16)).confirmed
    with pytest.raises(DeviceUnreachable, match="the meter does not answer: no voltage"):
        await driver("voltage").read()


async def test_its_test_passes(registry: AdapterRegistry) -> None:
    registry.get("acme")
    from acme_twins import manual_test  # type: ignore[import-not-found]

    tests = [test for name, test in vars(manual_test).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        assert inspect.iscoroutinefunction(test)
        await test()


def test_it_keeps_the_contract_which_needs_pytest_alone(registry: AdapterRegistry, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "acme_twins/contract_test.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    offered = set(re.findall(r"`(\w+)`", TEXT.split("says what to offer (")[1].split(";")[0])) - {"pytest"}
    assert set(re.findall(r"offer `async def (\w+)`", done.stdout)) == offered
