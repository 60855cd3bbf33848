"""A node that reads its files again: what is new is run, and a mistake takes down nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from tests.fair_time import PATIENCE
from tests.node.sites import free_port, load, write_device
from twingateway.errors import CertificateError
from twingateway.node.parts import Bound
from twingateway.node.run import Node
from twingateway.plugins.registry import AdapterRegistry
from twingateway.testing.joined import until


def write(folder: Path, sections: str) -> Path:
    file = folder / "node.yaml"
    file.write_text('node: {name: lone}\napi: {address: "127.0.0.1:0"}\n' + sections)
    return file


async def started(file: Path, **how: Any) -> asyncio.subprocess.Process:
    """The node as a process of its own, whose log can be read."""
    command = (sys.executable, "-m", "twingateway", "run", file.name)
    return await asyncio.create_subprocess_exec(*command, cwd=file.parent, stderr=asyncio.subprocess.PIPE, **how)


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[tuple[Node, asyncio.Queue[Bound]]]:
    ready: asyncio.Queue[Bound] = asyncio.Queue()
    node = Node(load(file), AdapterRegistry.installed(), ready.put_nowait)
    task = asyncio.create_task(node.run())
    async with asyncio.timeout(PATIENCE):
        yield node, ready
        node.stop()
        await task


async def twins(bound: Bound) -> list[str]:
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        listed = (await client.get(f"http://{bound.api}/twins")).json()
    return [each["metadata"]["name"] for each in listed["items"]]


async def test_a_device_that_was_added_is_run_and_what_was_known_is_still_there(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    async with running(file) as (node, ready):
        bound = await ready.get()
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "made"}, "spec": {}}
            assert (await client.put(f"http://{bound.api}/twins/made", json=twin)).status_code == 201
        write_device(tmp_path, free_port())
        write(tmp_path, "devices: [plant.yaml]\n")
        node.reload(load(file))
        assert await twins(await ready.get()) == ["made", "plant"]


async def test_what_cannot_be_started_gives_way_to_what_was_there(tmp_path: Path) -> None:
    write_device(tmp_path, free_port())
    file = write(tmp_path, "devices: [plant.yaml]\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with running(file) as (node, ready):
            await ready.get()
            write(tmp_path, f'webhooks: {{address: "127.0.0.1:{taken.getsockname()[1]}"}}\n')
            node.reload(load(file))
            assert await twins(await ready.get()) == ["plant"]
            assert not node.stopping


async def test_a_certificate_that_is_not_there_is_found_out_before_anything_is_let_go(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    async with running(file) as (node, ready):
        bound = await ready.get()
        identity = "identity: {certificate: no.crt, key: no.key, ca: ca.crt}\n"
        write(tmp_path, identity + 'listen: {address: "127.0.0.1:0"}\n')
        with pytest.raises(CertificateError, match="no file"):
            node.reload(load(file))
        assert await twins(bound) == []


async def test_a_store_that_was_damaged_is_told_and_read_once_however_often_files_are_read_again(
    tmp_path: Path,
) -> None:
    file = write(tmp_path, "")
    async with running(file) as (_, ready):
        await ready.get()
    [store] = tmp_path.glob("data/*.db")
    store.write_bytes(b"no database" * 1000)
    with capture_logs() as logs:
        async with running(file) as (node, ready):
            for _ in range(3):
                bound = await ready.get()
                await until(lambda: any("was read for its journal" in each["event"] for each in logs))
                async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
                    told = (await client.get(f"http://{bound.api}/journal/event")).json()["items"]
                    metrics = (await client.get(f"http://{bound.api}/metrics")).text
                assert [each["name"] for each in told] == ["store-corrupt"]
                assert "twingateway_store_replacements_total 1.0" in metrics
                node.reload(load(file))
            await ready.get()
    assert sum("was read for its journal" in each["event"] for each in logs) == 1


async def test_the_service_manager_hears_of_each_step_of_a_process(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.setblocking(False)
    loop = asyncio.get_running_loop()
    heard: list[str] = []

    async def until(word: str) -> None:
        while True:
            heard.append((await loop.sock_recv(told, 4096)).decode().partition("\n")[0])
            if heard[-1] == word:
                return

    environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    process = await started(file, env=environ)
    try:
        async with asyncio.timeout(PATIENCE):
            await until("READY=1")
            await until("WATCHDOG=1")
            file.write_text("node: {name: lone, nmae: twice}\napi: 5\n")
            for _ in range(2):
                process.send_signal(signal.SIGHUP)
                await until("RELOADING=1")
                await until("READY=1")
                write(tmp_path, "")
            process.terminate()
            await until("STOPPING=1")
            _, log = await process.communicate()
    finally:
        told.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    said = {line["event"]: line for line in map(json.loads, log.decode().splitlines())}
    refused = said["the files are not used; going on as before"]
    assert [problem.partition(": ")[2].partition(":")[0] for problem in refused["problems"]] == ["node.nmae", "api"]
    assert "beginning anew with the files as they are now" in said


async def test_a_node_whose_terminal_is_closed_ends_in_good_order(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    ours, terminal = os.openpty()
    process = await started(file, stdin=terminal)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert json.loads(await process.stderr.readline())["event"] == "ready"
            process.send_signal(signal.SIGHUP)
            _, log = await process.communicate()
    finally:
        os.close(ours)
        os.close(terminal)
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["stopping"]
