"""One test of the contract: an adapter, a played device, and what watches both.

The tests need no plug-in of pytest: each makes its own event loop, whose clock counts only while the process is let
run, and faster than the machine's while nothing is to be done. At the end of each it is looked at what was left, and
at all that passed the seam meanwhile.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from twingateway.adapter import AdapterKind, Device, DeviceId, Model, Value
from twingateway.errors import DeviceError
from twingateway.gateway.devices.adapter_runner import STOP_TIMEOUT
from twingateway.gateway.devices.device_runner import CLOSE_TIMEOUT
from twingateway.gateway.devices.models import read_model
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.adapter_contract.logs import Logs, heard_logs
from twingateway.testing.adapter_contract.node import Node, node
from twingateway.testing.adapter_contract.played_device import PlayedDevice
from twingateway.testing.adapter_contract.seam import Seam, WatchedAdapter, WatchedDriver, watched_kind
from twingateway.testing.adapter_contract.watch import Watch
from twingateway.testing.broker import MemoryBroker
from twingateway.testing.device_port import RecordingPort
from twingateway.testing.fair_loop import FairLoop

#: Seconds after which a whole test hangs; none takes so long.
_HANGS = 300.0
#: Seconds in which sockets that were closed are gone, and tasks that were cancelled have ended.
_SETTLES = 2.0
#: Seconds between two looks, and between two runs of a driver that failed.
_LOOK, _BACK_OFF = 0.01, 1.0


class Played:
    """What a class of tests says of itself. `kind`: the adapter. `model`: the document of the model that the devices
    are played by. `settings`: of the adapter, as in the node file. `mistakes`: by dotted key of a device's `spec`, a
    value that is wrong there. `secrets`: texts in a device's `spec` that nobody may see. `heavy`: modules that must
    not be imported before the adapter is opened. `patience`: seconds in which the driver tells what its device shows.
    `hurry`: how many times as fast time goes while nothing is done; 1 for adapters with threads or processes."""

    kind: ClassVar[AdapterKind]
    model: ClassVar[Mapping[str, Any] | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}
    mistakes: ClassVar[Mapping[str, Any]] = {}
    secrets: ClassVar[tuple[str, ...]] = ()
    heavy: ClassVar[tuple[str, ...]] = ()
    patience: ClassVar[float] = 10.0
    hurry: ClassVar[float] = 10.0

    def play(self, name: str, context: MemoryContext) -> AbstractAsyncContextManager[PlayedDevice]:
        """A device that is there from now on, until it is left. `name`: of the device in its namespace, `default`;
        `context.broker`: the node's, for devices that speak over it."""
        raise NotImplementedError("say how a device is played: override `play` with an @asynccontextmanager")

    def lacks(self, needs: tuple[str, ...]) -> str:
        """What of `needs` a class does not say of itself, for a person; empty if nothing is missing."""
        missing = [need for need in needs if need in Played.__annotations__ and not getattr(self, need)]
        return f"give your {type(self).__name__} `{missing[0]}` to have this tried: see Played" if missing else ""


@dataclass(eq=False)
class Driven:
    """A driver, what it told, and its `run` if that was begun. `failed`: a DeviceError came out of `run`."""

    driver: WatchedDriver
    port: RecordingPort
    task: asyncio.Task[None] | None = None
    failed: bool = False

    async def run(self) -> None:
        """As the host runs it: again after a DeviceError."""
        while True:
            try:
                await self.driver.run()
            except DeviceError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self.failed = True
                self.port.offline(error)
                await asyncio.sleep(_BACK_OFF)

    def story(self) -> str:
        """What the driver said last, for a person."""
        said = [f"presence {self.port.presence}", f"values {self.port.values}"]
        if self.port.offline_error is not None:
            said.append(f"offline: {self.port.offline_error.message}")
        said += [f"problem: {problem.message}" for problem in self.port.problems[-3:]]
        if self.task is not None and self.task.done() and not self.task.cancelled():
            said.append(f"run() ended with {self.task.exception()!r}")
        return "; ".join(said)


