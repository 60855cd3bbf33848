"""The HTTP adapter keeps the contract of adapters."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twingateway_http import ADAPTER

from tests.adapters_http.http_plant import Asked, Server, reply
from twingateway.adapter import Value, WebhookRequest
from twingateway.errors import MalformedText
from twingateway.testing.adapter_contract import AdapterContract, MemoryContext, PlayedDevice

TOKEN = "s3cr3t-t0k3n"
KEY = "k3y-0f-th3-gat3"

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "heater", "version": "1"},
    "spec": {
        "properties": {
            "power": {"type": "number"},
            "mode": {"type": "enum", "values": ["eco", "boost"]},
            "limit": {"type": "number", "access": "read-write"},
            "open": {"type": "boolean", "access": "read-write"},
        }
    },
}
#: By key: a value that is wrong there.
MISTAKES = {
    "address.url": "ftp://10.0.0.9",
    "address.timeout": "soon",
    "address.ca_file": "nowhere.pem",
    "period": "1ms",
    "properties.power.pick": "][",
    "properties.power.request": "other",
    "properties.power.push": "power",
    "properties.limit.command.body": {"limit": 1},
    "requests.status.body": {"a": 1},
}


class PlayedHeater(PlayedDevice):
    """One JSON document, and a `PUT /limit`."""

    def __init__(self) -> None:
        self.server = Server(self._answer)
        self.values: dict[str, Value] = {"power": 230.5, "mode": "eco", "limit": 6, "open": False}
        self.clock: int | None = None
        self.waiting: asyncio.Event | None = None
        self.spoilt = self.refused = self.ignored = ""
        self.is_mad = self.is_slow = False

    async def start(self) -> None:
        await self.server.start()
        self.port = int(self.server.url.rpartition(":")[2])
        spec = {
            "address": {
                "url": self.server.url,
                "timeout": "200ms",
                "auth": {"bearer": TOKEN},
                "headers": {"x-key": KEY},
            },
            "period": "50ms",
            "requests": {"status": {"path": "/status", "time": "ts"}},
            "properties": {
                "power": {"pick": "power"},
                "mode": {"pick": "mode"},
                "limit": {
                    "pick": "limit",
                    "command": {"path": "/limit", "body": {"limit": "$value"}, "confirm_timeout": "300ms"},
                },
                "open": {
                    "pick": "open",
                    "command": {"path": "/open", "body": {"open": "$value"}, "confirm_timeout": "300ms"},
                },
            },
        }
        shows: dict[str, tuple[Value, Value]] = {"power": (230.5, 231.25), "mode": ("eco", "boost")}
        super().__init__(spec, shows, {"limit": (16, 20.5), "open": (True, False)})

    async def _answer(self, asked: Asked) -> bytes | None:
        self.attempts += 1
        if self.waiting is not None:
            await self.waiting.wait()
            return None
        if self.is_slow:
            await asyncio.sleep(0.3)
        if self.is_mad:
            return reply(b"<html>hello")
        if asked.method == "GET":
            document = {name: value for name, value in self.values.items() if name != self.spoilt}
            return reply({**document, "ts": self.clock})
        [(name, value)] = json.loads(asked.body).items()
        if name == self.refused:
            return reply({"error": f"not with {asked.headers['authorization']} and {asked.headers['x-key']}"}, 403)
        if name != self.ignored:
            self.values[name] = value
        return reply(b"", 204)

    async def show(self, name: str, value: Value) -> None:
        self.values[name] = value

    async def held(self, name: str) -> Value:
        return self.values[name]

    async def cut(self) -> None:
        await self.server.stop()

    async def fall_silent(self) -> None:
        self.waiting = asyncio.Event()

    async def dawdle(self) -> None:
        self.is_slow = True

    async def talk_nonsense(self) -> None:
        self.is_mad = True

    async def spoil(self, name: str) -> None:
        self.spoilt = name

    async def refuse(self, name: str) -> None:
        self.refused = name

    async def ignore(self, name: str) -> None:
        self.ignored = name

    async def date(self, time: int) -> None:
        self.clock = time

    async def recover(self) -> None:
        if self.waiting is not None:
            self.waiting.set()
        self.waiting, self.is_mad, self.is_slow = None, False, False
        self.spoilt = self.refused = self.ignored = ""
        if not self.server.is_serving:
            await self.server.start(self.port)


class TestHttp(AdapterContract):
    kind = ADAPTER
    model = MODEL
    mistakes = MISTAKES
    secrets = (TOKEN, KEY)
    heavy = ("httpx2", "jmespath")

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        heater = PlayedHeater()
        await heater.start()
        try:
            yield heater
        finally:
            await heater.server.stop()


MISTAKES_OF_PUSHES = {"webhook.path": "{who}", "webhook.silence": "never", "properties.power.push": "]["}
#: How often a device that pushes does so, in seconds.
BEAT = 0.5


class PlayedSensor(PlayedDevice):
    """Posts what it has to its webhook, every `BEAT` and when it changes."""

    answers = False

    def __init__(self, context: MemoryContext, name: str) -> None:
        spec = {
            "properties": {"power": {"push": "power"}, "mode": {"push": "mode"}},
            "webhook": {"path": "sensors/{device}", "time": "ts", "period": f"{BEAT:g}s", "silence": "3s"},
        }
        super().__init__(spec, {"power": (230.5, 231.25), "mode": ("eco", "boost")})
        self.hooks, self.path = context.webhooks, f"sensors/{name}"
        self.values: dict[str, Value] = {"power": 230.5, "mode": "eco"}
        self.clock: int | None = None
        self.is_mad = self.is_silent = False

    async def speak(self) -> None:
        while True:
            await self.push()
            await asyncio.sleep(BEAT)

    async def push(self) -> None:
        hook = self.hooks.get(self.path)
        if hook is None or self.is_silent:
            return
        body = b"<html>" if self.is_mad else json.dumps({**self.values, "ts": self.clock}).encode()
        with contextlib.suppress(MalformedText):
            await hook(WebhookRequest("POST", f"/{self.path}", body))

    async def show(self, name: str, value: Value) -> None:
        self.values[name] = value
        await self.push()

    async def cut(self) -> None:
        self.is_silent = True

    async def fall_silent(self) -> None:
        self.is_silent = True

    async def talk_nonsense(self) -> None:
        self.is_mad = True
        await self.push()

    async def date(self, time: int) -> None:
        self.clock = time

    async def recover(self) -> None:
        self.is_mad = self.is_silent = False
        await self.push()


class TestHttpPushes(TestHttp):
    mistakes = MISTAKES_OF_PUSHES
    secrets = ()

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        sensor = PlayedSensor(context, name)
        speaking = asyncio.ensure_future(sensor.speak())
        try:
            yield sensor
        finally:
            speaking.cancel()
