"""Where the killing takes place: an edge and a cloud as processes, the load on both, and what happens there when."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from interop.counting import OVERRIDDEN, WRITABLE
from interop.processes import Processes, Running
from twingateway.pki.authority import create_authority, issue

SIDES = ("edge", "cloud")
_TRIES_PER_SECOND = 25
_WATCH = 0.0005


class Site:
    """Files and processes of both nodes."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._starts = 0
        self.device = folder / "device.socket"
        quic = _lasting_port(socket.SOCK_DGRAM)
        ports = {name: _lasting_port(socket.SOCK_STREAM) for name in SIDES}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        create_authority(folder)
        issue(folder, "cloud", hosts=["127.0.0.1"])
        issue(folder, "edge")
        address = f"127.0.0.1:{quic}"
        self._write("cloud", listen={"address": address}, api={"address": f"127.0.0.1:{ports['cloud']}"})
        self._write(
            "edge",
            uplink={"url": f"quic://{address}", "keep_alive": "2s"},
            api={"address": f"127.0.0.1:{ports['edge']}"},
            adapters={"counting": {"device": str(self.device)}},
            devices=["device.yaml"],
            models=["model.yaml"],
        )
        properties: dict[str, Any] = {name: {"type": "integer", "access": "read-write"} for name in WRITABLE}
        properties |= {name: {**properties[WRITABLE[0]], "conflict": "edge-wins"} for name in OVERRIDDEN}
        properties["count"] = {"type": "integer", "retention": "1d"}
        model = _document("DeviceModel", {"name": "counting", "version": "1"}, {"properties": properties})
        device = _document("Device", {"name": "plant"}, {"adapter": "counting", "model": "counting@1"})
        (folder / "model.yaml").write_text(json.dumps(model))
        (folder / "device.yaml").write_text(json.dumps(device))
        registered = folder / "interop_counting-0.dist-info"
        registered.mkdir()
        (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: interop-counting\nVersion: 0\n")
        (registered / "entry_points.txt").write_text("[twingateway.adapters]\ncounting = interop.counting:ADAPTER\n")

    @property
    def twin(self) -> str:
        """The twin's address at the cloud."""
        return f"{self.urls['cloud']}/twins/plant"

    async def begin(self, name: str) -> Running:
        command = [sys.executable, "-m", "twingateway", "run", str(self._folder / f"{name}.yaml")]
        self._starts += 1  # a log of its own for each
        return await self._processes.start(f"{name}-{self._starts:03}", command, path=[str(self._folder)])

    async def until_committing(self, name: str) -> None:
        """The node's store is just written to."""
        wal = self._folder / "data" / f"{name}.db-wal"
        before = _written_at(wal)
        while _written_at(wal) == before:
            await asyncio.sleep(_WATCH)

    def copy_logs(self, to: Path) -> None:
        to.mkdir(parents=True, exist_ok=True)
        for log in self._folder.glob("*.log"):
            (to / log.name).write_bytes(log.read_bytes())

    def _write(self, name: str, **sections: Any) -> None:
        identity = {"certificate": f"{name}.crt", "key": f"{name}.key", "ca": "ca.crt"}
        node = {"node": {"name": name}, "identity": identity, "log": {"format": "json"}, **sections}
        (self._folder / f"{name}.yaml").write_text(json.dumps(node))


class Load:
    """Sets each property to ever higher numbers: desired values at the cloud, overrides at the edge.

    `acknowledged`: the numbers said yes to, in order; `refused`: how many got another answer, or none. `asking` is
    set while a node owes an answer.
    """

    def __init__(self, client: httpx2.AsyncClient, site: Site) -> None:
        self._client = client
        self._site = site
        self.acknowledged: dict[str, list[int]] = {name: [] for name in (*WRITABLE, *OVERRIDDEN)}
        self.refused = 0
        self.asking = {name: asyncio.Event() for name in SIDES}

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._set("cloud", WRITABLE, self._desire))
            group.create_task(self._set("edge", OVERRIDDEN, self._override))

    async def _set(
        self, side: str, names: tuple[str, ...], ask: Callable[[str, int], Awaitable[httpx2.Response]]
    ) -> None:
        for number, name in enumerate(itertools.cycle(names), 1):
            self.asking[side].set()
            try:
                answer = await ask(name, number)
                if answer.status_code in (200, 202):
                    self.acknowledged[name].append(number)
                else:
                    self.refused += 1
            except httpx2.HTTPError:
                self.refused += 1
            self.asking[side].clear()
            await asyncio.sleep(1 / _TRIES_PER_SECOND)

    def _desire(self, name: str, number: int) -> Awaitable[httpx2.Response]:
        return self._client.patch(self._site.twin, json={"spec": {"desiredProperties": {name: number}}})

    def _override(self, name: str, number: int) -> Awaitable[httpx2.Response]:
        url = f"{self._site.urls['edge']}/twins/plant/overrides/{name}"
        return self._client.put(url, json={"value": number})


def is_ready(running: Running) -> bool:
    return '"event": "ready"' in running.log.read_text()


def _written_at(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_mtime_ns
    return 0


def _lasting_port(kind: socket.SocketKind) -> int:
    """One that nobody is given by chance while the node that listens on it is dead."""
    while True:
        with socket.socket(type=kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


def _document(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "edge.iot.org/v1", "kind": kind, "metadata": metadata, "spec": spec}