class Rig:
    """`device` is there already; the adapter is opened by the first who asks for it."""

    def __init__(
        self, of: Played, device: PlayedDevice, context: MemoryContext, seam: Seam, watch: Watch, logs: Logs
    ) -> None:
        self.of = of
        self.device = device
        self.context = context
        self.seam = seam
        self.watch = watch
        self.logs = logs
        self.model: Model | None = None if of.model is None else read_model(of.model)
        self._kind = watched_kind(of.kind, seam)
        self._adapter: WatchedAdapter | None = None
        self.driven: list[Driven] = []
        self._stack = AsyncExitStack()

    def settings(self) -> Any:
        return self.of.kind.settings.model_validate(dict(self.of.settings))

    def device_settings(self, device: PlayedDevice | None = None) -> Any:
        return self.of.kind.device.model_validate(dict((device or self.device).spec), context={"folder": Path()})

    def open(self) -> WatchedAdapter:
        """The adapter, opened and not started."""
        adapter = self._kind.open(self.settings(), self.context)
        assert isinstance(adapter, WatchedAdapter)
        return adapter

    async def adapter(self) -> WatchedAdapter:
        if self._adapter is None:
            self._adapter = self.open()
            await self._adapter.start()
        return self._adapter

    async def restart(self) -> None:
        """The next who asks for the adapter gets another."""
        if self._adapter is not None:
            await self.in_time(self._adapter.stop(), "stop()", STOP_TIMEOUT)
            self._adapter = None

    async def another(self) -> PlayedDevice:
        """A second device, until the end."""
        return await self._stack.enter_async_context(self.of.play("device-2", self.context))

    async def drive(self, device: PlayedDevice | None = None, name: str = "device-1") -> Driven:
        """A driver that does not run yet."""
        port = RecordingPort()
        known = Device(DeviceId("default", name), self.device_settings(device), self.model)
        driven = Driven((await self.adapter()).driver(known, port), port)
        self.driven.append(driven)
        return driven

    async def run(self, device: PlayedDevice | None = None, name: str = "device-1") -> Driven:
        """A driver that runs, and has told what its device shows at the start."""
        driven = await self.drive(device, name)
        self.begin(driven)
        played = device or self.device
        first = {each: values[0] for each, values in played.shows.items()}
        for each, value in first.items():
            await self.until_told(
                driven, each, value, "run() reports every property of the device soon after it began"
            )
        return driven

    def begin(self, driven: Driven) -> None:
        driven.task = asyncio.ensure_future(driven.run())

    async def until_told(self, driven: Driven, name: str, value: Value, rule: str) -> None:
        def told() -> bool:
            return name in driven.port.values and self.is_same(driven, name, value, driven.port.values[name])

        await self.until(told, lambda: f"{rule}; {name} = {value!r} did not come: {driven.story()}")

    def is_same(self, driven: Driven, name: str, wanted: Value, observed: Value) -> bool:
        """Whether a value is one of those that the device was to have."""
        return driven.driver.matches(name, wanted, observed)

    async def until(self, condition: Callable[[], object], wrong: Callable[[], str], seconds: float = 0.0) -> None:
        """`wrong()` is what is said if it does not come to be in time."""
        try:
            async with asyncio.timeout(seconds or self.of.patience):
                while not condition():
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise AssertionError(f"{wrong()} (waited {seconds or self.of.patience:g} s)") from None

    async def ends(self, task: asyncio.Task[Any], wrong: str, seconds: float = CLOSE_TIMEOUT) -> None:
        """Cancel it: it ends as cancelled, within `seconds`."""
        task.cancel()
        await asyncio.wait([task], timeout=seconds)
        assert task.done(), (
            f"{wrong}: it did not end within {seconds:g} s of its cancellation; await nothing long there"
        )
        assert task.cancelled(), f"{wrong}: it ended by itself (with {_outcome(task)}) and not as cancelled"

    async def end(self, driven: Driven) -> None:
        """As the host ends a device."""
        self.driven.remove(driven)
        if driven.task is not None and not driven.task.done():
            await self.ends(driven.task, "run() was cancelled")
        await self.in_time(driven.driver.close(), "close()", CLOSE_TIMEOUT)

    async def in_time(self, work: Coroutine[Any, Any, Any], what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            raise AssertionError(f"{what} took more than {seconds:g} s: a node does not wait longer") from None

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        """A whole node in memory that runs the device by this adapter."""
        async with node(self._kind, self.settings(), self.context, self.of.model) as running:
            await running.begin(DeviceId("default", "device-1"), self.device_settings())
            yield running

    async def finish(self) -> None:
        """Everything is ended, as a node ends it."""
        for driven in list(self.driven):
            await self.end(driven)
        if self._adapter is not None:
            await self.in_time(self._adapter.stop(), "stop()", STOP_TIMEOUT)

    async def leave(self) -> None:
        """The devices of `another`."""
        await self._stack.aclose()

    async def look_for_remains(self) -> None:
        """What is still there of the adapter after everything was ended."""
        await self._is_gone(self._tasks, "cancel tasks there, and await them")
        await self._is_gone(self.watch.threads, "end threads in stop()")
        await self._is_gone(self.watch.sockets, "close connections there")
        await self._is_gone(self._listeners, "cancel subscriptions and remove webhooks there")

    async def look_for_files(self) -> None:
        """The same of files, when the devices are gone too."""
        await self._is_gone(self.watch.files, "close files there (or what plays the device left one open)")

    async def _is_gone(self, what: Callable[[], list[str]], hint: str) -> None:
        try:
            async with asyncio.timeout(_SETTLES):
                while what():
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            rule = "after close() of the drivers and stop() of the adapter nothing of it is left"
            raise AssertionError(f"{rule}; {hint}: {what()}") from None

    def _tasks(self) -> list[str]:
        return [repr(task.get_coro()) for task in self.seam.tasks]

    def _listeners(self) -> list[str]:
        broker = self.context.broker
        filters = broker.filters if isinstance(broker, MemoryBroker) else []
        return [*(f"subscription {each}" for each in filters), *(f"webhook {each}" for each in self.context.webhooks)]


def on_a_rig(*needs: str) -> Callable[[Callable[[Any, Rig], Coroutine[Any, Any, None]]], Callable[[Any], None]]:
    """A test of a `Played` class: it is skipped, with what to offer, if the device lacks one of `needs`."""

    def decorate(test: Callable[[Any, Rig], Coroutine[Any, Any, None]]) -> Callable[[Any], None]:
        def run(self: Played) -> None:
            with heard_logs() as logs, tempfile.TemporaryDirectory() as folder, _loop(self.hurry) as loop:
                lacking = loop.run_until_complete(_play(self, test, needs, Path(folder), logs))
            if lacking:
                pytest.skip(lacking)

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        return run

    return decorate


@contextmanager
def _loop(hurry: float) -> Iterator[FairLoop]:
    """An event loop that ends in any case: what does not let itself be cancelled is left behind."""
    loop = FairLoop(hurry)
    try:
        yield loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_SETTLES))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _play(
    of: Played,
    test: Callable[[Any, Rig], Coroutine[Any, Any, None]],
    needs: tuple[str, ...],
    folder: Path,
    logs: Logs,
) -> str:
    """What is lacking for it, if it is not played."""
    seam, context = Seam(), MemoryContext(MemoryBroker(), folder / "data")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(seam.make_task)
    loop.set_exception_handler(seam.failed)
    watch = Watch()
    async with asyncio.timeout(_HANGS):
        async with of.play("device-1", context) as device:
            lacking = of.lacks(needs) or device.lacks(needs)
            if lacking:
                return lacking
            rig = Rig(of, device, context, seam, watch, logs)
            try:
                with watch.watching():
                    await test(of, rig)
                    await rig.finish()
            except Exception as error:
                if seam.faults:  # which is more to the point than what came of it
                    raise AssertionError("\n".join([*seam.faults, f"({error})"])) from error
                raise
            finally:
                await rig.leave()
            await rig.look_for_remains()
        await rig.look_for_files()
    _judge(of, rig, logs)
    return ""


def _judge(of: Played, rig: Rig, logs: Logs) -> None:
    """What holds whatever is tried."""
    assert not rig.seam.faults, "\n".join(rig.seam.faults)
    blocking = rig.watch.blocking
    assert not blocking, (
        f"the event loop was held up, and every other device with it: {blocking}; await, or use a thread"
    )
    for secret in of.secrets:
        told = [text for text in (*rig.seam.said, *logs.texts()) if secret in text]
        assert not told, (
            f"a secret was shown to people: {told[0].replace(secret, '***')}; take it out of what you tell"
        )


def _outcome(task: asyncio.Task[Any]) -> str:
    error = task.exception()
    return repr(task.result()) if error is None else f"{type(error).__name__}: {error}"
