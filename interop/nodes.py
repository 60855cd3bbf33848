"""The product as a contender: two unmodified `twingateway run` processes, edge and cloud, with everything they do.

The edge's devices belong to the adapter kind `synthetic`; it is registered by an entry point in a folder that only
these processes have on their path. Every device has a model, so every value is validated.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interop.processes import Processes, Running
from twingateway.pki.authority import create_authority, issue

#: Of the cloud's API, inside its namespace.
API_PORT = 8080
QUIC_PORT = 14567
_READY_PATIENCE = 30.0
_MODEL = "measured"


class Nodes:
    """Edge and cloud; `inside_*`: how to start a program at that side. All files are below `folder`."""

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        *,
        devices: int,
        properties: int = 1,
        cloud_address: str,
        quic_port: int = QUIC_PORT,
        api_port: int = API_PORT,
        inside_edge: Sequence[str] = (),
        inside_cloud: Sequence[str] = (),
        early_data: bool = False,
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._inside = {"edge": inside_edge, "cloud": inside_cloud}
        self.generator_socket = folder / "generator.socket"
        names = [f"p{index}" for index in range(properties)]
        self._write_files(devices, names, cloud_address, quic_port, api_port, early_data)

    async def start(self) -> tuple[Running, Running]:
        """Both nodes, ready: (edge, cloud)."""
        cloud = await self.start_one("cloud")
        return await self.start_one("edge"), cloud

    async def start_one(self, name: str) -> Running:
        command = [*self._inside[name], sys.executable, "-m", "twingateway", "run", str(self._file(name))]
        running = await self._processes.start(name, command, path=[str(self._folder)])
        await _ready(running)
        return running

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.yaml"

    def _write_files(
        self,
        devices: int,
        properties: list[str],
        cloud_address: str,
        quic_port: int,
        api_port: int,
        early_data: bool,
    ) -> None:
        create_authority(self._folder)
        issue(self._folder, "cloud", hosts=[cloud_address])
        issue(self._folder, "edge")
        quic, api = f"{cloud_address}:{quic_port}", f"127.0.0.1:{api_port}"
        self._write("cloud", listen={"address": quic, "early_data": early_data}, api={"address": api})
        self._write(
            "edge",
            uplink={"url": f"quic://{quic}", "keep_alive": "5s", "early_data": early_data},
            adapters={"synthetic": {"control": str(self.generator_socket)}},
            devices=["devices.yaml"],
            models=["model.yaml"],
        )
        model = {
            "apiVersion": "edge.iot.org/v1", "kind": "DeviceModel", "metadata": {"name": _MODEL, "version": "1"},
            "spec": {"properties": {name: {"type": "integer", "minimum": 0} for name in properties}},
        }  # fmt: skip
        (self._folder / "model.yaml").write_text(json.dumps(model))
        documents = [json.dumps(_device(index, properties)) for index in range(devices)]
        (self._folder / "devices.yaml").write_text("\n---\n".join(documents))
        registered = self._folder / "interop_synthetic-0.dist-info"
        registered.mkdir()
        (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: interop-synthetic\nVersion: 0\n")
        (registered / "entry_points.txt").write_text(
            "[twingateway.adapters]\nsynthetic = interop.synthetic:ADAPTER\n"
        )

    def _write(self, name: str, **sections: Any) -> None:
        identity = {"certificate": f"{name}.crt", "key": f"{name}.key", "ca": "ca.crt"}
        log = {"level": "info", "format": "json"}
        node = {"node": {"name": name}, "identity": identity, "log": log, **sections}
        self._file(name).write_text(json.dumps(node))


def _device(index: int, properties: list[str]) -> dict[str, Any]:
    spec = {"adapter": "synthetic", "model": f"{_MODEL}@1", "index": index, "properties": properties}
    return {"apiVersion": "edge.iot.org/v1", "kind": "Device", "metadata": {"name": f"d{index}"}, "spec": spec}


async def _ready(running: Running) -> None:
    async with asyncio.timeout(_READY_PATIENCE):
        while '"event": "ready"' not in running.log.read_text():
            running.require_running()
            await asyncio.sleep(0.05)
