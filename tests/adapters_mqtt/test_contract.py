"""The MQTT adapter keeps the contract of adapters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from twingateway_mqtt import ADAPTER

from tests.testing.switched_device import SwitchedDevice
from twingateway.adapter import BrokerClient
from twingateway.testing.adapter_contract import AdapterContract, MemoryContext, PlayedDevice
from twingateway.testing.broker import MemoryBroker, Published

#: How often it speaks, in seconds.
BEAT = 0.5

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "plug", "version": "1"},
    "spec": {
        "properties": {
            "power": {"type": "number"},
            "mode": {"type": "enum", "values": ["eco", "boost"]},
            "limit": {"type": "number", "access": "read-write"},
            "output": {"type": "boolean", "access": "read-write"},
        }
    },
}
#: By key: a value that is wrong there.
MISTAKES = {
    "address.base": "plugs/{who}",
    "period": "0s",
    "time": "][",
    "presence.online": "offline",
    "properties.power.topic": "plugs/#",
    "properties.power.pick": "][",
    "properties.power.payload": "text",
    "properties.power.true_words": ["open"],
    "properties.limit.command.qos": 2,
    "read.payload": "xml",
}

MISTAKES_OF_TEXTS = {
    "properties.power.pick": "power",
    "properties.output.true_words": [],
    "presence.silence": "never",
}


class PlayedPlug(SwitchedDevice):
    """Says its state in one JSON document, retained, every `BEAT` and after each command."""

    dawdle, refuse = PlayedDevice.dawdle, PlayedDevice.refuse

    def __init__(self, name: str, broker: BrokerClient) -> None:
        assert isinstance(broker, MemoryBroker)
        command = {"topic": "{base}/set", "confirm_timeout": "300ms"}
        super().__init__(
            {
                "address": {"base": "plugs/{device}"},
                "period": f"{BEAT:g}s",
                "read_timeout": "300ms",
                "time": "ts",
                "presence": {"topic": "{base}/online"},
                "read": {"topic": "{base}/get"},
                "properties": {
                    "power": {"topic": "{base}/status", "pick": "power"},
                    "mode": {"topic": "{base}/status", "pick": "mode"},
                    "limit": {
                        "topic": "{base}/status",
                        "pick": "limit",
                        "command": {**command, "template": {"limit": "$value"}},
                    },
                    "output": {
                        "topic": "{base}/status",
                        "pick": "output",
                        "command": {**command, "template": {"output": "$value"}},
                    },
                },
            },
            {"power": (230.5, 231.25), "mode": ("eco", "boost")},
            {"limit": (16, 20.5), "output": (True, False)},
            limit=6,
            output=False,
        )
        self.base = f"plugs/{name}"
        self.broker = broker
        self.is_there = True

    async def speak(self) -> None:
        self.broker.respond(f"{self.base}/+", self.hear)
        self.tell_presence()
        while True:
            self.tell()
            await asyncio.sleep(BEAT)

    def tell_presence(self) -> None:
        self.broker.deliver(f"{self.base}/online", "online" if self.is_there else "offline", retain=True)

    def tell(self) -> None:
        if not self.is_there or self.is_silent:
            return
        values = {name: None if name == self.spoilt else value for name, value in self.values.items()}
        text = "{not json" if self.is_mad else json.dumps({**values, "ts": self.clock})
        self.broker.deliver(f"{self.base}/status", text, retain=True)

    def hear(self, message: Published) -> None:
        self.attempts += 1
        if self.is_there and not self.is_silent:
            if message.topic.endswith("/set"):
                wanted = json.loads(message.payload)
                self.values.update({name: value for name, value in wanted.items() if name != self.ignored})
            self.tell()

    async def changed(self) -> None:
        self.tell()

    async def cut(self) -> None:
        self.is_there = False
        self.tell_presence()

    async def recover(self) -> None:
        self.is_there = True
        self.tell_presence()
        await super().recover()


class TestMqtt(AdapterContract):
    kind = ADAPTER
    model = MODEL
    mistakes = MISTAKES
    heavy = ("jmespath", "cbor2", "paho")
    played: ClassVar[type[PlayedPlug]] = PlayedPlug

    @asynccontextmanager
    async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
        plug = self.played(name, context.broker)
        speaking = asyncio.ensure_future(plug.speak())
        try:
            yield plug
        finally:
            speaking.cancel()


class PlayedOldPlug(PlayedPlug):
    """Says each property as a text on a topic of its own, and retains nothing; that it is gone its silence tells."""

    words: ClassVar = {"output": {True: "on", False: "off"}}
    date = PlayedDevice.date
    """A text has no room for it."""

    def __init__(self, name: str, broker: BrokerClient) -> None:
        super().__init__(name, broker)
        text = {"payload": "text"}
        state = {each: {"topic": f"{{base}}/{each}", **text} for each in ("power", "mode", "limit")}
        command = {"confirm_timeout": "300ms", **text}
        self.spec = {
            "address": {"base": "plugs/{device}"},
            "period": f"{BEAT:g}s",
            "read_timeout": f"{2 * BEAT:g}s",
            "presence": {"silence": "2s"},
            "properties": {
                **state,
                "limit": {**state["limit"], "command": {"topic": "{base}/limit/set", **command}},
                "output": {
                    "topic": "{base}/output",
                    "true_words": ["on"],
                    "false_words": ["off"],
                    "command": {"topic": "{base}/output/set", **command},
                    **text,
                },
            },
        }

    async def speak(self) -> None:
        for name in ("limit", "output"):
            self.broker.respond(f"{self.base}/{name}/set", self.hear)
        while True:
            self.tell()
            await asyncio.sleep(BEAT)

    def tell_presence(self) -> None:
        pass

    def tell(self) -> None:
        if self.is_there and not self.is_silent:
            for name, value in self.values.items():
                text = self.words.get(name, {}).get(value, str(value))
                bad = self.is_mad or name == self.spoilt
                self.broker.deliver(f"{self.base}/{name}", b"\xff\xfe" if bad else text)

    def hear(self, message: Published) -> None:
        self.attempts += 1
        name = message.topic.split("/")[-2]
        if self.is_there and not self.is_silent:
            if name != self.ignored:
                said = message.payload.decode()
                self.values[name] = said == "on" if name == "output" else float(said)
            self.tell()


class TestMqttTexts(TestMqtt):
    mistakes = MISTAKES_OF_TEXTS
    played = PlayedOldPlug
