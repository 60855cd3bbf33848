"""A node in memory, with its real host, reporter and actuator, that runs one adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from twingateway.adapter import AdapterContext, AdapterKind, DeviceId, Value
from twingateway.gateway.devices.host import ConfiguredDevice
from twingateway.gateway.devices.reporter import QUALITY, REFUSED, SOURCE
from twingateway.gateway.gateway import Gateway, open_gateway
from twingateway.gateway.state.tasks import Tasks
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.twin.ack import Ack
from twingateway.twin.presence import STATE, Presence
from twingateway.twin.register import Section


class Node:
    """What its twin shows of the device that was begun."""

    def __init__(self, gateway: Gateway, kind: AdapterKind, model_ref: str | None) -> None:
        self._gateway = gateway
        self._kind = kind
        self._model_ref = model_ref
        self._device = DeviceId("default", "none")

    async def begin(self, device: DeviceId, settings: Any) -> None:
        self._device = device
        await self._gateway.ownership.configure([device])
        self._gateway.host.run([ConfiguredDevice(device, self._kind.name, settings, self._model_ref)])

    def value(self, name: str) -> Value:
        """As it is reported."""
        return self._gateway.table.value(self._device, Section.REPORTED, name)

    @property
    def presence(self) -> Presence:
        return Presence.from_value(self._said(STATE))

    @property
    def refused(self) -> Value:
        """What was reported and does not fit the model, by property; None for nothing."""
        return self._said(REFUSED)

    def ack(self, name: str) -> Ack | None:
        """What became of the desired value; None while nothing is said."""
        value = self._gateway.table.value(self._device, Section.ACK, name)
        return None if value is None else Ack.from_value(value)

    def story(self) -> str:
        """What it shows, for a person."""
        device = self._gateway.table.values(self._device, Section.REPORTED)
        about = {name: self._said(name) for name in (SOURCE, REFUSED, QUALITY) if self._said(name) is not None}
        acks = self._gateway.table.values(self._device, Section.ACK)
        return f"presence {self.presence}, reported {dict(device)}, {about}, acks {dict(acks)}"

    async def desire(self, name: str, value: Value) -> None:
        await self._gateway.commands.patch(self._device, {"spec": {"desiredProperties": {name: value}}})

    async def stop(self) -> None:
        """Its devices and adapters, as a node does that is asked to end."""
        await self._gateway.host.stop()

    def _said(self, name: str) -> Value:
        return self._gateway.table.value(self._device, Section.PRESENCE, name)


@asynccontextmanager
async def node(
    kind: AdapterKind, settings: Any, context: AdapterContext, model: Mapping[str, Any] | None
) -> AsyncIterator[Node]:
    """Runs until it is left; then it is stopped in good order."""
    try:
        async with asyncio.TaskGroup() as group:
            work = Tasks(group)
            store = MemoryStore(MemoryDisk())
            gateway = await open_gateway("contract", "default", is_root=True, store=store, tasks=work)
            try:
                gateway.begin(work)
                ref = None
                if model is not None:
                    ref = str((await gateway.commands.put_model("default", model))[0].ref)
                await gateway.host.open(kind, settings, context)
                yield Node(gateway, kind, ref)
            finally:
                await gateway.host.stop()
                work.cancel()
    except BaseExceptionGroup as group_of_errors:
        raise _first(group_of_errors) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The test's own failure, rather than what it made others do."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
