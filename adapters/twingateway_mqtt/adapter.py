"""What MQTT devices share: the node's broker client."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, Device, DevicePort
from twingateway_mqtt.driver import MqttDriver


class MqttAdapter(Adapter):
    """Raises BrokerError with the first device if the node has no broker."""

    def __init__(self, context: AdapterContext) -> None:
        self._context = context

    def driver(self, device: Device, port: DevicePort) -> MqttDriver:
        return MqttDriver(device, port, self._context.broker)
