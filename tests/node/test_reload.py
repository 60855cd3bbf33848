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
                    while not (told := (await client.get(f"http://{bound.api}/journal/event")).json()["items"]):
                        await asyncio.sleep(0.01)  # it is there when it was committed
                    metrics = (await client.get(f"http://{bound.api}/metrics")).text
                assert [each["name"] for each in told] == ["store-corrupt"]
                assert "twingateway_store_replacements_total 1.0" in metrics
                node.reload(load(file))
            await ready.get()
    assert sum("was read for its journal" in each["event"] for each in logs) == 1


class Watched:
    """A node as a process of its own, and what it tells its service manager."""

    def __init__(self, file: Path, told: socket.socket, process: asyncio.subprocess.Process) -> None:
        self.file = file
        self.process = process
        self._told = told

    async def until(self, word: str) -> None:
        loop = asyncio.get_running_loop()
        while (await loop.sock_recv(self._told, 4096)).decode().partition("\n")[0] != word:
            pass

    async def reload(self) -> None:
        """Returns when it is ready again."""
        self.process.send_signal(signal.SIGHUP)
        await self.until("RELOADING=1")
        await self.until("READY=1")

    async def stop(self) -> list[str]:
        """The lines of its log."""
        self.process.terminate()
        await self.until("STOPPING=1")
        _, log = await self.process.communicate()
        return log.decode().splitlines()


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[Watched]:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(file.parent / "notify"))
    told.setblocking(False)
    environ = {**os.environ, "NOTIFY_SOCKET": str(file.parent / "notify"), "WATCHDOG_USEC": "2000000"}
    process = await started(file, env=environ)
    try:
        async with asyncio.timeout(PATIENCE):
            node = Watched(file, told, process)
            await node.until("READY=1")
            yield node
    finally:
        told.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_service_manager_hears_of_each_step_of_a_process(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    async with watched(file) as node:
        await node.until("WATCHDOG=1")
        file.write_text("node: {name: lone, nmae: twice}\napi: 5\n")
        await node.reload()
        write(tmp_path, "")
        await node.reload()
        log = await node.stop()
    assert node.process.returncode == 0
    said = {line["event"]: line for line in map(json.loads, log)}
    refused = said["the files are not used; going on as before"]
    assert [problem.partition(": ")[2].partition(":")[0] for problem in refused["problems"]] == ["node.nmae", "api"]
    assert "beginning anew with the files as they are now" in said


async def test_the_log_is_written_as_the_files_say_that_are_in_use(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    async with watched(file) as node:
        write(tmp_path, "log: {level: error, format: console}\n")
        await node.reload()
        write(tmp_path, "log: {level: info}\napi: 5\n")
        await node.reload()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            webhooks = f'webhooks: {{address: "127.0.0.1:{taken.getsockname()[1]}"}}\n'
            write(tmp_path, "log: {level: info}\n" + webhooks)
            await node.reload()
        log = await node.stop()
    events = [json.loads(line)["event"] if line.startswith("{") else line for line in log]
    assert events[:3] == ["ready", "beginning anew with the files as they are now", "stopping"]
    assert "the files are not used; going on as before" in events[3], "an error, for a person"
    assert events[4:] == ["what was read cannot be run; beginning with what was before"], "in the form of what failed"


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
