"""The Modbus adapter and its simulator against a second implementation, npm's modbus-serial, in both directions.

    npm install --prefix /tmp/peer modbus-serial@8
    python -m interop.modbus_peers /tmp/peer

The last line is a JSON object whose `differences` is empty if both agree; otherwise the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from twingateway_modbus import ADAPTER
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.framing import FramingName
from twingateway_modbus.link import Link
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from twingateway.adapter import Device, DeviceId
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

_PATIENCE = 15.0
PROPERTIES: dict[str, Any] = {
    "wide": {"table": "input", "address": 10, "type": "uint32"},
    "contacts": {"table": "discrete", "address": 0, "count": 4},
    "coils": {"table": "coil", "address": 2, "count": 9, "writable": True},
    "coil": {"table": "coil", "address": 30, "writable": True},
    "single": {"table": "holding", "address": 20, "type": "int16", "scale": 0.1, "writable": True},
    "double": {"table": "holding", "address": 30, "type": "float64", "order": "CDAB", "writable": True},
    "text": {"table": "holding", "address": 40, "type": "string", "length": 6, "writable": True},
    "bits": {"table": "holding", "address": 50, "type": "uint16", "bits": [4, 6], "writable": True},
}
READ: dict[str, Any] = {
    "wide": 10 << 16 | 11,
    "contacts": [True, False, False, True],
    "coils": [False, True] * 4 + [False],
    "coil": False,
    "single": 2.0,
    "bits": 3,
}
WRITTEN: dict[str, Any] = {
    "coils": [True] * 5 + [False] * 4, "coil": True, "single": -12.3, "double": 1234.5678, "text": "Grüße", "bits": 5,
}  # fmt: skip
#: What modbus-serial sees of our simulator; last, over TCP alone, a register that was written through a mask.
SEEN: dict[str, Any] = {
    "holding": [9, 0x1234, 0x5678, 77],
    "input": [0, 1, 2],
    "coils": [True, True, True, False, True],
    "contacts": [False, True, False, True],
    "refused": 2,
}


MASKED, UNMASKED = 13 & 0xF2 | 0x25 & ~0xF2, 13


def memory() -> Memory:
    made = Memory()
    for table in Table:
        made.set(table, 0, [number % 2 for number in range(40)] if table.of_bits else range(40))
    return made


async def our_adapter(port: int) -> list[str]:
    """The adapter against their server: what differs from what it should be."""
    address = {"host": "127.0.0.1", "port": port, "unit": 3}
    settings = ADAPTER.device.model_validate({"address": address, "properties": PROPERTIES})
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext())
    driver = adapter.driver(Device(DeviceId("default", "peer"), settings), RecordingPort())
    before = await driver.read()
    differences = [f"read {name}: {before.get(name)!r}" for name, value in READ.items() if before.get(name) != value]
    for name, value in WRITTEN.items():
        observed = (await driver.write(name, value)).observed
        if observed != value:
            differences.append(f"wrote {name}: {observed!r}")
    after = await driver.read()
    differences += [f"then {name}: {after[name]!r}" for name, value in WRITTEN.items() if after[name] != value]
    await adapter.stop()
    link = Link(AddressSettings.model_validate(address))
    async with link.turn(3, 1.0) as turn:
        objects = await turn.identify()
    link.close()
    return differences + ([] if objects.get(0) == b"second" else [f"identified as {objects}"])


async def both(folder: Path) -> list[str]:
    tcp, rtu = Server({3: memory()}), Server({3: memory()}, FramingName.RTU)
    ports = [str(await server.serve_tcp()) for server in (tcp, rtu)]
    script = Path(__file__).with_name("modbus_peer.js")
    peer = await asyncio.create_subprocess_exec(
        "node", str(script), str(folder), *ports, stdout=asyncio.subprocess.PIPE
    )
    assert peer.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            port = json.loads(await peer.stdout.readline())["port"]
            seen = json.loads(await peer.stdout.readline())
            differences = await our_adapter(port)
    finally:
        peer.kill()
        await peer.wait()
        tcp.close()
        rtu.close()
    masked = seen["tcp"]["holding"].pop(), seen["rtu-over-tcp"]["holding"].pop()
    if masked != (MASKED, UNMASKED):
        differences.append(f"masked {masked}")
    for transport, result in seen.items():
        differences += [f"{transport} {key}: {result[key]}" for key, value in SEEN.items() if result[key] != value]
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where modbus-serial was installed")
    differences = asyncio.run(both(parser.parse_args().folder.resolve()))
    print(json.dumps({"differences": differences}))
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
