"""The Modbus adapter keeps the contract of adapters, over TCP and on a serial line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twingateway_modbus import ADAPTER
from twingateway_modbus.point import Table
from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.inbox import Asked
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from twingateway.adapter import Value
from twingateway.testing.adapter_contract import AdapterContract, MemoryContext, PlayedDevice

#: Where each property lies, and what its register holds of a value.
PLACES = {"power": 10, "mode": 30, "limit": 20, "valve": 25}
SCALE = 10
WRITES = (5, 6, 15, 16)
DEVICE_FAILURE = 4

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {
        "properties": {
            "power": {"type": "number"},
            "mode": {"type": "enum", "values": ["eco", "boost"]},
            "limit": {"type": "number", "access": "read-write"},
            "valve": {"type": "boolean", "access": "read-write"},
        }
    },
}
#: By key: a value that is wrong there.
MISTAKES = {
    "address.unit": 256,
    "address.serial": {"port": "/dev/ttyUSB0"},
    "period": "1ms",
    "properties.power.address": 65536,
    "properties.power.type": "uint12",
    "properties.power.order": "ABDC",
    "properties.valve.bit": 16,
    "properties.power.group": "fast",
    "properties.limit.table": "input",
    "read.forbidden": {"holding": [[10, 12]]},
}


class PumpServer(Server):
    """`refused`, `ignored`: addresses whose writes it refuses, or acknowledges only."""

    refused = ignored = -1
    asked = 0

    def pdu_for(self, asked: Asked) -> bytes | None:
        self.asked += 1
        address = int.from_bytes(asked.pdu[1:3], "big")
        if asked.pdu[0] in WRITES and address == self.refused:
            return bytes([asked.pdu[0] | EXCEPTION, DEVICE_FAILURE])
        if asked.pdu[0] in WRITES and address == self.ignored:
            return asked.pdu[:5]
        return super().pdu_for(asked)


class PlayedPump(PlayedDevice):
    def __init__(self) -> None:
        self.memory = Memory()
        self.memory.set(Table.HOLDING, 0, [0] * 40)
        self.memory.set(Table.HOLDING, PLACES["power"], [2305])
        self.memory.set(Table.HOLDING, PLACES["mode"], [1])
        self.memory.set(Table.HOLDING, PLACES["limit"], [60])
        self.server = PumpServer({1: self.memory})
        self.port = 0

    async def listen(self) -> None:
        self.port = await self.server.serve_tcp(port=self.port)
        register = {"table": "holding", "type": "uint16"}
        writable = register | {"writable": True}
        spec = {
            "address": {"host": "127.0.0.1", "port": self.port, "timeout": "200ms"},
            "period": "200ms",
            "properties": {
                "power": register | {"address": PLACES["power"], "scale": 0.1},
                "mode": register | {"address": PLACES["mode"], "enum": {1: "eco", 2: "boost"}},
                "limit": writable | {"address": PLACES["limit"], "scale": 0.1},
                "valve": writable | {"address": PLACES["valve"], "bit": 0},
            },
        }
        shows: dict[str, tuple[Value, Value]] = {"power": (230.5, 231.2), "mode": ("eco", "boost")}
        super().__init__(spec, shows, {"limit": (16, 20.5), "valve": (True, False)})

    @property
    def attempts(self) -> int:  # type: ignore[override]
        return self.server.asked

    async def show(self, name: str, value: Value) -> None:
        cell = {"eco": 1, "boost": 2}[value] if isinstance(value, str) else round(float(value) * SCALE)  # type: ignore[arg-type]
        self.memory.set(Table.HOLDING, PLACES[name], [cell])

    async def held(self, name: str) -> Value:
        [cell] = self.memory.get(Table.HOLDING, PLACES[name], 1)
        return bool(cell & 1) if name == "valve" else cell / SCALE

    async def cut(self) -> None:
        self.server.close()

    async def fall_silent(self) -> None:
        self.server.faults[None] = Faults([Fault(FaultKind.SILENCE)])

    async def dawdle(self) -> None:
        self.server.faults[None] = Faults([Fault(FaultKind.DELAY, amount=0.3)])

    async def talk_nonsense(self) -> None:
        self.server.faults[None] = Faults([Fault(FaultKind.LENGTH, 0.5), Fault(FaultKind.GARBAGE, 0.5)])

    async def spoil(self, name: str) -> None:
        del self.memory.tables[Table.HOLDING][PLACES[name]]

    async def refuse(self, name: str) -> None:
        self.server.refused = PLACES[name]

    async def ignore(self, name: str) -> None:
        self.server.ignored = PLACES[name]

    async def recover(self) -> None:
        self.server.faults.clear()
        self.server.refused = self.server.ignored = -1
        for name, place in PLACES.items():
            if place not in self.memory.tables[Table.HOLDING]:
                await self.show(name, self.shows[name][0])
        self.server.close()
        await self.listen()


class TestModbus(AdapterContract):
    kind = ADAPTER
    model = MODEL
    mistakes = MISTAKES
    hurry = 30.0
    patience = 45.0  # what was refused for its address is asked for again after 30 s
    heavy = ("pymodbus", "serial", "twingateway_modbus.link")

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        pump = PlayedPump()
        await pump.listen()
        try:
            yield pump
        finally:
            await pump.cut()
