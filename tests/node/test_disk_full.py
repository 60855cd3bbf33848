"""A real node whose disk is full: it refuses what it could not keep, goes on with everything else, and recovers."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fair_time import PATIENCE
from tests.node.sites import ModbusDevice, free_port, write_device, write_site
from twingateway.store.sqlite import open_store
from twingateway.twin.desired import Desired
from twingateway.twin.register import Section

UNSHARE = ["unshare", "-rm"]


def can_mount() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*UNSHARE, "true"], check=False).returncode


pytestmark = pytest.mark.skipif(not can_mount(), reason="no private mounts here: no small disk")


@asynccontextmanager
async def node(folder: Path, api: int) -> AsyncIterator[Path]:
    """A node with its data on a disk of 2 MiB; yields that disk as seen from here."""
    (folder / "data").mkdir()
    (folder / "node.yaml").write_text(
        f'node: {{name: lone}}\napi: {{address: "127.0.0.1:{api}"}}\ndevices: [plant.yaml]\nlog: {{format: json}}\n'
        "store: {spare: 256KiB}\n"
    )
    async with small_disk(folder / "data") as disk, running(disk, folder / "node.yaml"):
        yield disk.seen(folder / "data")


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """Mounted in a namespace that the process `pid` keeps."""

    pid: int

    def seen(self, folder: Path) -> Path:
        """That folder as seen from outside."""
        return Path(f"/proc/{self.pid}/root{folder}")


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[SmallDisk]:
    script = f"mount -t tmpfs -o size=2m none {folder} && echo mounted && exec sleep 600"
    keeper = await asyncio.create_subprocess_exec(*UNSHARE, "sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    try:
        assert keeper.stdout is not None
        assert await keeper.stdout.readline() == b"mounted\n"
        yield SmallDisk(keeper.pid)
    finally:
        keeper.kill()
        await keeper.wait()


@asynccontextmanager
async def running(disk: SmallDisk, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A node that sees the disk, ready; ended unless that was done."""
    inside = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(disk.pid), f"--wd={file.parent}"]
    log = file.with_suffix(".log")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *inside, sys.executable, "-m", "twingateway", "run", str(file), stderr=stderr
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while '"event": "ready"' not in log.read_text():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return ballast


async def set_desired(client: httpx2.AsyncClient, name: str, value: int) -> httpx2.Response:
    return await client.patch("/twins/plant", json={"spec": {"desiredProperties": {name: value}}})


async def until_reported(client: httpx2.AsyncClient, name: str, value: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            spec = (await client.get("/twins/plant")).json().get("spec", {})  # none until the root has granted it
            if spec.get("reportedProperties", {}).get(name) == value:
                return
            await asyncio.sleep(0.05)


async def next_reported(client: httpx2.AsyncClient, device: ModbusDevice, value: int) -> Any:
    """What the event stream tells of a register that the device changes now."""
    async with asyncio.timeout(PATIENCE), client.stream("GET", "/events") as stream:
        device.registers[3] = value
        async for line in stream.aiter_lines():
            if line.startswith("data: ") and json.loads(line[6:]).get("value") == value:
                return json.loads(line[6:])
    raise AssertionError("the stream ended")


async def test_a_full_disk_refuses_writes_goes_on_with_the_rest_and_recovers(tmp_path: Path):
    api = free_port()
    async with (
        ModbusDevice(registers=[7] * 8).serving() as device,
        httpx2.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{api}", timeout=PATIENCE) as client,
    ):
        write_device(tmp_path, device.port)
        async with node(tmp_path, api) as disk:
            await until_reported(client, "r0", 7)
            ballast = fill(disk)
            acknowledged, answer = 0, await set_desired(client, "r1", 1)
            while answer.status_code != 507 and acknowledged < 2000:
                assert answer.status_code in (200, 202), answer.text
                acknowledged += 1
                await put_model(client, acknowledged)  # values replace one another, for long; a model takes room
                answer = await set_desired(client, "r1", acknowledged + 1)
            assert answer.status_code == 507
            assert answer.json()["code"] == "store-full"
            assert "no space left" in answer.json()["detail"]
            async with asyncio.timeout(PATIENCE):
                while device.registers[1] != (acknowledged or 7):
                    await asyncio.sleep(0.05)
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["code"]) == (503, "store-full")
            assert (await client.get("/healthz")).status_code == 200
            assert (await next_reported(client, device, 77))["value"] == 77
            await until_reported(client, "r3", 77)

            ballast.unlink()
            async with asyncio.timeout(PATIENCE):
                while (await client.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.05)
            desired = (await client.get("/twins/plant")).json()["spec"]["desiredProperties"]
            assert desired.get("r1", 0) == acknowledged, "what was refused is not there, what was acknowledged is"
            assert (await set_desired(client, "r2", 5)).status_code in (200, 202)
            async with asyncio.timeout(PATIENCE):
                while device.registers[1:3] != [acknowledged or 7, 5]:
                    await asyncio.sleep(0.05)
            for file in disk.glob("lone.db*"):
                shutil.copy(file, tmp_path / file.name)
            kept = await open_store(tmp_path / "lone.db")
            snapshot = await kept.load()
            await kept.close()
    values = {each.register.key[1:]: each.register.value for each in snapshot.registers}
    assert Desired.from_value(values[Section.DESIRED, "r2"]).value == 5
    assert values[Section.REPORTED, "r3"] == 77


