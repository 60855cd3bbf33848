"""This adapter against a foreign server: reads what the server is known to hold, writes, reads again.

The server is unit 3 and holds, in a hundred cells of each table: registers their address, odd coils set, every third
contact set.
"""

from __future__ import annotations

from typing import Any

from twingateway_modbus import ADAPTER
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.link import Link

from twingateway.adapter import Device, DeviceId
from twingateway.errors import DeviceError
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

UNIT = 3
_PROPERTIES: dict[str, Any] = {
    "wide": {"table": "input", "address": 10, "type": "uint32"},
    "contacts": {"table": "discrete", "address": 0, "count": 4},
    "coils": {"table": "coil", "address": 2, "count": 9, "writable": True},
    "coil": {"table": "coil", "address": 30, "writable": True},
    "single": {"table": "holding", "address": 20, "type": "int16", "scale": 0.1, "writable": True},
    "double": {"table": "holding", "address": 30, "type": "float64", "order": "CDAB", "writable": True},
    "text": {"table": "holding", "address": 40, "type": "string", "length": 6, "writable": True},
    "bits": {"table": "holding", "address": 50, "type": "uint16", "bits": [4, 6], "writable": True},
}
#: Functions 22 and 23, and 16 for a single register, which not every server has.
_MORE: dict[str, Any] = {
    "masked": {
        "table": "holding", "address": 55, "type": "uint16", "bits": [4, 6], "writable": True, "write_with": "mask",
    },
    "exchanged": {
        "table": "holding", "address": 60, "type": "int32", "writable": True, "write_with": "read-write",
    },
    "multiple": {
        "table": "holding", "address": 65, "type": "uint16", "writable": True, "write_with": "multiple",
    },
}  # fmt: skip
_READ: dict[str, Any] = {
    "wide": 10 << 16 | 11,
    "contacts": [True, False, False, True],
    "coils": [False, True] * 4 + [False],
    "coil": False,
    "single": 2.0,
    "bits": 3,
}
_READ_MORE: dict[str, Any] = {"masked": 3, "exchanged": 60 << 16 | 61, "multiple": 65}
_WRITTEN: dict[str, Any] = {
    "coils": [True] * 5 + [False] * 4, "coil": True, "single": -12.3, "double": 1234.5678, "text": "Grüße", "bits": 5,
}  # fmt: skip
_WRITTEN_MORE: dict[str, Any] = {"masked": 6, "exchanged": -70000, "multiple": 4711}
#: Beyond the server's last cell.
_NOWHERE = {"nowhere": {"table": "holding", "address": 250, "type": "uint16"}}


async def differences_of(address: dict[str, Any], *, more: bool) -> list[str]:
    """What differs from what it should be. `address`: of a device document, without the unit; `more`: the server
    knows the functions 22 and 23 too, and refuses what it does not have."""
    address = {**address, "unit": UNIT}
    properties = _PROPERTIES | (_MORE | _NOWHERE if more else {})
    settings = ADAPTER.device.model_validate({"address": address, "properties": properties})
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext())
    port = RecordingPort()
    driver = adapter.driver(Device(DeviceId("default", "peer"), settings), port)
    expected, wanted = _READ | (_READ_MORE if more else {}), _WRITTEN | (_WRITTEN_MORE if more else {})
    differences = []
    try:
        before = await driver.read()
        differences += [f"read {name}: {before.get(name)!r}" for name, v in expected.items() if before.get(name) != v]
        for name, value in wanted.items():
            observed = (await driver.write(name, value)).observed
            if observed != value:
                differences.append(f"wrote {name}: {observed!r}")
        after = await driver.read()
        differences += [f"then {name}: {after[name]!r}" for name, value in wanted.items() if after[name] != value]
        told = [problem.message for problem in port.problems]
        if more and not any("illegal data address (2)" in message for message in told):
            differences.append(f"a register that is not there: {told}")
    except DeviceError as error:
        differences.append(str(error))
    finally:
        await adapter.stop()
    return differences


async def identification(address: dict[str, Any]) -> dict[int, bytes]:
    """Who the server says it is."""
    link = Link(AddressSettings.model_validate({**address, "unit": UNIT}))
    try:
        async with link.turn(UNIT, 1.0) as turn:
            return await turn.identify()
    finally:
        link.close()
