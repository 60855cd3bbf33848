"""npm's modbus-serial: as a server under this adapter, and as a client of our simulator."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from twingateway_modbus.address import FramingName
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from interop.modbus_adapter_check import UNIT, differences_of, identification

_PATIENCE = 15.0
#: What it sees of our simulator; last, over TCP alone, a register that was written through a mask.
_SEEN: dict[str, Any] = {
    "holding": [9, 0x1234, 0x5678, 77],
    "input": [0, 1, 2],
    "coils": [True, True, True, False, True],
    "contacts": [False, True, False, True],
    "refused": 2,
}
_MASKED, _UNMASKED = 13 & 0xF2 | 0x25 & ~0xF2, 13


def _memory() -> Memory:
    made = Memory()
    for table in Table:
        made.set(table, 0, [number % 2 for number in range(40)] if table.of_bits else range(40))
    return made


async def run(folder: Path) -> list[str]:
    """`folder`: where it was installed. What differs from what it should be."""
    tcp, rtu = Server({UNIT: _memory()}), Server({UNIT: _memory()}, FramingName.RTU)
    ports = [str(await server.serve_tcp()) for server in (tcp, rtu)]
    script = Path(__file__).with_name("modbus_peer.js")
    peer = await asyncio.create_subprocess_exec(
        "node", str(script), str(folder), *ports, stdout=asyncio.subprocess.PIPE
    )
    assert peer.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            address = {"host": "127.0.0.1", "port": json.loads(await peer.stdout.readline())["port"]}
            seen = json.loads(await peer.stdout.readline())
            differences = await differences_of(address, more=False)
            objects = await identification(address)
    finally:
        peer.kill()
        await peer.wait()
        tcp.close()
        rtu.close()
    if objects.get(0) != b"second":
        differences.append(f"identified as {objects}")
    masked = seen["tcp"]["holding"].pop(), seen["rtu-over-tcp"]["holding"].pop()
    if masked != (_MASKED, _UNMASKED):
        differences.append(f"masked {masked}")
    for transport, result in seen.items():
        differences += [f"{transport} {key}: {result[key]}" for key, value in _SEEN.items() if result[key] != value]
    return differences
