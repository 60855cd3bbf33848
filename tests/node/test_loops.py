"""Whole nodes as processes, on either event loop and without any rights: the same works everywhere."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from tests.fair_time import PATIENCE
from tests.node.processes import Process
from tests.node.sites import ModbusDevice, free_port, write_site
from twingateway.cli.run import _loop_factory

#: Runs a program without capabilities.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture
def without_uvloop(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which uvloop cannot be imported."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/uvloop.py").write_text("raise ImportError\n")
    return os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])


async def work(folder: Path, pythonpath: str | None = None, through: Sequence[str] = ()) -> list[str]:
    """Two nodes and a device do everything once over QUIC: a value up, a desired value down and its acknowledgement
    up. → for each process what it has mapped into memory."""
    listen, api = free_port(), free_port()
    environment = None if pythonpath is None else os.environ | {"PYTHONPATH": pythonpath}
    async with ModbusDevice([4711] * 8).serving() as device:
        files = write_site(folder, device=device.port, listen=listen, api=api)
        nodes = [Process(file, environment=environment, through=through) for file in files]
        try:
            for node in nodes:
                await node.start()
            async with httpx2.AsyncClient(
                trust_env=False, base_url=f"http://127.0.0.1:{api}", timeout=PATIENCE
            ) as client:
                async with asyncio.timeout(PATIENCE):
                    while "4711" not in (await client.get("/twins/plant")).text:
                        await asyncio.sleep(0.05)
                patch = {"spec": {"desiredProperties": {"r3": 33}}}
                answer = await client.patch("/twins/plant?wait=60s", json=patch)
                assert answer.status_code == 200, answer.text
            assert device.written == [(3, 33)]
            maps = [Path(f"/proc/{node.pid}/maps") for node in nodes]
            mapped = [file.read_text() for file in maps if file.exists()]
            for node in reversed(nodes):
                await node.stop()
        finally:
            for node in nodes:
                await node.kill()
    return mapped


async def test_on_uvloop(tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    assert all("uvloop" in mapped for mapped in await work(tmp_path))


async def test_on_the_loop_that_python_brings(tmp_path: Path, without_uvloop: str) -> None:
    assert not any("uvloop" in mapped for mapped in await work(tmp_path, without_uvloop))


@pytest.mark.parametrize("installed", [True, False])
def test_uvloop_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:
        expected = pytest.importorskip("uvloop").new_event_loop
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        expected = None
    assert _loop_factory() is expected


async def test_without_any_of_the_rights_that_root_has(tmp_path: Path) -> None:
    """As every other user; who is none has shown it by now."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("there is nothing to take away, or nothing to do it with")
    status = [*POWERLESS, "cat", "/proc/self/status"]
    assert re.search(r"CapEff:\s0+\s", subprocess.run(status, capture_output=True, text=True, check=True).stdout)
    await work(tmp_path, through=POWERLESS)
