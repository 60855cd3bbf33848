"""Devices set up by their adapters: what happens when one cannot be, and when what it lacked comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tests.gateway.workbench import PUMP, bench
from twingateway.adapter import Adapter, AdapterKind, Device, DevicePort, Driver, Value
from twingateway.errors import InvalidConfig
from twingateway.gateway.context import Context
from twingateway.gateway.host import ConfiguredDevice
from twingateway.testing.joined import until
from twingateway.twin.parse_model import parse_model
from twingateway.twin.register import Section

MODEL = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {"properties": {"mode": {"type": "enum", "values": ["off", "on"]}}},
}


class Settings(BaseModel):
    pass


class Quiet(Driver):
    def __init__(self, device: Device, port: DevicePort) -> None:
        if device.model is None:
            raise InvalidConfig("the model is not here")
        self._port = port
        self._values = {"mode": device.model.properties["mode"].values[1]}

    async def run(self) -> None:
        self._port.report(self._values)
        await asyncio.Event().wait()

    async def read(self) -> Mapping[str, Value]:
        return self._values


class Quietly(Adapter):
    def driver(self, device: Device, port: DevicePort) -> Driver:
        return Quiet(device, port)


def _open(settings: Any, context: Any) -> Adapter:
    return Quietly()


async def test_a_device_whose_driver_needs_the_model_is_set_up_when_that_comes() -> None:
    async with bench() as b:
        kind = AdapterKind("quiet", "", Settings, Settings, _open)
        await b.gateway.host.open(kind, Settings(), Context("quiet", b.clock, None, None))
        b.gateway.host.run([ConfiguredDevice(PUMP, "quiet", Settings(), "pump@1")])
        await until(lambda: b.value(Section.PRESENCE, "source") is not None, 3)
        assert "the model is not here" in str(b.value(Section.PRESENCE, "source"))
        assert b.gateway.host.health()[0].devices == 0

        await b.gateway.models.add("default", parse_model({**MODEL, "metadata": {"name": "other", "version": "1"}}))
        assert b.gateway.host.health()[0].devices == 0
        await b.gateway.models.add("default", parse_model(MODEL))
        await until(lambda: b.value(Section.REPORTED, "mode") == "on", 3)
        await until(lambda: b.value(Section.PRESENCE, "source") is None, 3)
        assert b.gateway.host.health()[0].devices == 1
