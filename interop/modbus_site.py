"""A node process with many simulated Modbus units: its files, its start, and what it costs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop.processes import Processes, Running

#: Units that one plant process plays at most: each costs it two file descriptors.
_PORTS_PER_PLANT = 250
_READY_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Layout:
    """`links` endpoints with `units` units each; a third of the values are floats, the others whole numbers."""

    links: int
    units: int
    values: int
    period: float
    first_port: int
    timeout: str = "1s"

    @property
    def floats(self) -> int:
        return self.values // 3


class Site:
    """Files below `folder`. `api`: the port of the node's API, 0 for none; `timed`: the port on which the node tells
    how late values are, 0 for a plain node."""

    def __init__(self, processes: Processes, folder: Path, layout: Layout, *, api: int = 0, timed: int = 0) -> None:
        self.layout = layout
        self.api = api
        self._timed = timed
        self._processes = processes
        self._folder = folder
        self._plants: list[int] = []

    async def start(self) -> Running:
        """The node, ready."""
        layout = self.layout
        first = layout.first_port
        while first < layout.first_port + layout.links:
            ports = min(_PORTS_PER_PLANT, layout.first_port + layout.links - first)
            await self._start_plant(first, ports)
            first += ports
        self._write_files()
        file = str(self._folder / "node.yaml")
        command = ["twingateway", "run", file]
        if self._timed:
            command = ["interop.modbus_timed_node", file, "--control", str(self._timed)]
        node = await self._processes.start("node", [sys.executable, "-m", *command])
        await self._until(node, '"ready"')
        return node

    async def _start_plant(self, first: int, ports: int) -> None:
        """Its control port lies far above all others, so that ports stay consecutive."""
        control = self.layout.first_port + 5000 + len(self._plants)
        plant = await self._processes.start_module(
            f"plant-{control}", [], "interop.modbus_plant", "--first-port", str(first), "--ports", str(ports),
            "--control", str(control), "--floats", str(self.layout.floats),
            "--integers", str(self.layout.values - self.layout.floats),
        )  # fmt: skip
        await self._until(plant, "ready")
        self._plants.append(control)

    async def _until(self, running: Running, word: str) -> None:
        async with asyncio.timeout(_READY_PATIENCE):
            while word not in running.log.read_text():
                running.require_running()
                await asyncio.sleep(0.05)

    async def ask(self, line: str) -> list[dict[str, Any]]:
        """The answers of all plants to a line for their control ports."""
        return [await self._ask(port, line) for port in self._plants]

    async def timed(self) -> dict[str, Any]:
        """Of the rounds since the last call, by unit: `delays`, seconds from when each was due until its values were
        reported; and how many were `missed`."""
        return await self._ask(self._timed, "report")

    async def _ask(self, port: int, line: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
        writer.write(line.encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    def committed(self) -> int:
        """The highest version of a reported value that is durable."""
        with sqlite3.connect(f"file:{self._folder / 'node.db'}?mode=ro", uri=True) as database:
            (highest,) = database.execute("SELECT max(seq) FROM register WHERE section = 'reported'").fetchone()
        return int(highest or 0)

    def patch(self, device: str, value: int) -> dict[str, Any]:
        """Set a desired value and wait for its acknowledgement."""
        body = json.dumps({"spec": {"desiredProperties": {"setpoint": value}}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api}/twins/{device}?wait=10s",
            body,
            {"Content-Type": "application/merge-patch+json"},
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            answer: dict[str, Any] = json.loads(response.read())
        return answer

    # --- files ----------------------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        layout = self.layout
        properties: dict[str, Any] = {}
        model: dict[str, Any] = {}
        for number in range(layout.values):
            name = f"value{number:02}"
            if number < layout.floats:
                properties[name] = {"table": "holding", "address": 2 * number, "type": "float32"}
            else:
                address = 2 * layout.floats + number - layout.floats
                properties[name] = {"table": "holding", "address": address, "type": "uint16", "scale": 0.1}
            model[name] = {"type": "number", "minimum": -100000, "maximum": 100000}
        properties["setpoint"] = {
            "table": "holding", "address": 1000, "type": "uint16", "writable": True, "period": "1h",
        }  # fmt: skip
        model["setpoint"] = {"type": "integer", "access": "read-write", "minimum": 0, "maximum": 65535}
        head = {"apiVersion": "edge.iot.org/v1"}
        profile = {
            **head, "kind": "DeviceProfile", "metadata": {"name": "meter"},
            "spec": {
                "adapter": "modbus", "model": "meter@1", "period": layout.period, "properties": properties,
            },
        }  # fmt: skip
        described = {
            **head, "kind": "DeviceModel", "metadata": {"name": "meter", "version": "1"},
            "spec": {"properties": model},
        }  # fmt: skip
        device = {
            **head, "kind": "Device",
            "metadata": {
                "name": "meter-{link}-{unit}",
                "range": {"link": f"1..{layout.links}", "unit": f"1..{layout.units}"},
            },
            "spec": {
                "profile": "profile.yaml",
                "address": {
                    "host": "127.0.0.1", "port": f"{{link+{layout.first_port - 1}}}", "unit": "{unit}",
                    "timeout": layout.timeout,
                },
            },
        }  # fmt: skip
        node: dict[str, Any] = {
            "node": {"name": "node", "data_dir": "."}, "devices": ["devices.yaml"],
            "store": {"path": "node.db"}, "log": {"level": "info", "format": "json"},
        }  # fmt: skip
        if self.api:
            node["api"] = {"address": f"127.0.0.1:{self.api}"}
        self._write("profile.yaml", profile, described)
        self._write("devices.yaml", device)
        self._write("node.yaml", node)

    def _write(self, name: str, *documents: dict[str, Any]) -> None:
        (self._folder / name).write_text("\n---\n".join(json.dumps(each) for each in documents))
