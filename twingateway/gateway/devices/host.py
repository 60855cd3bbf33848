"""Runs the adapters of this node and their devices, each apart from the others.

An adapter that cannot be opened, or a driver that cannot be made, takes down nothing but itself: the device is shown
offline with the reason and when it is tried again, and `health` tells it. A device that the root deleted, or gave to
another node, is stopped, and begun again when the root gives it back. A driver is made with its device's model: when
that comes, or another one comes in its place, the driver is made anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from twingateway.adapter.figure import Figure
from twingateway.adapter.kind import AdapterContext, AdapterKind
from twingateway.adapter.port import Device
from twingateway.errors import AdapterFault
from twingateway.gateway.devices.actuator import Actuator
from twingateway.gateway.devices.adapter_runner import STOP_TIMEOUT, AdapterRunner, reason_of
from twingateway.gateway.devices.device_runner import DeviceRunner
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.devices.wishes import Wishes
from twingateway.gateway.holding.ownership import Ownership
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.tasks import Tasks
from twingateway.ports.store import Attempt
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.presence import STATE, Presence, PresenceState
from twingateway.twin.register import RegisterKey, Section, StoredRegister

log = structlog.get_logger("adapter")

#: Why a device is offline whose document was taken away from its holder.
NOT_CONFIGURED = "not-configured"
#: Seconds between two looks for devices that keep silent.
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ConfiguredDevice:
    """One device document, read."""

    id: DeviceId
    adapter: str
    settings: Any
    model_ref: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterHealth:
    """One adapter as `GET /adapters` shows it. `devices`: this node's to run, even if they could not be set up.
    `error` is empty while it runs."""

    name: str
    summary: str
    devices: int
    online: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Begun:
    """One device that is run, once its former driver has let go of what they share (`former`: the task of that)."""

    runner: DeviceRunner
    reporter: Reporter
    actuator: Actuator
    tasks: tuple[asyncio.Task[None], ...]
    former: asyncio.Task[None] | None

    async def end(self) -> None:
        """The tasks were cancelled; one that had not begun yet closed nothing."""
        await asyncio.wait([*self.tasks, *([] if self.former is None else [self.former])])
        await self.runner.close()


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
        self._adapters: dict[str, AdapterRunner] = {}
        self._configured: dict[DeviceId, ConfiguredDevice] = {}
        self._begun: dict[DeviceId, _Begun] = {}
        self._faulty: dict[DeviceId, Reporter] = {}
        """Devices that could not be set up."""
        self._ending: dict[DeviceId, asyncio.Task[None]] = {}
        self._work: list[asyncio.Task[None]] = []
        ledger.watch(self._on_register, *_ACTED_ON)
        lifetimes.watch(self._nudge)
        models.watch(self._on_model)
        ownership.watch(self._on_assignment)

    async def open(self, kind: AdapterKind, settings: Any, context: AdapterContext) -> None:
        """Open one adapter; what goes wrong is its own affair."""
        adapter = self._adapters[kind.name] = AdapterRunner(kind, settings, context, self._ledger, self._clock)
        await adapter.open()

    def run(self, devices: Iterable[ConfiguredDevice]) -> None:
        """Start every device's driver, but for those that are not this node's to run any more."""
        if not self._work:
            self._work.append(self._tasks.start(self._watch_silence(), "silence"))
        for configured in devices:
            self._configured[configured.id] = configured
            if self._ownership.is_taken(configured.id):
                self._ownership.tell_taken(configured.id)
            else:
                self._start(configured)
        for device in self._ownership.abandoned():
            self._disown(device)
        for adapter in self._adapters.values():
            if adapter.adapter is None:
                self._work.append(
                    self._tasks.start(self._reopen(adapter), f"opening the adapter {adapter.kind.name}")
                )

    async def stop(self) -> None:
        """Cancel the drivers, then stop the adapters, all at once; neither may take longer than STOP_TIMEOUT."""
        work = [*self._work, *(task for begun in self._begun.values() for task in begun.tasks)]
        for task in work:
            task.cancel()
        ends = [asyncio.ensure_future(begun.end()) for begun in self._begun.values()]
        if waited := [*work, *ends, *self._ending.values()]:
            await asyncio.wait(waited, timeout=STOP_TIMEOUT)
        for end in ends:
            end.cancel()
        await asyncio.gather(*(adapter.stop() for adapter in self._adapters.values()))

    def health(self) -> list[AdapterHealth]:
        by_adapter = defaultdict[str, list[bool]](list)
        online = {device: begun.reporter.is_online for device, begun in self._begun.items()}
        for device, is_online in {**dict.fromkeys(self._faulty, False), **online}.items():
            by_adapter[self._configured[device].adapter].append(is_online)
        return [
            AdapterHealth(
                name,
                adapter.kind.summary,
                len(by_adapter[name]),
                sum(by_adapter[name]),
                adapter.error,
            )
            for name, adapter in sorted(self._adapters.items())
        ]

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """What the adapters count, with each one's name; one that cannot say it says nothing."""
        for name, runner in sorted(self._adapters.items()):
            try:
                found = [] if runner.adapter is None else list(runner.adapter.figures())
            except Exception:
                log.exception("an adapter has no figures", adapter=name)
                continue
            yield from ((name, figure) for figure in found)

    def _disown(self, device: DeviceId) -> None:
        """Nobody here will say anything of it any more; what was said last must not stand for ever."""
        key = RegisterKey(device, Section.PRESENCE, STATE)
        if Presence.from_value(self._statements.value(key)).code != NOT_CONFIGURED:
            message = "its node runs, but has no document of this device any more"
            presence = Presence(PresenceState.OFFLINE, self._clock.wall_ms(), NOT_CONFIGURED, message)
            self._statements.say({key: presence.to_value()})

    async def _reopen(self, adapter: AdapterRunner) -> None:
        def of_adapter() -> list[ConfiguredDevice]:
            return [each for each in self._configured.values() if each.adapter == adapter.kind.name]

        def show() -> None:
            for reporter in (self._faulty.get(each.id) for each in of_adapter()):
                if reporter is not None:
                    reporter.fail(AdapterFault(adapter.error), adapter.next_try)

        await adapter.reopen(show)
        for configured in of_adapter():
            if not self._ownership.is_taken(configured.id):
                self._start(configured)

    def _start(self, configured: ConfiguredDevice) -> None:
        device, ref = configured.id, configured.model_ref
        adapter = self._adapters[configured.adapter]
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
        self._faulty[device] = reporter
        if adapter.adapter is None:
            reporter.fail(AdapterFault(adapter.error), adapter.next_try)
            return
        try:
            known = Device(device, configured.settings, self._model(device, ref))
            driver = adapter.adapter.driver(known, reporter)
        except Exception as error:
            log.error("a device could not be set up", device=str(device), reason=reason_of(error))
            reporter.fail(AdapterFault(reason_of(error)), None)
            return
        del self._faulty[device]
        runner = DeviceRunner(device, driver, reporter, self._clock)
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
        former = self._ending.pop(device, None)
        tasks = (
            self._tasks.start(_after(former, runner.run), f"device {device}"),
            self._tasks.start(_after(former, actuator.run), f"desired of {device}"),
        )
        self._begun[device] = _Begun(runner, reporter, actuator, tasks, former)

    def _on_assignment(self, device: DeviceId) -> None:
        configured = self._configured.get(device)
        if configured is None:
            if not self._ownership.runs(device):
                self._disown(device)
        elif self._ownership.is_taken(device):
            self._end(device)
        elif device in self._begun:
            self._nudge(device)
        else:
            self._start(configured)

    def _end(self, device: DeviceId) -> None:
        faulty = self._faulty.pop(device, None)
        if faulty is not None:
            faulty.close()
        begun = self._begun.pop(device, None)
        if begun is None:
            return
        begun.reporter.close()
        for task in begun.tasks:
            task.cancel()
        self._ending[device] = self._tasks.start(begun.end(), f"end of {device}")
        self._attempts[device] = begun.actuator.attempts()

    async def _watch_silence(self) -> None:
        while True:
            due = self._clock.now() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            was_held_up = self._clock.now() > due + LOOK_SECONDS
            for runner in [begun.runner for begun in self._begun.values()]:
                if was_held_up:
                    runner.reporter.excuse()
                else:
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
        self._nudge(stored.register.key.device)

    def _on_model(self, namespace: str, ref: str) -> None:
        for device, configured in self._configured.items():
            if (device.namespace, configured.model_ref) == (namespace, ref) and not self._ownership.is_taken(device):
                self._end(device)
                self._start(configured)


_ACTED_ON = (Section.DESIRED, Section.OVERRIDE, Section.VERDICT, Section.LIFECYCLE)


async def _after(former: asyncio.Task[None] | None, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if former is not None:
        await asyncio.wait([former])
    await work()
