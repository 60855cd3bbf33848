"""An adapter that keeps the contract, for lines of text over TCP, and the meter that it speaks to.

`get KEY` is answered by a JSON text, `set KEY VALUE` by `ok`, either by `error REASON`, `time` by Unix milliseconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tests.testing.switched_device import PORTS, SwitchedDevice
from twingateway.adapter import (
    Adapter,
    AdapterContext,
    AdapterKind,
    Device,
    DevicePort,
    Driver,
    Duration,
    Figure,
    Secret,
    Value,
    Written,
    not_writable,
)
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidValue,
    Problem,
)
from twingateway.testing.adapter_contract import AdapterContract, MemoryContext, PlayedDevice

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "meter", "version": "1"},
    "spec": {
        "properties": {
            "power": {"type": "number", "minimum": 0, "maximum": 9000},
            "phase": {"type": "integer"},
            "limit": {"type": "number", "access": "read-write"},
        }
    },
}
#: By key: a value that is wrong there.
MISTAKES = {"address.port": 70000, "period": "soon", "writable": "limit"}
PASSWORD = "correct horse"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeterSettings(Strict):
    """Nothing to set."""


class Address(Strict):
    host: str
    port: int = Field(ge=1, le=65535)
    password: Secret
    timeout: Duration = 2.0


class DeviceSettings(Strict):
    address: Address
    period: Duration = 1.0
    properties: tuple[str, ...]
    writable: tuple[str, ...] = ()


class MeterClient:
    """One connection, made when it is needed and given up with the request that it failed."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.turn = asyncio.Lock()

    async def ask(self, request: str) -> str:
        async with self.turn:
            try:
                async with asyncio.timeout(self.address.timeout):
                    answer = await self.exchange(f"{self.address.password.get_secret_value()} {request}")
            except TimeoutError as error:
                raise DeviceTimeout(f"{request}: no answer within {self.address.timeout:g} s") from error
            except (OSError, ValueError) as error:
                raise DeviceUnreachable(f"no connection to {self.address.host}: {error}") from error
        if answer.startswith("error"):
            raise DeviceRefused(f"{request}: {answer}")
        return answer

    async def exchange(self, request: str) -> str:
        line = b""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.address.host, self.address.port)
            reader, writer = self.streams
            writer.write(f"{request}\n".encode())
            line = await reader.readline()
        finally:
            if not line:
                self.close()
        if not line:
            raise ConnectionError("the meter hung up")
        return line.decode().strip()

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


class MeterDriver(Driver):
    def __init__(self, device: Device, port: DevicePort, context: AdapterContext) -> None:
        self.settings: DeviceSettings = device.settings
        self.port = port
        self.context = context
        self.period = self.settings.period
        self.writable = frozenset(self.settings.writable)
        self.client = MeterClient(self.settings.address)
        self.bad: dict[str, DeviceError] = {}
        self.turn = asyncio.Lock()

    async def run(self) -> None:
        while True:
            async with self.turn:
                values = await self.read()
                self.port.report(values, await self.time())
            self.port.quality(self.bad)
            if self.bad:
                self.port.problem(next(iter(self.bad.values())))
            await asyncio.sleep(self.settings.period)

    async def time(self) -> int | None:
        return int(await self.client.ask("time")) or None

    async def read(self) -> Mapping[str, Value]:
        values, self.bad = {}, {}
        for name in self.settings.properties:
            try:
                values[name] = await self.get(name)
            except (DeviceRefused, DeviceReplyInvalid) as error:
                self.bad[name] = error
        if not values:
            raise next(iter(self.bad.values()))
        return values

    async def get(self, name: str) -> Value:
        answer = await self.client.ask(f"get {name}")
        try:
            value: Value = json.loads(answer)
        except ValueError as error:
            raise DeviceReplyInvalid(f"{name}: {answer!r} is no value") from error
        return value

    async def read_back(self, name: str) -> Value:
        if name not in self.settings.properties:
            raise DeviceRefused(f"{name} cannot be read")
        return await self.get(name)

    async def write(self, name: str, value: Value) -> Written:
        if name not in self.writable:
            raise not_writable(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue(Problem("this meter holds numbers", name, "type"))
        async with self.turn:
            return await self.put(name, value)

    async def put(self, name: str, value: Value) -> Written:
        answer = await self.client.ask(f"set {name} {json.dumps(value)}")
        if answer != "ok":
            raise DeviceReplyInvalid(f"set {name}: {answer!r} is neither ok nor an error")
        observed = await self.get(name)
        return Written(confirmed=self.matches(name, value, observed), observed=observed)

    async def close(self) -> None:
        self.client.close()


class MeterAdapter(Adapter):
    drivers: Callable[[Device, DevicePort, AdapterContext], Driver] = MeterDriver

    def __init__(self, context: AdapterContext) -> None:
        self.context = context

    def driver(self, device: Device, port: DevicePort) -> Driver:
        return type(self).drivers(device, port, self.context)

    def figures(self) -> list[Figure]:
        return [Figure("meters", "How many there are.", 1)]


METER = AdapterKind("meter", "Meters", MeterSettings, DeviceSettings, lambda _, context: MeterAdapter(context))


class PlayedMeter(SwitchedDevice):
    """A server on a port of its own."""

    returns = 20.0

    def __init__(self, port: int = 0) -> None:
        super().__init__({}, {"power": (230.5, 231.0), "phase": (1, 2)}, {"limit": (16, 20)}, limit=6)
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = port

    async def listen(self) -> None:
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", self.port, reuse_address=True)
        self.port = self.server.sockets[0].getsockname()[1]
        self.spec = {
            "address": {"host": "127.0.0.1", "port": self.port, "password": PASSWORD, "timeout": "500ms"},
            "period": "100ms",
            "properties": ["power", "phase", "limit"],
            "writable": ["limit"],
        }

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        while line := await reader.readline():
            if self.is_slow:
                await asyncio.sleep(0.8)
            if not self.is_silent:
                answer = "?!" if self.is_mad else self.answer(line.decode().removeprefix(PASSWORD).split())
                writer.write(f"{answer}\n".encode())
        self.writers.discard(writer)
        writer.close()

    def answer(self, words: list[str]) -> str:
        match words:
            case ["time"]:
                return str(self.clock or 0)
            case ["get", name] if name in self.values and name != self.spoilt:
                return json.dumps(self.values[name])
            case ["set", name, value] if name in self.values and name != self.refused:
                if name != self.ignored:
                    self.values[name] = json.loads(value)
                return "ok"
        return "error no"

    async def cut(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in list(self.writers):
            writer.close()

    async def recover(self) -> None:
        await super().recover()
        if self.server is not None and not self.server.is_serving():
            await self.listen()


class MeterContract(AdapterContract):
    kind = METER
    model = MODEL
    mistakes = MISTAKES
    secrets = (PASSWORD,)
    heavy = ("pymodbus",)

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        meter = PlayedMeter(PORTS[name])
        await meter.listen()
        try:
            yield meter
        finally:
            await meter.cut()


def kind_of(drivers: Any, adapter: type[MeterAdapter] = MeterAdapter) -> AdapterKind:
    """The same adapter with other drivers."""
    changed = type("Changed", (adapter,), {"drivers": drivers})
    return AdapterKind("meter", "Meters", MeterSettings, DeviceSettings, lambda _, context: changed(context))
