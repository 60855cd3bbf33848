"""The smallest adapter of the manual is one: a registry takes it, its driver reads and writes, its test passes."""

from __future__ import annotations

import inspect
import re
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

class Meter:
    values = {"power": 42, "limit": 10}

    def __init__(self, address):
        self.address = address

    async def get(self, name):
        if name not in self.values:
            raise MeterError(f"no {name}")
        return self.values[name]

    async def set(self, name, value):
        self.values[name] = value
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterRegistry:
    package = tmp_path / "acme_twins"
    package.mkdir()
    (tmp_path / "acme.py").write_text(LIBRARY)
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        name = re.match(r"# acme_twins/(\w+\.py)\n", code)
        (package / (name[1] if name else "manual_test.py")).write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [name for name in sys.modules if name.split(".")[0] in ("acme", "acme_twins")]:
        monkeypatch.delitem(sys.modules, module)
    [entries] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    [(name, target)] = tomllib.loads(entries)["project"]["entry-points"][ADAPTERS].items()
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
