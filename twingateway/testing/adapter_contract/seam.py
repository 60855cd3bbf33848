"""The seam between a gateway and an adapter, watched: whatever passes is looked at, and what must not is a fault.

The adapter, its drivers and what it is given are wrapped; the gateway, or the test in its place, calls the wrappers.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from twingateway.adapter import (
    Adapter,
    AdapterContext,
    AdapterKind,
    BrokerClient,
    Device,
    DevicePort,
    Driver,
    Figure,
    Message,
    Subscription,
    Value,
    WebhookHandler,
    WebhookRequest,
    WebhookResponse,
    Written,
)
from twingateway.errors import DeviceError, InvalidValue, MalformedText, TooLarge, TwinGatewayError
from twingateway.testing.adapter_context import MemoryContext
from twingateway.validation.normalise import normalise

T = TypeVar("T")

#: Unix milliseconds of the years 2000 and 2200: a time of a device that lies outside is in another unit.
_TIMES = range(946_684_800_000, 7_258_118_400_000)
#: Whether the adapter's code is what runs.
_inside: ContextVar[bool] = ContextVar("inside", default=False)


class Seam:
    """`faults`: what broke the contract, with what to do. `said`: everything that people may come to read. `tasks`:
    what the adapter began and has not ended."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.said: list[str] = []
        self._thread = threading.get_ident()
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    def fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        """The loop's task factory."""
        task = asyncio.Task(coro, loop=loop, **more)
        if _inside.get():
            self._tasks.add(task)
        return task

    def failed(self, loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """The loop's exception handler: what went wrong where nobody waits for it."""
        handle = what.get("handle")
        of_handle = handle is not None and handle._context.get(_inside)
        if of_handle or what.get("future") in self._tasks or what.get("task") in self._tasks:
            self.fault(
                f"{what['message']}: {what.get('exception')!r}: await your tasks, and catch what callbacks raise"
            )

    @contextmanager
    def inside(self, *, yes: bool = True) -> Iterator[None]:
        """What is done here, and what is begun by it, is the adapter's; or not."""
        token = _inside.set(yes)
        try:
            yield
        finally:
            _inside.reset(token)

    def spoken(self, call: str) -> None:
        """The adapter calls what it was given."""
        if threading.get_ident() != self._thread:
            self.fault(
                f"{call} was called from another thread: nothing of the gateway is safe for that; hand it over "
                f"with loop.call_soon_threadsafe(…)"
            )

    def error(self, call: str, error: object) -> None:
        """What is handed over as an error."""
        self.said.append(f"{error} {getattr(error, 'detail', '')}")
        if not isinstance(error, DeviceError):
            self.fault(f"{call} was given {error!r}: it takes a DeviceError of twingateway.errors")
        elif not error.message.strip():
            self.fault(f"{call} was given a {type(error).__name__} without a word: say what is wrong, for a person")

    def value(self, where: str, name: object, value: object) -> None:
        if not isinstance(name, str):
            self.fault(f"{where} named a property {name!r}: names are text")
            return
        try:
            normalise(value, name)
        except (InvalidValue, TooLarge) as error:
            self.fault(
                f"{where}: {error.message}: values are plain JSON (exactly str, int, float, bool, None, list, dict; "
                f"finite, at most 64 KiB), so convert what your library gives, or raise DeviceReplyInvalid"
            )

    async def call(self, call: str, work: Any, allowed: tuple[type[Exception], ...] = (DeviceError,)) -> Any:
        """Await something of the adapter's."""
        task = asyncio.current_task()
        assert task is not None
        asked_before = task.cancelling()
        try:
            with self.inside():
                result = await work
        except asyncio.CancelledError:
            if not task.cancelling():
                self.fault(
                    f"{call} ended as cancelled though nobody cancelled it: a cancellation of your own got out"
                )
            raise
        except Exception as error:
            self._raised(call, error, allowed)
            if task.cancelling() > asked_before:
                self._swallowed(call, f"raised {type(error).__name__}")
            raise
        if task.cancelling() > asked_before:
            self._swallowed(call, "returned")
        return result

    def _raised(self, call: str, error: Exception, allowed: tuple[type[Exception], ...]) -> None:
        self.said.append(f"{error} {getattr(error, 'detail', '')}")
        if not isinstance(error, allowed):
            where = traceback.extract_tb(error.__traceback__)[-1]
            names = " or ".join(each.__name__ for each in allowed) or "nothing"
            self.fault(
                f"{call} raised {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno}): it "
                f"raises {names}; translate what your library raises: `raise DeviceUnreachable(…) from error`"
            )
        elif isinstance(error, TwinGatewayError) and not error.message.strip():
            self.fault(f"{call} raised a {type(error).__name__} without a word: say what is wrong, for a person")

    def _swallowed(self, call: str, how: str) -> None:
        self.fault(
            f"{call} {how} although it was cancelled: let CancelledError pass (`except Exception` does, a bare "
            f"`except:` does not), and do not raise or return in a `finally:`"
        )


class WatchedPort:
    """A `DevicePort` that passes on to `port`."""

    def __init__(self, port: DevicePort, seam: Seam) -> None:
        self._port = port
        self._seam = seam
        self.words = 0
        """How often the driver said anything."""
        self.is_closed = False

    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        for name, value in values.items():
            self._seam.value("port.report", name, value)
        if time is not None and (type(time) is not int or time not in _TIMES):
            self._seam.fault(
                f"port.report was given time={time!r}: it is the device's own clock as a whole number of Unix "
                f"milliseconds, or None if it has none"
            )
        self._pass_on("report", lambda port: port.report(values, time, again=again))

    def online(self) -> None:
        self._pass_on("online", lambda port: port.online())

    def offline(self, error: DeviceError) -> None:
        self._seam.error("port.offline", error)
        self._pass_on("offline", lambda port: port.offline(error))

    def problem(self, error: DeviceError) -> None:
        self._seam.error("port.problem", error)
        self._pass_on("problem", lambda port: port.problem(error))

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        for error in bad.values():
            self._seam.error("port.quality", error)
        self._pass_on("quality", lambda port: port.quality(bad))

    def _pass_on(self, name: str, call: Callable[[DevicePort], None]) -> None:
        self.words += 1
        self._seam.spoken(f"port.{name}")
        if self.is_closed:
            self._seam.fault(f"port.{name} was called after close(): end what still listens to the device there")
        with self._seam.inside(yes=False):
            call(self._port)


class WatchedDriver(Driver):
    """A driver that passes on to `driver`."""

    def __init__(self, driver: Driver, port: WatchedPort, seam: Seam) -> None:
        self.driver = driver
        self._port = port
        self._seam = seam

    @property
    def writable(self) -> frozenset[str]:  # type: ignore[override]  # nobody sets it from outside
        return self.driver.writable

    @property
    def period(self) -> float | None:  # type: ignore[override]
        return self.driver.period

    async def run(self) -> None:
        await self._seam.call("run()", self.driver.run())
        self._seam.fault("run() returned: it goes on until it is cancelled, or raises a DeviceError")

    async def read(self) -> Mapping[str, Value]:
        values: Mapping[str, Value] = await self._seam.call("read()", self.driver.read())
        for name, value in values.items():
            self._seam.value("read()", name, value)
        return values

    async def write(self, name: str, value: Value) -> Written:
        call = f"write({name!r}, {value!r})"
        written = await self._seam.call(call, self.driver.write(name, value), (DeviceError, InvalidValue))
        if not isinstance(written, Written):
            self._seam.fault(f"{call} returned {written!r}: return Written(confirmed=…, observed=…), or UNCONFIRMED")
            raise AssertionError(self._seam.faults[-1])
        self._seam.value("Written.observed", name, written.observed)
        return written

    async def read_back(self, name: str) -> Value:
        value: Value = await self._seam.call(f"read_back({name!r})", self.driver.read_back(name))
        self._seam.value("read_back()", name, value)
        return value

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        return self.driver.matches(name, wanted, observed)

    async def close(self) -> None:
        await self._seam.call("close()", self.driver.close(), ())
        self._port.is_closed = True


class WatchedAdapter(Adapter):
    """An adapter that passes on to `adapter`."""

    def __init__(self, adapter: Adapter, seam: Seam) -> None:
        self.adapter = adapter
        self._seam = seam

    async def start(self) -> None:
        await self._seam.call("start()", self.adapter.start(), (TwinGatewayError,))

    def driver(self, device: Device, port: DevicePort) -> WatchedDriver:
        watched = WatchedPort(port, self._seam)
        with self._seam.inside():
            return WatchedDriver(self.adapter.driver(device, watched), watched, self._seam)

    def figures(self) -> Iterable[Figure]:
        return self.adapter.figures()

    async def stop(self) -> None:
        await self._seam.call("stop()", self.adapter.stop(), ())


class WatchedContext:
    """An `AdapterContext` that passes on to `context`."""

    def __init__(self, context: MemoryContext, seam: Seam) -> None:
        self._context = context
        self._seam = seam
        self.log = context.log
        self.data_dir = context.data_dir

    @property
    def broker(self) -> BrokerClient:
        return _WatchedBroker(self._context.broker, self._seam)

    def webhook(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        async def watched(request: WebhookRequest) -> WebhookResponse:
            allowed = (InvalidValue, MalformedText)
            response: WebhookResponse = await self._seam.call("a webhook's handler", handler(request), allowed)
            return response

        return self._context.webhook(path, watched)

    def wall_ms(self) -> int:
        return self._context.wall_ms()


class _WatchedBroker:
    def __init__(self, broker: BrokerClient, seam: Seam) -> None:
        self._broker = broker
        self._seam = seam

    def subscribe(self, topic_filter: str, handler: Callable[[Message], None]) -> Subscription:
        def watched(message: Message) -> None:
            try:
                with self._seam.inside():
                    handler(message)
            except Exception as error:
                self._seam.fault(
                    f"the handler of {topic_filter!r} raised {type(error).__name__}: {error}: tell "
                    f"port.problem(DeviceReplyInvalid(…)) of a message that cannot be read"
                )

        return self._broker.subscribe(topic_filter, watched)

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        with self._seam.inside(yes=False):
            await self._broker.publish(topic, payload, qos=qos, retain=retain)


def watched_kind(kind: AdapterKind, seam: Seam) -> AdapterKind:
    """The same adapter, watched; it is given the context that `open` is given, watched too."""

    def open_watched(settings: Any, context: AdapterContext) -> Adapter:
        assert isinstance(context, MemoryContext)
        with seam.inside():
            return WatchedAdapter(kind.open(settings, WatchedContext(context, seam)), seam)

    return AdapterKind(kind.name, kind.summary, kind.settings, kind.device, open_watched)
