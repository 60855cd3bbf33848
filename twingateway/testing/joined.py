"""Whole gateways in memory: real parts and real sessions over memory stores and memory links, no sockets or disks."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from twingateway.adapter import Adapter, AdapterContext, AdapterKind, Device, DevicePort, Driver, Value, Written
from twingateway.errors import DeviceError, DeviceRefused, LinkError, NotAuthorized
from twingateway.gateway.devices.context import Context
from twingateway.gateway.devices.host import ConfiguredDevice
from twingateway.gateway.gateway import Gateway, open_gateway
from twingateway.gateway.peering.acceptor import Acceptor
from twingateway.gateway.peering.dialling import Parent
from twingateway.gateway.peering.uplink import Uplink
from twingateway.gateway.state.clock import Clock, SystemClock
from twingateway.gateway.state.journal import JournalPolicy
from twingateway.gateway.state.tasks import Tasks
from twingateway.mqtt.auth import Identity
from twingateway.ports.memory_dialing import MemoryDialer, MemoryListener
from twingateway.ports.memory_link import MemoryLink
from twingateway.ports.memory_path import MemoryPath
from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.twin.identity import DeviceId


@dataclass(frozen=True, slots=True)
class NamedCredential:
    """A credential whose chain is its name; `NamedVerifier` believes it."""

    node: str
    namespace: str = "default"

    @property
    def chain(self) -> tuple[bytes, ...]:
        return (f"{self.namespace}/{self.node}".encode(),)

    def sign(self, data: bytes) -> bytes:
        return b"signed:" + data


class NamedVerifier:
    def verify(
        self, chain: Sequence[bytes], node: str, signature: bytes | None, data: bytes, now_wall: float
    ) -> Identity:
        namespace, _, name = chain[0].decode().partition("/")
        if name != node or signature not in (None, b"signed:" + data):
            raise NotAuthorized(f"{node} is not who it claims to be")
        return Identity(namespace, node)


@dataclass(eq=False)
class FakeMachine:
    """A device: what it holds, whether it answers, and what was written to it."""

    values: dict[str, Value] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    error: DeviceError | None = None
    confirms: bool = True
    written: list[tuple[str, Value]] = field(default_factory=list)
    port: DevicePort | None = None
    period: float | None = None
    mute: bool = False
    """Whether it says nothing by itself at the start."""
    closed: bool = False
    """Whether the driver that was made last was closed."""

    def say(self, **values: Value) -> None:
        """The device changes and reports."""
        self.values.update(values)
        if self.port is not None:
            self.port.report(values)


class _FakeDriver(Driver):
    def __init__(self, machine: FakeMachine, port: DevicePort) -> None:
        self._machine = machine
        self.writable = machine.writable
        self.period = machine.period
        machine.port = port
        machine.closed = False

    async def run(self) -> None:
        port = self._machine.port
        assert port is not None
        if self._machine.error is not None:
            raise self._machine.error
        if not self._machine.mute:
            port.report(dict(self._machine.values))
        await asyncio.Event().wait()

    async def close(self) -> None:
        self._machine.closed = True

    async def read(self) -> Mapping[str, Value]:
        if self._machine.error is not None:
            raise self._machine.error
        return dict(self._machine.values)

    async def write(self, name: str, value: Value) -> Written:
        if self._machine.error is not None:
            raise self._machine.error
        if value == "forbidden":
            raise DeviceRefused("the device says no")
        self._machine.written.append((name, value))
        self._machine.values[name] = value
        return Written(self._machine.confirms, value)


class _FakeAdapter(Adapter):
    def __init__(self, machines: Mapping[str, FakeMachine]) -> None:
        self._machines = machines

    def driver(self, device: Device, port: DevicePort) -> Driver:
        return _FakeDriver(self._machines[device.id.name], port)


class _NoSettings(BaseModel):
    pass


def fake_kind(machines: Mapping[str, FakeMachine]) -> AdapterKind:
    """An adapter kind whose devices are `machines`, by name."""

    def open_adapter(settings: Any, context: AdapterContext) -> Adapter:
        return _FakeAdapter(machines)

    return AdapterKind("fake", "machines in memory", _NoSettings, _NoSettings, open_adapter)


class MemoryNode:
    """One gateway on a memory disk. Start it with `running`."""

    def __init__(
        self,
        name: str,
        disk: MemoryDisk | None = None,
        open_store: Callable[[MemoryDisk], MemoryStore] = MemoryStore,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.disk = disk or MemoryDisk()
        self._open_store = open_store
        self._clock = clock or SystemClock()
        self._dialled: list[MemoryLink] = []
        self._dialling: list[MemoryDialer] = []
        self._gone = False
        self.machines: dict[str, FakeMachine] = {}
        self.kind = fake_kind(self.machines)
        """The adapter of the machines; may be replaced before `running`."""
        self.ping_every = 15.0
        self.journal: JournalPolicy | None = None
        self.path = MemoryPath()
        self._gateway: Gateway | None = None
        self._listener: MemoryListener | None = None

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None
        return self._gateway

    @property
    def listener(self) -> MemoryListener:
        assert self._listener is not None
        return self._listener

    @asynccontextmanager
    async def running(
        self, parent: MemoryNode | None = None, models: Mapping[str, str] | None = None
    ) -> AsyncIterator[Gateway]:
        """Run until left; leaving is a crash: nothing is drained. `models`: device → model reference."""
        self._gone = False
        disk = self.disk
        store = self._open_store(disk)
        try:
            async with asyncio.TaskGroup() as group:
                work = Tasks(group)
                try:
                    gateway = self._gateway = await open_gateway(
                        self.name,
                        "default",
                        is_root=parent is None,
                        store=store,
                        tasks=work,
                        clock=self._clock,
                        journal=self.journal,
                    )
                    gateway.begin(work)
                    self._listen(gateway)
                    await self._start_devices(gateway, models or {})
                    if parent is not None:
                        work.start(self._uplink(gateway, parent).run(), "uplink")
                    _running.append(self)
                    yield gateway
                finally:
                    if self in _running:
                        _running.remove(self)
                    work.cancel()
                    for link in [] if self._listener is None else self._listener.links:
                        if not link.over:
                            link.drop()
        finally:
            disk.in_use = False

    def standing(self) -> str:
        """For a person: its peers, what waits for them, its repairs, and each twin with what the root said of it."""
        gateway = self.gateway
        lines = [f"{self.name}: store {gateway.peers.store_id.hex()[:8]}, {gateway.repair.repairs} repairs"]
        for peer in gateway.peers:
            link = "down" if peer.line is None else f"link {peer.line.number}"
            lines.append(f"  {peer.direction.value} {peer.name}: {link}, {len(peer.session.outbox)} queued")
        for device in gateway.table.devices():
            holds = "held here" if gateway.ownership.held(device) else "not held here"
            lines.append(f"  {device}: {holds}")
            for register in (stored.register for stored in gateway.table.device(device)):
                lines.append(f"    {register.key.section}/{register.key.name} {register.version} = {register.value}")
        return "\n".join(lines)

    def vanish(self) -> None:
        """As if the process had been killed: its links fall silent; leave `running` next."""
        self.listener.open = False
        self._gone = True
        for link in [*self.listener.links, *self._dialled, *(link for each in self._dialling for link in each.links)]:
            link.vanish()

    def _listen(self, gateway: Gateway) -> None:
        acceptor = Acceptor(
            self.name, NamedVerifier(), None, gateway.peers, gateway.inbound, gateway.ledger, gateway.sessions
        )
        self._listener = MemoryListener(acceptor.carrier)

    def _uplink(self, gateway: Gateway, parent: MemoryNode) -> Uplink:
        class Dialer:
            async def dial(
                _, handler: Any, knocking: Any = None
            ) -> Any:  # the parent may restart: its listener is looked up anew
                dialer = MemoryDialer(parent.listener, self.path)
                if self._gone:
                    raise LinkError("a process that has ended dials nobody")
                self._dialling.append(dialer)
                try:
                    return await dialer.dial(handler, knocking)
                finally:
                    self._dialling.remove(dialer)
                    self._dialled = [link for link in [*self._dialled, *dialer.links] if not link.over]

        return Uplink(
            [Parent("memory", (Dialer(),))],
            NamedCredential(self.name),
            self.ping_every,
            gateway.peers,
            gateway.inbound,
            gateway.ledger,
            gateway.sessions,
            random.random,
        )

    async def _start_devices(self, gateway: Gateway, models: Mapping[str, str]) -> None:
        await gateway.host.open(self.kind, _NoSettings(), Context("fake", self._clock, None, None))
        devices = [
            ConfiguredDevice(DeviceId("default", name), "fake", None, models.get(name)) for name in self.machines
        ]
        await gateway.ownership.configure([device.id for device in devices])
        gateway.host.run(devices)


#: Nodes that run now, for who waits for them in vain.
_running: list[MemoryNode] = []


async def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until `condition()` is true; raises TimeoutError with what was waited for and how the nodes stand. It only
    ends what hangs: to come back after a lost link alone can take a node several seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        standing = "\n".join(node.standing() for node in _running)
        raise TimeoutError(f"not in {timeout:g} s: {_source(condition)}\n{standing}") from None


def _source(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
