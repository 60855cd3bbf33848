"""Node files in a folder of their own, with certificates, and a Modbus device that counts what is written to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twingateway.config.load import LoadedNode, load_node
from twingateway.pki.authority import create_authority, issue
from twingateway.plugins.registry import AdapterRegistry

REGISTERS = 8

DEVICE = """
apiVersion: edge.iot.org/v1
kind: Device
metadata: {{name: plant}}
spec:
  adapter: modbus
  address: {{host: 127.0.0.1, port: {port}, unit: 1, timeout: 1s}}
  period: 200ms
  properties:
{properties}
"""


@dataclass
class ModbusDevice:
    """Holding registers behind Modbus TCP: function codes 3, 6 and 16, and a list of everything written."""

    registers: list[int] = field(default_factory=lambda: [0] * REGISTERS)
    written: list[tuple[int, int]] = field(default_factory=list)
    port: int = 0
    delay: float = 0.0
    """Seconds between a write and its answer."""
    busy: bool = False
    """Something was written and not answered yet."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ModbusDevice]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                request = await reader.readexactly(length - 1)
                answer = self._answer(request)
                if request[0] != 3:
                    self.busy = True
                    await asyncio.sleep(self.delay)
                    self.busy = False
                writer.write(struct.pack(">HHHB", transaction, protocol, len(answer) + 1, unit) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        function, address, count = struct.unpack(">BHH", request[:5])
        if function == 3 and address + count <= REGISTERS:
            return struct.pack(f">BB{count}H", 3, 2 * count, *self.registers[address : address + count])
        if function == 6 and address < REGISTERS:
            self._write(address, count)
            return request
        if function == 16 and address + count <= REGISTERS:
            for offset, value in enumerate(struct.unpack(f">{count}H", request[6:])):
                self._write(address + offset, value)
            return request[:5]
        return bytes([function | 0x80, 2])

    def _write(self, address: int, value: int) -> None:
        self.written.append((address, value))
        self.registers[address] = value


#: Below those that systems give to whoever asks for any, be it for a connection that goes out.
PORTS = range(10_240, 32_768)


def free_port() -> int:
    """A port that is free for UDP and for TCP, and stays so until it is used: no other process is given it."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(PORTS)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim,
            socket.socket() as tcp,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
        ):
            if sys.platform == "linux":
                claim.bind(f"\0twingateway-tests-{port}")
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            claim.detach()  # it ends with this process
            return port


def write_device(folder: Path, port: int) -> None:
    lines = (
        f"    r{number}: {{table: holding, address: {number}, type: uint16, writable: true}}"
        for number in range(REGISTERS)
    )
    (folder / "plant.yaml").write_text(DEVICE.format(port=port, properties="\n".join(lines)))


def write_site(folder: Path, *, device: int, listen: int, api: int = 0) -> tuple[Path, Path]:
    """Files of a cloud and an edge with certificates of one authority → the two node files."""
    pki = folder / "pki"
    create_authority(pki)
    write_device(folder, device)
    for node in ("cloud", "edge"):
        issue(pki, node, hosts=["127.0.0.1"])
    identity = "identity: {{certificate: pki/{0}.crt, key: pki/{0}.key, ca: pki/ca.crt}}\n"
    cloud, edge = folder / "cloud.yaml", folder / "edge.yaml"
    cloud.write_text(
        "node: {name: cloud}\n"
        + identity.format("cloud")
        + f'listen: {{address: "127.0.0.1:{listen}"}}\napi: {{address: "127.0.0.1:{api}"}}\n'
    )
    edge.write_text(
        "node: {name: edge}\n"
        + identity.format("edge")
        + f'uplink: {{url: "quic://127.0.0.1:{listen}", keep_alive: 1s}}\ndevices: [plant.yaml]\n'
    )
    return cloud, edge


def load(file: Path) -> LoadedNode:
    return load_node(file, AdapterRegistry.installed(), environ={})
