"""The demo's MQTT devices' process: `python -m twingateway.demo.mqtt_site --port 1883 --seed 1`.

Three devices (lamp, pump, greenhouse), each with a connection and a last will of its own, whose values move every
250 ms. The first line on stdout, once all are connected, is `{"ready": true}`. Commands come on stdin, one a line,
each answered by one JSON line; the process ends with `quit` or the end of stdin:

freeze            nothing moves from now on: `{"frozen": true}`. The devices still obey.
corrupt DEVICE    the device lies when it is asked for the truth, as if it had changed without saying so:
                  `{"corrupted": DEVICE}`.

Whoever publishes to `{base}/truth/get` is answered on `{base}/truth` with all the device's values as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import threading
import time
from typing import Any

import cbor2
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from twingateway.demo.console import obey, say
from twingateway.demo.mqtt_machines import MQTT_MACHINES, MqttMachine, Payload

#: Seconds between two steps of the machines.
INTERVAL = 0.25


class MqttDevice:
    """One machine and its client. paho calls back in a thread of its own, hence the lock."""

    def __init__(self, machine: MqttMachine, port: int) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._published: dict[str, Payload] = {}
        self._lies = False
        self.connected = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"demo-{machine.name}")
        self._client.will_set(self._topic("status"), "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    @property
    def name(self) -> str:
        return self._machine.name

    def step(self, seconds: float) -> None:
        with self._lock:
            self._machine.step(seconds)
            self._publish_changes()

    def corrupt(self) -> None:
        self._lies = True

    def stop(self) -> None:
        self._client.publish(self._topic("status"), "offline", qos=1, retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, name: str) -> str:
        return f"{self._machine.base}/{name}"

    def _on_connect(self, *_: object) -> None:
        with self._lock:
            self._client.subscribe([(self._topic("set"), 1), (self._topic("truth/get"), 0)])
            self._client.publish(self._topic("status"), "online", qos=1, retain=True)
            self._published.clear()
            self._publish_changes()
        self.connected.set()

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        with self._lock:
            if message.topic == self._topic("truth/get"):
                self._client.publish(self._topic("truth"), json.dumps(self._truth()))
            elif message.topic == self._topic("set"):
                with contextlib.suppress(ValueError):
                    self._obey(message.payload)

    def _obey(self, payload: bytes | bytearray) -> None:
        command = cbor2.loads(bytes(payload)) if "set" in self._machine.binary else json.loads(payload)
        if isinstance(command, dict):
            self._machine.obey(command)
            self._published.pop("state", None)  # A command is always answered, also one that changes nothing.
            self._publish_changes()

    def _publish_changes(self) -> None:
        for topic, payload in self._machine.said().items():
            if self._published.get(topic) != payload and self._client.is_connected():
                self._published[topic] = payload
                self._client.publish(self._topic(topic), self._encode(topic, payload), qos=1, retain=True)

    def _encode(self, topic: str, payload: Payload) -> bytes:
        if "" in payload:
            return str(payload[""]).encode()
        stamped = {"ts": time.time_ns() // 1_000_000, **payload}
        return cbor2.dumps(stamped) if topic in self._machine.binary else json.dumps(stamped).encode()

    def _truth(self) -> Payload:
        values = self._machine.values()
        if self._lies:
            name, difference = self._machine.lie
            values[name] += difference
        return values


class MqttSite:
    """All devices, and the thread that moves them."""

    def __init__(self, port: int, seed: int) -> None:
        chance = random.Random(seed)
        self._devices = {machine.name: MqttDevice(machine(chance), port) for machine in MQTT_MACHINES}
        self._frozen = threading.Event()
        self._mover = threading.Thread(target=self._move, daemon=True)

    def start(self, timeout: float) -> None:
        """Returns when every device is connected. Raises TimeoutError."""
        for device in self._devices.values():
            if not device.connected.wait(timeout):
                raise TimeoutError(f"{device.name} could not connect to the broker within {timeout:g} s")
        self._mover.start()

    def _move(self) -> None:
        while not self._frozen.wait(INTERVAL):
            for device in self._devices.values():
                device.step(INTERVAL)

    def command(self, line: str) -> dict[str, Any]:
        """Carry out one line of stdin → the answer."""
        match line.split():
            case ["freeze"]:
                self._frozen.set()
                self._mover.join()
                return {"frozen": True}
            case ["corrupt", name] if name in self._devices:
                self._devices[name].corrupt()
                return {"corrupted": name}
        return {"error": f"{line!r} is no command: freeze, corrupt {{{','.join(self._devices)}}}, quit"}

    def stop(self) -> None:
        self._frozen.set()
        for device in self._devices.values():
            device.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Three MQTT devices whose values move, for the demo.")
    parser.add_argument("--port", type=int, required=True, help="the broker's TCP port on 127.0.0.1")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same movements")
    arguments = parser.parse_args()
    site = MqttSite(arguments.port, arguments.seed)
    with contextlib.suppress(KeyboardInterrupt):
        site.start(timeout=20)
        say({"ready": True})
        obey(site.command)
    site.stop()


if __name__ == "__main__":
    main()
