"""An edge below a broker of somebody else's: its twins as retained documents there, desired values from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.fair_time import PATIENCE
from tests.node.mosquitto import mosquitto
from tests.node.sites import ModbusDevice, free_port, load, write_device
from tests.node.test_run import running
from twingateway.errors import LinkError
from twingateway.node.parts import Bound
from twingateway.node.run import Node
from twingateway.pki.authority import create_authority, issue
from twingateway.plugins.registry import AdapterRegistry

EDGE = "identity: {certificate: pki/edge.crt, key: pki/edge.key, ca: pki/ca.crt}\n"
HUB = "identity: {certificate: pki/hub.crt, key: pki/hub.key, ca: pki/ca.crt}\n"


@dataclass
class Watcher:
    """A paho client of the broker: the newest payload of each topic."""

    port: int
    seen: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        self.seen[message.topic] = json.loads(message.payload) if message.payload else None

    def __enter__(self) -> Watcher:
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def say(self, topic: str, value: object, *, retain: bool = False) -> None:
        self.client.publish(topic, json.dumps(value), qos=1, retain=retain)

    async def until(self, topic: str, condition: Callable[[Any], object]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while topic not in self.seen or not condition(self.seen[topic]):
                await asyncio.sleep(0.01)
        return self.seen[topic]


@dataclass
class Site:
    device: ModbusDevice
    watcher: Watcher
    edge: Path
    bound: Bound | None = None


def edge_file(folder: Path, uplink: str) -> Path:
    file = folder / "edge.yaml"
    file.write_text(
        f"node: {{name: edge}}\n{EDGE}uplink: {{{uplink}, keep_alive: 1s}}\n"
        'api: {address: "127.0.0.1:0"}\ndevices: [plant.yaml]\n'
    )
    return file


@asynccontextmanager
async def brokers(folder: Path, kind: str, protocol: str = "mqtt") -> AsyncIterator[Site]:
    """`kind`: mosquitto over TLS, mosquitto behind our relay over QUIC, or our embedded broker behind it."""
    create_authority(folder / "pki")
    for name in ("edge", "hub"):
        issue(folder / "pki", name, hosts=["127.0.0.1"])
    async with AsyncExitStack() as stack:
        device = await stack.enter_async_context(ModbusDevice().serving())
        write_device(folder, device.port)
        if kind == "mosquitto-tls":
            tls, port = free_port(), 0
            listener = f"listener {tls} 127.0.0.1\ncertfile {folder}/pki/hub.crt\nkeyfile {folder}/pki/hub.key\n"
            port = await stack.enter_async_context(mosquitto(folder, settings=listener))
            uplink = f'url: "mqtts://127.0.0.1:{tls}"'
        else:
            hub, listen = folder / "hub.yaml", 'listen: {address: "127.0.0.1:0", relay: '
            if kind == "mosquitto-quic":
                port = await stack.enter_async_context(mosquitto(folder))
                sections = f'broker: {{url: "mqtt://127.0.0.1:{port}"}}\n{listen}broker}}'
            else:
                port = free_port()
                sections = f'broker: {{listen: "127.0.0.1:{port}"}}\n{listen}anyone}}'
            hub.write_text(f"node: {{name: hub}}\n{HUB}{sections}\n")
            _, bound = await stack.enter_async_context(running(hub))
            uplink = f'url: "quic://{bound.listen}"'
        watcher = stack.enter_context(Watcher(port))
        yield Site(device, watcher, edge_file(folder, f"{uplink}, protocol: {protocol}"))


KINDS = ["mosquitto-tls", "mosquitto-quic", "embedded-quic"]


@pytest.mark.parametrize("kind", KINDS)
async def test_twins_go_out_and_desired_values_come_in(tmp_path: Path, kind: str) -> None:
    async with brokers(tmp_path, kind) as site:
        watcher, device = site.watcher, site.device
        device.registers[1] = 11
        async with running(site.edge) as (_, bound), httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            await watcher.until("twins/default/plant/reported", lambda d: d["properties"].get("r1") == 11)
            await watcher.until("twins/default/plant/presence", lambda d: d["state"] == "online")
            await watcher.until("nodes/default/edge", lambda d: d == {"state": "up"})
            device.registers[1] = 12
            await watcher.until("twins/default/plant/reported", lambda d: d["properties"]["r1"] == 12)

            watcher.say("twins/default/plant/desired/set", {"properties": {"r2": 22}, "id": "mine"})
            result = await watcher.until("twins/default/plant/desired/result", lambda d: d["id"] == "mine")
            assert "error" not in result
            await watcher.until(
                "twins/default/plant/ack", lambda d: d["properties"].get("r2", {}).get("state") == "applied"
            )
            wanted = await watcher.until("twins/default/plant/desired", lambda d: d["properties"] == {"r2": 22})
            assert wanted["version"] == result["version"]
            assert device.written == [(2, 22)]

            watcher.say(
                "twins/default/plant/desired/set", {"properties": {"r2": 23}, "version": "1.1.0", "id": "old"}
            )
            result = await watcher.until("twins/default/plant/desired/result", lambda d: d["id"] == "old")
            assert result["error"]["code"] == "version-mismatch"
            twin = await client.get(f"http://{bound.api}/twins/plant")
            assert twin.json()["spec"]["desiredProperties"] == {"r2": 22}
            [_, broker] = (await client.get(f"http://{bound.api}/nodes")).json()["items"]
            assert (broker["role"], broker["state"], broker["links"]) == ("broker", "up", 1)
            assert broker["transport"] == ("tls" if kind == "mosquitto-tls" else "quic")
            deleted = await client.delete(f"http://{bound.api}/twins/plant")
            assert deleted.status_code == 204
            await watcher.until("twins/default/plant/reported", lambda d: d is None)
        await watcher.until("nodes/default/edge", lambda d: d == {"state": "down"})


async def test_what_was_asked_while_the_edge_was_away_is_done_and_what_was_retained_is_not(tmp_path: Path) -> None:
    async with brokers(tmp_path, "mosquitto-quic") as site:
        watcher, device = site.watcher, site.device
        watcher.say("twins/default/plant/desired/set", {"properties": {"r5": 5}}, retain=True)
        await watcher.until("twins/default/plant/desired/set", lambda d: d)
        async with running(site.edge):
            await watcher.until("twins/default/plant/presence", lambda d: d["state"] == "online")
        watcher.say("twins/default/plant/desired/set", {"properties": {"r2": 22}})
        async with running(site.edge):
            await watcher.until(
                "twins/default/plant/ack", lambda d: d["properties"].get("r2", {}).get("state") == "applied"
            )
        assert device.written == [(2, 22)]


async def test_a_node_that_dies_is_told_of_by_its_last_will(tmp_path: Path) -> None:
    async with brokers(tmp_path, "embedded-quic") as site:
        node = Node(load(site.edge), AdapterRegistry.installed())
        task = asyncio.create_task(node.run())
        await site.watcher.until("nodes/default/edge", lambda d: d == {"state": "up"})
        for carrier in list(node._uplink._carriers.values()):  # type: ignore[union-attr]
            carrier._link.abort(LinkError("cut"))  # type: ignore[attr-defined]
        await site.watcher.until("nodes/default/edge", lambda d: d == {"state": "down"})
        await site.watcher.until("nodes/default/edge", lambda d: d == {"state": "up"})
        node.stop()
        await task


@pytest.mark.parametrize("kind", ["mosquitto-tls"])
async def test_a_broker_is_found_out_and_the_node_is_its_own_root_from_then_on(tmp_path: Path, kind: str) -> None:
    async with brokers(tmp_path, kind, "auto") as site:
        for _ in range(2):
            node, ready = Node(load(site.edge), AdapterRegistry.installed()), list[Bound]()
            node._on_ready = ready.append
            task = asyncio.create_task(node.run())
            await site.watcher.until("nodes/default/edge", lambda d: d == {"state": "up"})
            await site.watcher.until("twins/default/plant/presence", lambda d: d["state"] == "online")
            assert node.gateway is not None
            assert node.gateway.is_root
            node.stop()
            await task
            await site.watcher.until("nodes/default/edge", lambda d: d == {"state": "down"})
            site.watcher.seen.clear()
        assert len(ready) == 1, "the second time it is known"
