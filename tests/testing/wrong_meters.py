"""Adapters that break one rule each, with the test of the contract that finds it, and what that says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from tests.testing.meter import (
    METER,
    PASSWORD,
    Address,
    DeviceSettings,
    MeterAdapter,
    MeterClient,
    MeterDriver,
    Strict,
    kind_of,
)
from twingateway.adapter import UNCONFIRMED, AdapterKind, Device, DevicePort, Driver, Figure, Value, Written
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidValue,
    Problem,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wrong:
    """`said`: a part of what the test says. `more`: what the class of tests says besides."""

    name: str
    test: str
    said: str
    kind: AdapterKind
    more: Mapping[str, Any] = field(default_factory=dict)


WRONG: list[Wrong] = []
#: What the adapters leave open.
KEPT: list[Any] = []


def breaks(test: str, said: str) -> Callable[[type[T]], type[T]]:
    """A driver, or an adapter, that breaks a rule."""

    def add(broken: type[T]) -> type[T]:
        is_driver = issubclass(broken, Driver)
        kind = kind_of(broken) if is_driver else kind_of(MeterDriver, broken)  # type: ignore[arg-type]
        WRONG.append(Wrong(broken.__name__, f"test_{test}", said, kind))
        return broken

    return add


def wrong_kind(test: str, said: str, kind: AdapterKind, **more: Any) -> None:
    WRONG.append(Wrong(said.replace(" ", "_"), f"test_{test}", said, kind, more))


# --- settings -----------------------------------------------------------------------------------------------------


class Careless(Address):
    model_config = ConfigDict(extra="ignore")


class CarelessDevice(DeviceSettings):
    address: Careless


class CarelessAdapter(BaseModel):
    model_config = ConfigDict(frozen=True)


class Demanding(DeviceSettings):
    serial_number: str


class Lenient(DeviceSettings):
    period: Any = 1.0


class Vague(DeviceSettings):
    @classmethod
    def model_validate(cls, obj: Any, **more: Any) -> Any:
        try:
            return super().model_validate(obj, **more)
        except ValueError:
            return Riddle.model_validate({"riddle": 1})


class Riddle(Strict):
    riddle: str


class Broken(DeviceSettings):
    @field_validator("period", mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        return {"100ms": value}[value]


class Soft(DeviceSettings):
    model_config = ConfigDict(frozen=False)


class OpenAddress(Address):
    password: str  # type: ignore[assignment]


class OpenDevice(DeviceSettings):
    address: OpenAddress


class Telltale(DeviceSettings):
    @field_validator("address", mode="after")
    @classmethod
    def _check(cls, value: Address) -> Address:
        if value.port == 7:
            raise ValueError(value.password.get_secret_value())
        return value


class HidingDriver(MeterDriver):
    def __repr__(self) -> str:
        return f"<meter {PASSWORD}>"


def settings(device: type[BaseModel], adapter: type[BaseModel] = METER.settings) -> AdapterKind:
    return replace(METER, device=device, settings=adapter)


wrong_kind("an_installed_package_registers_it", "leads to another adapter", replace(METER, summary="Another"))
wrong_kind("an_installed_package_registers_it", "no adapter is called 'metre'", replace(METER, name="metre"))
wrong_kind("importing_it_loads_no_library", "import it inside the function", METER, heavy=("twingateway.errors",))
wrong_kind("a_good_document_is_taken", "serial_number", settings(Demanding))
wrong_kind("an_unknown_key_is_refused_by_name", "in spec.address is not refused", settings(CarelessDevice))
wrong_kind(
    "an_unknown_key_is_refused_by_name", "in `adapters: meter:` is not", settings(DeviceSettings, CarelessAdapter)
)
wrong_kind("a_mistake_is_found_at_load_and_named", "period: 'soon' is taken", settings(Lenient))
wrong_kind("a_mistake_is_found_at_load_and_named", "is refused without its key", settings(Vague))
wrong_kind(
    "a_mistake_is_found_at_load_and_named", "raises ValueError for what", settings(Broken), mistakes={"period": "1s"}
)
wrong_kind("settings_stay_as_they_were_loaded", "Soft.address can be assigned", settings(Soft))
wrong_kind("secrets_are_not_shown_by_settings", "in repr() of the device's settings", settings(OpenDevice))
wrong_kind("secrets_are_not_shown_by_settings", "in repr() of the driver", kind_of(HidingDriver))
wrong_kind(
    "secrets_are_not_shown_by_settings",
    "in the refusal of a document",
    settings(Telltale),
    mistakes={"address.port": 7},
)


# --- life ---------------------------------------------------------------------------------------------------------


@breaks("opening_it_does_nothing_yet", "`open` of the kind connected")
class Eager(MeterAdapter):
    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.task = asyncio.ensure_future(asyncio.sleep(0))


@breaks("opening_it_does_nothing_yet", "driver() connected or began something")
class EagerDriver(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.task = asyncio.ensure_future(asyncio.sleep(0))


@breaks("starting_waits_for_no_device", "start() with a device that does not answer took more than")
class SlowStart(MeterAdapter):
    async def start(self) -> None:
        await asyncio.sleep(5)


@breaks("it_ends_at_once_and_leaves_nothing", "cancel tasks there")
class LeavesTask(MeterDriver):
    async def run(self) -> None:
        self.task = asyncio.ensure_future(asyncio.sleep(60))
        await super().run()


@breaks("it_ends_at_once_and_leaves_nothing", "close connections there")
class LeavesSocket(MeterDriver):
    async def close(self) -> None:
        KEPT.append(self.client.streams)


@breaks("it_ends_at_once_and_leaves_nothing", "end threads in stop()")
class LeavesThread(MeterDriver):
    async def run(self) -> None:
        left = threading.Event()
        KEPT.append(left)
        threading.Thread(target=left.wait, daemon=True).start()
        await super().run()


@breaks("it_ends_at_once_and_leaves_nothing", "close files there")
class LeavesFile(MeterDriver):
    async def run(self) -> None:
        KEPT.append(os.pipe())
        await super().run()


@breaks("it_ends_at_once_and_leaves_nothing", "ended by itself")
class SwallowsCancellation(MeterDriver):
    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            raise DeviceUnreachable("cancelled") from None


@breaks("it_ends_at_once_and_leaves_nothing", "remove webhooks there")
class LeavesWebhook(MeterDriver):
    async def run(self) -> None:
        async def hear(request: Any) -> Any:
            pass

        self.context.webhook("meter", hear)
        await super().run()


@breaks("it_ends_at_once_and_leaves_nothing", "close() took more than")
class ClosesSlowly(MeterDriver):
    async def close(self) -> None:
        self.client.close()
        await asyncio.sleep(3)


@breaks("it_ends_at_once_and_leaves_nothing", "stop() took more than")
class StopsSlowly(MeterAdapter):
    async def stop(self) -> None:
        await asyncio.sleep(3)


class LongFarewell(MeterDriver):
    """It waits for what nobody needs any more."""

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await asyncio.sleep(3)


breaks("it_ends_at_once_while_its_device_is_silent", "did not end within")(LongFarewell)
breaks("it_ends_at_once_while_it_is_dialling", "did not end within")(LongFarewell)


@breaks("it_ends_at_once_while_its_device_is_away", "did not end within")
class Stubborn(MeterDriver):
    async def run(self) -> None:
        for _ in range(5):
            try:
                await super().run()
            except DeviceUnreachable:
                await asyncio.shield(asyncio.sleep(0))
                try:
                    await asyncio.sleep(1)
                except BaseException:
                    await asyncio.sleep(2)


@breaks("a_write_that_hangs_can_be_ended_and_confuses_nothing", "did not end within")
class HoldsOn(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except asyncio.CancelledError:
            await asyncio.sleep(2)
            raise


class Mixing(MeterClient):
    """It keeps the connection when a request is given up."""

    async def exchange(self, request: str) -> str:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.address.host, self.address.port)
        reader, writer = self.streams
        writer.write(f"{request}\n".encode())
        return (await reader.readline()).decode().strip()


@breaks("a_read_that_is_given_up_confuses_nothing", "a late answer was taken for another request's")
class MixesAnswers(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.client = Mixing(self.settings.address)


@breaks("ending_twice_does_no_harm", "close() raised AttributeError")
class ClosesOnce(MeterDriver):
    async def close(self) -> None:
        self.client.close()
        del self.client


@breaks("a_driver_is_made_anew_on_the_same_adapter", "there is one already")
class OnceOnly(MeterAdapter):
    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.known: set[object] = set()

    def driver(self, device: Device, port: DevicePort) -> Driver:
        assert device.id not in self.known, "there is one already"
        self.known.add(device.id)
        return super().driver(device, port)


@breaks("an_adapter_is_opened_again_where_it_was", "raised JSONDecodeError")
class Trusting(MeterDriver):
    async def run(self) -> None:
        file = self.context.data_dir / "meter.json"
        if file.exists():
            json.loads(file.read_text())
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
        await super().run()


@breaks("a_device_that_is_away_is_left_in_peace", "say a thing once")
class Verbose(MeterDriver):
    async def run(self) -> None:
        try:
            await super().run()
        except DeviceError:
            for _ in range(40):
                self.context.log.warning("it is away")
            raise


@breaks("what_it_counts_fits_the_metrics", "snake case")
class Capitals(MeterAdapter):
    def figures(self) -> list[Figure]:
        return [Figure("Meters total", "How many there are.", 1)]


@breaks("what_it_counts_fits_the_metrics", "differ in help")
class TwoHelps(MeterAdapter):
    def figures(self) -> list[Figure]:
        return [Figure("meters", "One.", 1, {"a": "1"}), Figure("meters", "Other.", 1, {"a": "2"})]


@breaks("what_it_counts_fits_the_metrics", "is nan")
class NoFigure(MeterAdapter):
    def figures(self) -> list[Figure]:
        return [Figure("meters", "How many there are.", float("nan"))]


# --- values -------------------------------------------------------------------------------------------------------


class Reporting(MeterDriver):
    """`change` makes of what was read what is reported."""

    def change(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        return values

    async def read(self) -> Mapping[str, Value]:
        return self.change(await super().read())


@breaks("everything_is_reported_and_fits_the_model", "phase = 1 did not come")
class Incomplete(Reporting):
    def change(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        return {name: value for name, value in values.items() if name != "phase"}


@breaks("everything_is_reported_and_fits_the_model", "the model refuses what was reported")
class Unfit(Reporting):
    def change(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        return {**values, "limit": "sixteen"}


@breaks("everything_is_reported_and_fits_the_model", "values are plain JSON")
class Foreign(Reporting):
    def change(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        return {name: Decimal(str(value)) for name, value in values.items()}


@breaks("everything_is_reported_and_fits_the_model", "time=1700000000.5")
class Seconds(MeterDriver):
    async def time(self) -> Any:
        return 1_700_000_000.5


@breaks("everything_is_reported_and_fits_the_model", "from another thread")
class Threaded(MeterDriver):
    async def run(self) -> None:
        await asyncio.to_thread(self.port.online)
        await super().run()


@breaks("everything_is_reported_and_fits_the_model", "the event loop was held up")
class Blocking(MeterDriver):
    async def read(self) -> Mapping[str, Value]:
        time.sleep(0.001)
        return await super().read()


@breaks("everything_is_reported_and_fits_the_model", "await your tasks, and catch what callbacks raise")
class Forgets(MeterDriver):
    async def run(self) -> None:
        asyncio.get_running_loop().call_soon(lambda: {}["nothing"])
        await super().run()


@breaks("everything_is_reported_and_fits_the_model", "a secret was shown to people")
class Chatty(MeterDriver):
    async def run(self) -> None:
        self.context.log.info("dialling", password=self.settings.address.password.get_secret_value())
        await super().run()


@breaks("a_change_at_the_device_is_reported", "run() reports what changes")
class OnceReported(Reporting):
    def change(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        self.first = getattr(self, "first", values)
        return self.first


@breaks("a_device_is_read_once_without_running", "read() did not give power")
class OnlyPolled(MeterDriver):
    known: Mapping[str, Value] = {}

    async def run(self) -> None:
        while True:
            self.known = await super().read()
            self.port.report(self.known)
            await asyncio.sleep(0.1)

    async def read(self) -> Mapping[str, Value]:
        return self.known


class NoTurns(Mixing):
    async def ask(self, request: str) -> str:
        try:
            return await self.exchange(f"{PASSWORD} {request}")
        except OSError as error:
            raise DeviceUnreachable("gone") from error


@breaks("a_device_is_read_while_it_is_polled", "raised RuntimeError")
class NoLock(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.client = NoTurns(self.settings.address)

    async def run(self) -> None:
        while True:
            self.port.report(await super().read())


@breaks("one_bad_property_hides_no_other", "one bad property takes no device offline")
class AllOrNothing(MeterDriver):
    async def read(self) -> Mapping[str, Value]:
        return {name: await self.get(name) for name in self.settings.properties}

    async def run(self) -> None:
        while True:
            try:
                self.port.report(await self.read())
            except DeviceRefused as error:
                self.port.report({"phase": await self.get("phase")})
                self.port.offline(error)
            await asyncio.sleep(0.1)


@breaks("one_bad_property_hides_no_other", "goes on being reported while power cannot be read")
class AllAtOnce(MeterDriver):
    async def read(self) -> Mapping[str, Value]:
        return {name: await self.get(name) for name in self.settings.properties}


@breaks("one_bad_property_hides_no_other", "power cannot be read: say so")
class SilentOnIt(MeterDriver):
    async def read(self) -> Mapping[str, Value]:
        values = await super().read()
        self.bad = {}
        return values


@breaks("one_bad_property_hides_no_other", "does not say which property is bad")
class Nameless(MeterDriver):
    async def get(self, name: str) -> Value:
        try:
            return await super().get(name)
        except DeviceRefused:
            raise DeviceRefused("something cannot be read") from None

    async def read(self) -> Mapping[str, Value]:
        values = await super().read()
        if self.bad:
            self.port.problem(next(iter(self.bad.values())))
            self.bad = {}
        return values


@breaks("a_property_that_is_well_again_is_good", "is well and still called bad")
class Unforgiving(MeterDriver):
    async def read(self) -> Mapping[str, Value]:
        before = dict(self.bad)
        values = await super().read()
        self.bad = {**before, **self.bad}
        return values


@breaks("nonsense_is_not_reported_and_passes", "nothing was said of a device that talks nonsense")
class Deaf(MeterDriver):
    async def run(self) -> None:
        while True:
            with contextlib.suppress(DeviceReplyInvalid):
                self.port.report(await self.read())
            await asyncio.sleep(0.1)


@breaks("nonsense_is_not_reported_and_passes", "check an answer as a whole first")
class Believing(MeterDriver):
    async def get(self, name: str) -> Value:
        answer = await self.client.ask(f"get {name}")
        try:
            value: Value = json.loads(answer)
        except ValueError:
            self.port.problem(DeviceReplyInvalid(f"{name}: {answer!r}"))
            return 0
        return value

    async def time(self) -> None:
        return None


@breaks("nonsense_is_not_reported_and_passes", "check an answer as a whole first")
class BelievingInTheEnd(Believing):
    async def read(self) -> Mapping[str, Value]:
        values = await super().read()
        await asyncio.sleep(0.3)  # it told what is wrong, and will report all the same
        return values


@breaks("nonsense_is_not_reported_and_passes", "raised ValueError")
class Untranslated(MeterDriver):
    async def get(self, name: str) -> Value:
        return float(await self.client.ask(f"get {name}"))


@breaks("an_answer_that_comes_late_is_not_taken_for_another", "the answer to another request")
class MixesLateAnswers(MixesAnswers):
    async def time(self) -> None:
        return None


@breaks("the_devices_own_time_is_passed_on", "pass it to port.report")
class Timeless(MeterDriver):
    async def time(self) -> int | None:
        return None


@breaks("the_devices_own_time_is_passed_on", "was reported")
class AnotherTime(MeterDriver):
    async def time(self) -> int | None:
        return 1_700_000_000_000


@breaks("a_device_that_is_well_is_never_stale", "was shown as stale")
class OnlyNews(MeterDriver):
    async def run(self) -> None:
        known: Mapping[str, Value] = {}
        while True:
            values = await self.read()
            if values != known:
                self.port.report(values)
                known = values
            await asyncio.sleep(0.1)


@breaks("a_device_that_is_well_is_never_stale", "it is in seconds, or None")
class NoPeriod(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.period = 0.0


# --- writing ------------------------------------------------------------------------------------------------------


@breaks("it_says_what_can_be_written", "make them the same")
class Humble(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.writable = frozenset()


@breaks("it_says_what_can_be_written", "it is a frozenset of names")
class Listed(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.writable = ["limit"]  # type: ignore[assignment]


@breaks("a_write_is_done_when_it_returns", "await its answer")
class Hasty(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        self.task = asyncio.ensure_future(super().write(name, value))
        return UNCONFIRMED


@breaks("a_write_is_done_when_it_returns", "was confirmed with None")
class Boasting(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        await super().write(name, value)
        return Written(confirmed=True)


@breaks("a_write_is_done_when_it_returns", "return Written(confirmed=")
class Mute(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        await super().write(name, value)
        return True  # type: ignore[return-value]


@breaks("what_was_written_is_read_back", "took more than 1 s")
class SlowBack(MeterDriver):
    async def read_back(self, name: str) -> Value:
        await asyncio.sleep(2)
        return await super().read_back(name)


@breaks("what_was_written_is_read_back", "gave 6 after 16 was written")
class OldBack(MeterDriver):
    async def read_back(self, name: str) -> Value:
        return 6 if name == "limit" else await super().read_back(name)


@breaks("without_an_answer_nothing_is_confirmed", "was confirmed by a device that said nothing")
class Optimist(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except (DeviceTimeout, DeviceUnreachable):
            return Written(confirmed=True, observed=value)


@breaks("without_an_answer_nothing_is_confirmed", "raise DeviceTimeout or DeviceUnreachable")
class Final(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except (DeviceTimeout, DeviceUnreachable) as error:
            raise DeviceRefused(error.message) from error


breaks("a_write_to_a_device_that_just_went_is_tried_again", "which ends the desired value")(Final)
breaks("a_write_to_a_device_that_just_went_is_tried_again", "while it was away")(Optimist)


@breaks("no_older_value_follows_a_written_one", "hold one lock over reading and reporting")
class Jumping(MeterDriver):
    async def run(self) -> None:
        while True:
            values = await self.read()
            await asyncio.sleep(0.1)
            self.port.report(values)


@breaks("a_value_that_is_not_kept_is_not_confirmed", "read it back after the write")
class Believer(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        written = await super().write(name, value)
        return replace(written, confirmed=True, observed=value)


@breaks("a_devices_no_is_said_as_such", "that is tried again for ever")
class Hopeful(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except DeviceRefused as error:
            raise DeviceUnreachable(error.message) from error


@breaks("a_devices_no_is_said_as_such", "and write returned")
class Deafened(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except DeviceRefused:
            return UNCONFIRMED


@breaks("a_devices_no_is_said_as_such", "without a word")
class Wordless(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except DeviceRefused:
            raise DeviceRefused("") from None


@breaks("what_it_does_not_have_is_refused_in_words", "write('no-such-property', 1) raised KeyError")
class Unguarded(MeterDriver):
    keys: ClassVar = {"limit": "limit", "power": "power", "phase": "phase"}

    async def write(self, name: str, value: Value) -> Written:
        return await super().write(self.keys[name], value)


@breaks("what_it_does_not_have_is_refused_in_words", "though it is not writable")
class TakesAll(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        return await super().write(name, value) if name in self.writable else UNCONFIRMED


@breaks("what_it_does_not_have_is_refused_in_words", "raise DeviceRefused")
class ReadsAll(MeterDriver):
    async def read_back(self, name: str) -> Value:
        return await super().read_back(name) if name in self.settings.properties else None


@breaks("what_it_does_not_have_is_refused_in_words", "does not name phase")
class NamesNothing(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        if name == "phase":
            raise InvalidValue(Problem("this cannot be written", "", "access"))
        return await super().write(name, value)


@breaks("a_value_of_another_type_is_refused_in_words", "raised TypeError")
class Untyped(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        return await super().write(name, float(value))  # type: ignore[arg-type]


@breaks("a_value_of_another_type_is_refused_in_words", "does not name limit")
class Terse(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        if not isinstance(value, int | float):
            raise InvalidValue(Problem("no", "", "type"))
        return await super().write(name, value)


@breaks("it_tells_values_apart", "is not False")
class AllAlike(MeterDriver):
    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        return True


@breaks("it_tells_values_apart", "is not True")
class AllUnlike(MeterDriver):
    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        return False


@breaks("it_tells_values_apart", "raised TypeError")
class Calculating(MeterDriver):
    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        return abs(wanted - observed) < 0.1  # type: ignore[operator]


# --- neighbours ---------------------------------------------------------------------------------------------------


class Shared(MeterDriver):
    """One connection for all devices of a process."""

    common: ClassVar[MeterClient | None] = None

    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        if device.id.name == "device-1":
            type(self).common = self.client
        assert self.common is not None
        self.client = self.common


@breaks("two_devices_have_nothing_of_each_other", "which is the other's")
class ToAll(MeterDriver):
    ports: ClassVar[list[DevicePort]] = []

    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.ports.append(port)

    async def run(self) -> None:
        while True:
            for port in self.ports:
                port.report(await self.read())
            await asyncio.sleep(0.1)


@breaks("a_write_goes_to_its_own_device", "changed the other")
class ToTheLast(MeterDriver):
    """Writes go to whichever device was made last."""

    last: ClassVar[MeterClient | None] = None

    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        type(self).last = self.client

    async def write(self, name: str, value: Value) -> Written:
        assert self.last is not None
        await self.last.ask(f"set {name} {json.dumps(value)}")
        return UNCONFIRMED


breaks("a_device_that_is_away_takes_no_other_with_it", "while its neighbour is away")(Shared)
breaks("a_device_that_is_removed_takes_no_other_with_it", "after its neighbour was removed")(Shared)


# --- in a node ----------------------------------------------------------------------------------------------------

breaks("in_a_node_its_twin_shows_it", "the node refuses what is reported")(Unfit)


@breaks("in_a_node_desired_values_are_applied", "did not end as applied or delivered")
class NeverDone(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        raise DeviceTimeout("not now")


breaks("in_a_node_a_devices_no_is_shown", "did not end as failed")(Hopeful)


class OwnError(DeviceError):
    code = "meter-error"


@breaks("in_a_node_a_devices_no_is_shown", "ended with 'meter-error'")
class OwnCode(MeterDriver):
    async def write(self, name: str, value: Value) -> Written:
        try:
            return await super().write(name, value)
        except DeviceRefused as error:
            raise OwnError(error.message) from error


@breaks("a_device_that_is_not_there_comes_by_itself", "is shown online, with its values")
class GivesUp(MeterDriver):
    async def run(self) -> None:
        try:
            await super().run()
        except DeviceUnreachable as error:
            self.port.offline(error)
            await asyncio.Event().wait()


@breaks("a_device_that_is_not_there_comes_by_itself", "is shown as a fault of the adapter")
class Raw(MeterDriver):
    async def run(self) -> None:
        try:
            await super().run()
        except DeviceUnreachable as error:
            raise OSError(error.message) from error


breaks("a_device_that_goes_away_comes_back_by_itself", "is heard by itself")(GivesUp)


@breaks("a_device_that_goes_away_comes_back_by_itself", "was not shown so")
class Unmoved(MeterDriver):
    async def run(self) -> None:
        self.period = None
        while True:
            try:
                await super().run()
            except DeviceError:
                await asyncio.sleep(1)


class Patient(MeterClient):
    async def ask(self, request: str) -> str:
        async with self.turn:
            return await self.exchange(f"{PASSWORD} {request}")


@breaks("a_silent_device_is_shown_as_such", "was not shown so")
class Endless(MeterDriver):
    def __init__(self, device: Device, port: DevicePort, context: Any) -> None:
        super().__init__(device, port, context)
        self.client = Patient(self.settings.address)
        self.period = None


@breaks("a_device_that_is_away_is_left_in_peace", "while it was away, at most")
class Hammer(MeterDriver):
    async def run(self) -> None:
        while True:
            try:
                await super().run()
            except DeviceError as error:
                self.port.offline(error)
                await asyncio.sleep(0.1)


@breaks("what_is_desired_meanwhile_is_applied_when_it_is_back", "did not end as applied or delivered")
class Forgetful(MeterDriver):
    async def run(self) -> None:
        while True:
            try:
                await super().run()
            except DeviceUnreachable as error:
                self.port.offline(error)
                self.writable = frozenset()
                await asyncio.sleep(1)


breaks("a_node_ends_in_time_whatever_its_device_does", "to stop the device and the adapter")(LongFarewell)
