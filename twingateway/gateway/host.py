"""Runs the adapters of this node and their devices, each apart from the others.

An adapter that cannot be opened, or a driver that cannot be made, takes down nothing but itself: the device is shown
offline with the reason, and `health` tells it. A device that the root deleted, or gave to another node, is stopped,
and begun again when the root gives it back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from twingateway.adapter.driver import Adapter
from twingateway.adapter.kind import AdapterKind
from twingateway.adapter.port import Device
from twingateway.errors import AdapterFault, TwinGatewayError
from twingateway.gateway.actuator import Actuator
from twingateway.gateway.clock import Clock
from twingateway.gateway.context import Context
from twingateway.gateway.device_runner import DeviceRunner
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.lifetimes import Lifetimes
from twingateway.gateway.models import ModelBook
from twingateway.gateway.ownership import Ownership
from twingateway.gateway.reporter import Reporter
from twingateway.gateway.statements import Statements
from twingateway.gateway.tasks import Tasks
from twingateway.gateway.wishes import Wishes
from twingateway.ports.store import Attempt
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.register import Section, StoredRegister

log = structlog.get_logger("adapter")

#: Seconds between two looks for devices that keep silent.
LOOK_SECONDS = 1.0
#: Seconds that adapters have to stop.
STOP_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class ConfiguredDevice:
    """One device document, read."""

    id: DeviceId
    adapter: str
    settings: Any
    model_ref: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterHealth:
    """One adapter as `GET /adapters` shows it. `error` is empty while it runs."""

    name: str
    summary: str
    devices: int
    online: int
    error: str = ""


@dataclass(slots=True)
class _Running:
    kind: AdapterKind
    adapter: Adapter | None
    error: str
    runners: dict[DeviceId, DeviceRunner] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Begun:
    """One device that is run."""

    reporter: Reporter
    actuator: Actuator
    tasks: tuple[asyncio.Task[None], ...]


class AdapterHost:
    """All adapters of one node."""

    def __init__(
        self,
        models: ModelBook,
        ledger: Ledger,
        ownership: Ownership,
        clock: Clock,
        tasks: Tasks,
        statements: Statements,
        lifetimes: Lifetimes,
        wishes: Wishes,
        attempts: Sequence[Attempt],
    ) -> None:
        self._models = models
        self._ledger = ledger
        self._ownership = ownership
        self._clock = clock
        self._tasks = tasks
        self._statements = statements
        self._lifetimes = lifetimes
        self._wishes = wishes
        self._attempts: defaultdict[DeviceId, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            self._attempts[attempt.device].append(attempt)
        self._running: dict[str, _Running] = {}
        self._configured: dict[DeviceId, ConfiguredDevice] = {}
        self._begun: dict[DeviceId, _Begun] = {}
        self._without_model: dict[DeviceId, tuple[_Running, ConfiguredDevice]] = {}
        """Devices that could not be set up while their model was missing."""
        self._work: list[asyncio.Task[None]] = []
        ledger.watch(self._on_register)
        lifetimes.watch(self._nudge)
        models.watch(self._on_model)
        ownership.watch(self._on_assignment)

    async def open(self, kind: AdapterKind, settings: Any, context: Context) -> None:
        """Open one adapter; what goes wrong is its own affair."""
        running = _Running(kind, None, "")
        self._running[kind.name] = running
        try:
            running.adapter = kind.open(settings, context)
            await running.adapter.start()
        except Exception as error:
            running.adapter = None
            running.error = _reason(error)
            log.error("an adapter could not be opened", adapter=kind.name, reason=running.error)
            self._ledger.notice("adapter-fault", running.error, adapter=kind.name)

    def run(self, devices: Iterable[ConfiguredDevice]) -> None:
        """Start every device's driver, but for those that are not this node's to run any more."""
        if not self._work:
            self._work.append(self._tasks.start(self._watch_silence(), "silence"))
        for configured in devices:
            self._configured[configured.id] = configured
            if self._ownership.is_taken(configured.id):
                self._ownership.tell_taken(configured.id)
            else:
                self._start(self._running[configured.adapter], configured)

    async def stop(self) -> None:
        """Cancel the drivers, then stop the adapters, all at once; neither may take longer than STOP_TIMEOUT."""
        work = [*self._work, *(task for begun in self._begun.values() for task in begun.tasks)]
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work, timeout=STOP_TIMEOUT)
        opened = [running for running in self._running.values() if running.adapter is not None]
        await asyncio.gather(*(_stop_quietly(r.adapter, r.kind.name) for r in opened if r.adapter is not None))

    def health(self) -> list[AdapterHealth]:
        return [
            AdapterHealth(
                name,
                running.kind.summary,
                len(running.runners),
                sum(runner.reporter.is_online for runner in running.runners.values()),
                running.error,
            )
            for name, running in sorted(self._running.items())
        ]

    def _start(self, running: _Running, configured: ConfiguredDevice) -> None:
        device, ref = configured.id, configured.model_ref
        reporter = Reporter(
            device,
            ref,
            self._models,
            self._ledger,
            self._clock,
            self._statements,
            on_online=lambda: self._returned(device),
        )
        reporter.introduce(configured.adapter)
        if running.adapter is None:
            reporter.fail(AdapterFault(running.error), None)
            return
        model = self._model(device, ref)
        try:
            driver = running.adapter.driver(Device(device, configured.settings, model), reporter)
        except Exception as error:
            if ref is not None and model is None:
                self._without_model[device] = running, configured
            log.error("a device could not be set up", device=str(device), reason=_reason(error))
            reporter.fail(AdapterFault(_reason(error)), None)
            return
        runner = DeviceRunner(device, driver, reporter, self._clock)
        running.runners[device] = runner
        actuator = Actuator(
            device,
            ref,
            driver,
            reporter,
            self._models,
            self._wishes,
            self._clock,
            self._ownership.held,
            self._lifetimes,
            self._attempts.pop(device, ()),
        )
        tasks = (
            self._tasks.start(runner.run(), f"device {device}"),
            self._tasks.start(actuator.run(), f"desired of {device}"),
        )
        self._begun[device] = _Begun(reporter, actuator, tasks)

    def _on_assignment(self, device: DeviceId) -> None:
        configured = self._configured.get(device)
        if configured is None:
            return
        running = self._running[configured.adapter]
        if self._ownership.is_taken(device):
            self._end(running, device)
        elif device not in self._begun:
            self._start(running, configured)

    def _end(self, running: _Running, device: DeviceId) -> None:
        running.runners.pop(device, None)
        begun = self._begun.pop(device, None)
        if begun is None:
            return
        begun.reporter.close()
        for task in begun.tasks:
            task.cancel()
        self._attempts[device] = begun.actuator.attempts()

    async def _watch_silence(self) -> None:
        while True:
            due = self._clock.now() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            was_held_up = self._clock.now() > due + LOOK_SECONDS
            for runner in [runner for running in self._running.values() for runner in running.runners.values()]:
                if was_held_up:
                    runner.reporter.excuse()
                elif runner.driver.period is not None:
                    runner.reporter.expect(runner.driver.period)

    def _model(self, device: DeviceId, ref: str | None) -> Model | None:
        found = None if ref is None else self._models.find(device.namespace, ref)
        return None if found is None else found.model

    def _returned(self, device: DeviceId) -> None:
        begun = self._begun.get(device)
        if begun is not None:
            begun.actuator.returned()

    def _nudge(self, device: DeviceId) -> None:
        begun = self._begun.get(device)
        if begun is not None:
            begun.actuator.nudge()

    def _on_register(self, stored: StoredRegister) -> None:
        if stored.register.key.section in _ACTED_ON:
            self._nudge(stored.register.key.device)

    def _on_model(self, namespace: str, ref: str) -> None:
        for device, (running, configured) in list(self._without_model.items()):
            if (device.namespace, configured.model_ref) == (namespace, ref):
                del self._without_model[device]
                self._start(running, configured)
        for device in self._begun:
            if device.namespace == namespace:
                self._nudge(device)


_ACTED_ON = frozenset({Section.DESIRED, Section.OVERRIDE, Section.VERDICT, Section.LIFECYCLE})


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, TwinGatewayError) else f"{type(error).__name__}: {error}"


async def _stop_quietly(adapter: Adapter, name: str) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await adapter.stop()
    except Exception as error:
        log.warning("an adapter did not stop cleanly", adapter=name, reason=_reason(error))
