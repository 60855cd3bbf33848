"""The Modbus adapter keeps the contract of adapters, over TCP, UDP and a serial line, and behind a gateway."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from twingateway_modbus import ADAPTER
from twingateway_modbus.address import FramingName, Transport
from twingateway_modbus.point import Table
from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.inbox import Asked
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from tests.testing.switched_device import PORTS
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
    "address.serial": {"port": "/dev/ttyUSB0", "bauds": 9600},
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

    def __init__(self, units: Mapping[int, Memory], framing: FramingName = FramingName.TCP) -> None:
        super().__init__(units, framing)
        self.asked: Counter[int] = Counter()

    def pdu_for(self, asked: Asked) -> bytes | None:
        self.asked[asked.unit] += 1
        address = int.from_bytes(asked.pdu[1:3], "big")
        if asked.pdu[0] in WRITES and address == self.refused:
            return bytes([asked.pdu[0] | EXCEPTION, DEVICE_FAILURE])
        if asked.pdu[0] in WRITES and address == self.ignored:
            return asked.pdu[:5]
        return super().pdu_for(asked)


class PlayedPump(PlayedDevice):
    """`folder`: where the serial line is to be found, which has another name each time it is plugged in."""

    def __init__(self, transport: Transport = Transport.TCP, folder: Path | None = None, port: int = 0) -> None:
        self.transport = transport
        self.line = None if folder is None else folder / "ttyUSB0"
        self.timeout = 0.2 if folder is None else 1.0
        self.unit = 1
        self.memory = pump_memory()
        self.server = PumpServer({self.unit: self.memory}, transport.framing)
        self.port = port

    async def listen(self) -> None:
        address: dict[str, Any] = {"transport": str(self.transport), "timeout": self.timeout, "unit": self.unit}
        if self.line is not None:
            self.line.unlink(missing_ok=True)
            self.line.symlink_to(self.server.serve_pty())
            self.tell({**address, "serial": {"port": str(self.line)}})
            return
        serve = self.server.serve_udp if self.transport is Transport.UDP else self.server.serve_tcp
        self.port = await serve(port=self.port)
        self.tell({**address, "host": "127.0.0.1", "port": self.port})

    def tell(self, address: dict[str, Any]) -> None:
        """How it is reached."""
        register = {"table": "holding", "type": "uint16"}
        writable = register | {"writable": True}
        spec = {
            "address": address,
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
        return self.server.asked[self.unit]

    async def show(self, name: str, value: Value) -> None:
        cell = {"eco": 1, "boost": 2}[value] if isinstance(value, str) else round(float(value) * SCALE)  # type: ignore[arg-type]
        self.memory.set(Table.HOLDING, PLACES[name], [cell])

    async def held(self, name: str) -> Value:
        [cell] = self.memory.get(Table.HOLDING, PLACES[name], 1)
        return bool(cell & 1) if name == "valve" else cell / SCALE

    async def cut(self) -> None:
        self.server.close()
        if self.line is not None:
            self.line.unlink(missing_ok=True)

    async def fall_silent(self) -> None:
        self.server.faults[self.unit] = Faults([Fault(FaultKind.SILENCE)])

    async def dawdle(self) -> None:
        self.server.faults[self.unit] = Faults([Fault(FaultKind.DELAY, amount=1.5 * self.timeout)])

    async def talk_nonsense(self) -> None:
        self.server.faults[self.unit] = Faults([Fault(FaultKind.LENGTH, 0.5), Fault(FaultKind.GARBAGE, 0.5)])

    async def spoil(self, name: str) -> None:
        del self.memory.tables[Table.HOLDING][PLACES[name]]

    async def refuse(self, name: str) -> None:
        self.server.refused = PLACES[name]

    async def ignore(self, name: str) -> None:
        self.server.ignored = PLACES[name]

    async def recover(self) -> None:
        self.server.faults.pop(self.unit, None)
        self.server.refused = self.server.ignored = -1
        for name, place in PLACES.items():
            if place not in self.memory.tables[Table.HOLDING]:
                await self.show(name, self.shows[name][0])
        await self.plug_in()

    async def plug_in(self) -> None:
        self.server.close()
        await asyncio.sleep(0.001)  # until its sockets are closed
        await self.listen()


class PumpOnLine(PlayedPump):
    """Which of its registers it has makes no difference here, and takes half a minute to be asked for again."""

    spoil = PlayedDevice.spoil


class PumpOfMany(PlayedPump):
    """A unit of an endpoint that others share: when it is gone it does not answer, and nothing else is closed."""

    def __init__(self, unit: int, server: PumpServer) -> None:
        super().__init__()
        self.unit, self.server = unit, server
        self.server.units = {**server.units, unit: self.memory}

    async def cut(self) -> None:
        await self.fall_silent()

    async def plug_in(self) -> None:
        pass


def pump_memory() -> Memory:
    memory = Memory()
    memory.set(Table.HOLDING, 0, [0] * 40)
    for name, cell in (("power", 2305), ("mode", 1), ("limit", 60)):
        memory.set(Table.HOLDING, PLACES[name], [cell])
    return memory


class TestModbus(AdapterContract):
    kind = ADAPTER
    model = MODEL
    mistakes = MISTAKES
    hurry = 30.0
    patience = 45.0  # what was refused for its address is asked for again after 30 s
    heavy = ("pymodbus", "serial", "twingateway_modbus.link")

    transport: ClassVar = Transport.TCP

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        with TemporaryDirectory() as folder:
            is_line = self.transport.is_serial
            pump = (
                PumpOnLine(self.transport, Path(folder)) if is_line else PlayedPump(self.transport, port=PORTS[name])
            )
            await pump.listen()
            try:
                yield pump
            finally:
                await pump.cut()


class TestModbusUdp(TestModbus):
    transport = Transport.UDP


class TestModbusLine(TestModbus):
    """What is written to a pseudo-terminal takes the kernel a moment, so that time goes less fast."""

    transport = Transport.RTU
    hurry = 10.0


class TestUnitsOfOneEndpoint(TestModbus):
    server: PumpServer | None = None

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        if name == "device-1":
            self.server = PumpServer({})
            self.port = await self.server.serve_tcp()
        assert self.server is not None
        pump = PumpOfMany(int(name[-1]), self.server)
        address = {"host": "127.0.0.1", "port": self.port, "unit": pump.unit}
        pump.tell({**address, "timeout": "200ms"})
        try:
            yield pump
        finally:
            if name == "device-1":
                self.server.close()
