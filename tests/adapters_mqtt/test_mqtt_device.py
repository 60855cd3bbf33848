"""A device on a real broker: paho in the device, amqtt behind the guard, the node's client, the driver."""

import asyncio
import json
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from twingateway_mqtt import ADAPTER

from twingateway.adapter import Device, DeviceId, Written
from twingateway.broker.client import PahoBroker
from twingateway.broker.embedded import EmbeddedBroker
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort

DOCUMENT: dict[str, Any] = {
    "presence": {"topic": "{base}/lwt"},
    "properties": {
        "setpoint": {
            "topic": "{base}/state",
            "pick": "setpoint",
            "command": {"topic": "{base}/set", "template": {"setpoint": "$value"}},
        }
    },
}


def thermostat(host: str, port: int) -> Client:
    """Takes commands, reports its state retained, and leaves a will."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.will_set("room/lwt", "offline", qos=1, retain=True)

    def connected(*_: object) -> None:
        client.subscribe("room/set", qos=1)
        client.publish("room/lwt", "online", qos=1, retain=True)
        client.publish("room/state", json.dumps({"setpoint": 20.0}), qos=1, retain=True)

    def commanded(_: Client, __: object, message: MQTTMessage) -> None:
        client.publish("room/state", message.payload, qos=1, retain=True)

    client.on_connect = connected
    client.on_message = commanded
    client.connect(host, port)
    client.loop_start()
    return client


async def test_from_first_report_to_last_will() -> None:
    broker = EmbeddedBroker(("127.0.0.1", 0))
    await broker.start()
    node = PahoBroker(*broker.address)
    await node.start()
    device = await asyncio.to_thread(thermostat, *broker.address)

    port = RecordingPort()
    adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext(node))
    driver = adapter.driver(Device(DeviceId("default", "room"), ADAPTER.device.model_validate(DOCUMENT)), port)
    running = asyncio.create_task(driver.run())
    await port.until(lambda port: port.values == {"setpoint": 20.0} and port.presence is True)
    assert await driver.write("setpoint", 22.5) == Written(confirmed=True, observed=22.5)
    assert port.values == {"setpoint": 22.5}
    assert await driver.read() == {"setpoint": 22.5}

    device._sock_close()  # type: ignore[no-untyped-call]
    device.loop_stop()
    await port.until(lambda port: port.presence is False)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await node.stop()
    await broker.stop()
