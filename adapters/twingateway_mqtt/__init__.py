"""Devices on the node's MQTT broker. Importing this loads the settings only; the rest comes with the first device."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, AdapterKind
from twingateway_mqtt.settings import DeviceSettings, MqttSettings


def _open(settings: MqttSettings, context: AdapterContext) -> Adapter:
    from twingateway_mqtt.adapter import MqttAdapter

    return MqttAdapter(context)


ADAPTER = AdapterKind(
    name="mqtt",
    summary="Devices on the local MQTT broker: JSON, CBOR or text, commands confirmed by the state topic",
    settings=MqttSettings,
    device=DeviceSettings,
    open=_open,
)
