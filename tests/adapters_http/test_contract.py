"""The HTTP adapter keeps the contract of adapters."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twingateway_http import ADAPTER

from tests.adapters_http.http_plant import Asked, Server, reply
from tests.testing.switched_device import PORTS, SwitchedDevice
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


class PlayedHeater(SwitchedDevice):
    """One JSON document, and a `PUT /limit`."""

    def __init__(self, port: int) -> None:
        takes: dict[str, tuple[Value, Value]] = {"limit": (16, 20.5), "open": (True, False)}
        super().__init__({}, {"power": (230.5, 231.25), "mode": ("eco", "boost")}, takes, limit=6, open=False)
        self.server = Server(self._answer)
        self.port = port

    async def start(self) -> None:
        await self.server.start(self.port)
        self.spec = {
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

    async def _answer(self, asked: Asked) -> bytes | None:
        self.attempts += 1
        if self.is_silent:
            await self.talks.wait()
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

    async def cut(self) -> None:
        await self.server.stop()

    async def recover(self) -> None:
        await super().recover()
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
        heater = PlayedHeater(PORTS[name])
        await heater.start()
        try:
            yield heater
        finally:
            await heater.server.stop()


MISTAKES_OF_PUSHES = {"webhook.path": "{who}", "webhook.silence": "never", "properties.power.push": "]["}
#: How often a device that pushes does so, in seconds.
BEAT = 0.5


class PlayedSensor(SwitchedDevice):
    """Posts what it has to its webhook, every `BEAT` and when it changes."""

    answers = False
    dawdle, spoil, refuse = PlayedDevice.dawdle, PlayedDevice.spoil, PlayedDevice.refuse
    ignore, held = PlayedDevice.ignore, PlayedDevice.held

    def __init__(self, context: MemoryContext, name: str) -> None:
        spec = {
            "properties": {"power": {"push": "power"}, "mode": {"push": "mode"}},
            "webhook": {"path": "sensors/{device}", "time": "ts", "period": f"{BEAT:g}s", "silence": "3s"},
        }
        super().__init__(spec, {"power": (230.5, 231.25), "mode": ("eco", "boost")})
        self.hooks, self.path = context.webhooks, f"sensors/{name}"

    async def speak(self) -> None:
        while True:
            await self.changed()
            await asyncio.sleep(BEAT)

    async def changed(self) -> None:
        hook = self.hooks.get(self.path)
        if hook is None or self.is_silent:
            return
        body = b"<html>" if self.is_mad else json.dumps({**self.values, "ts": self.clock}).encode()
        with contextlib.suppress(MalformedText):
            await hook(WebhookRequest("POST", f"/{self.path}", body))

    async def cut(self) -> None:
        await self.fall_silent()


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