async def test_an_edge_whose_disk_is_full_carries_out_desired_values_also_after_it_was_killed(tmp_path: Path):
    listen, api, edge_api = free_port(), free_port(), free_port()
    (tmp_path / "small").mkdir()
    async with (
        ModbusDevice(registers=[7] * 8).serving() as device,
        httpx2.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{api}", timeout=PATIENCE) as client,
        httpx2.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{edge_api}", timeout=PATIENCE) as at_edge,
        small_disk(tmp_path / "small") as disk,
    ):
        cloud, edge = write_site(tmp_path, device=device.port, listen=listen, api=api)
        edge.write_text(
            edge.read_text() + f'api: {{address: "127.0.0.1:{edge_api}"}}\nlog: {{format: json}}\n'
            f"store: {{path: {tmp_path}/small/edge.db, spare: 256KiB}}\n"
        )
        cloud.write_text(cloud.read_text() + "log: {format: json}\n")
        async with running(disk, cloud):
            async with running(disk, edge) as process:
                await until_reported(client, "r0", 7)
                fill(disk.seen(tmp_path / "small"))
                assert "no space left" in await until_refused(at_edge)
                for value in range(100, 108):
                    assert (await set_desired(client, "r1", value)).status_code in (200, 202)
                    await until_applied(client, "r1", value)
                assert (await at_edge.get("/readyz")).json()["code"] == "store-full"
                process.kill()
                await process.wait()
            async with running(disk, edge):
                assert (await set_desired(client, "r2", 5)).status_code in (200, 202)
                await until_applied(client, "r2", 5)
                device.registers[3] = 77
                await until_reported(client, "r3", 77)
                (disk.seen(tmp_path / "small") / "ballast").unlink()
                async with asyncio.timeout(PATIENCE):
                    while (await at_edge.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.05)
        assert device.written == [*((1, value) for value in range(100, 108)), (2, 5)], "once each"


async def put_model(client: httpx2.AsyncClient, version: int) -> httpx2.Response:
    model = {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceModel",
        "metadata": {"name": "large", "version": str(version)},
        "spec": {"properties": {f"p{n}": {"type": "integer"} for n in range(50)}},
    }
    return await client.put(f"/models/large/versions/{version}", json=model)


async def until_refused(client: httpx2.AsyncClient) -> str:
    """Store models until the disk takes no more: what is said then."""
    for version in range(1, 2000):
        answer = await put_model(client, version)
        if answer.status_code == 507:
            return str(answer.json()["detail"])
        assert answer.status_code == 201, answer.text
    raise AssertionError("it is never full")


async def until_applied(client: httpx2.AsyncClient, name: str, value: int) -> None:
    shown: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                twin = (await client.get("/twins/plant")).json()
                shown = twin["status"]["properties"]["desired"].get(name)
                reported = twin["spec"]["reportedProperties"].get(name)
                if reported == value and shown and (shown["ack"] or {}).get("state") == "applied":
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{name} is not {value}: {shown}") from None
