"""`twingateway check`: read a device once, without a node."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twingateway.cli.durations import seconds
from twingateway.cli.exit_codes import BY_ERROR, ExitCode
from twingateway.cli.files import find_files
from twingateway.cli.output import Form, FormOption, print_data, print_table, shown
from twingateway.errors import (
    AdapterFault,
    BrokerError,
    DeviceTimeout,
    InvalidConfig,
    InvalidValue,
    TooLarge,
    TwinGatewayError,
)

if TYPE_CHECKING:
    from twingateway.adapter import AdapterKind, BrokerClient, WebhookHandler
    from twingateway.broker.client import PahoBroker
    from twingateway.config.device import LoadedDevice
    from twingateway.twin.model import Model, ModelRef

_Names = Annotated[
    list[str], typer.Argument(metavar="DEVICE.yaml…", help="The devices' files, folders of them, or patterns.")
]


def check(
    names: _Names,
    timeout: Annotated[
        float,
        typer.Option(parser=seconds, metavar="DURATION", show_default="10s", help="How long the device may take."),
    ] = 10.0,
    broker: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The MQTT broker that the device speaks to.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The device's model; by default looked for in models/.")
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option(metavar="NODE.yaml", help="The node file with the settings of the device's adapter."),
    ] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Read a device once, without a node, and print its values or its own error.

    With the device's model at hand (--model, or models/ beside its file or one
    folder above, or in its profile), values are checked and shown with their
    units. Of several devices each one is read, a line each; the exit code is
    that of the first that fails.

    Examples:
      twingateway check devices/*.yaml
      twingateway check devices/plug.yaml --broker 127.0.0.1:1883
      twingateway check devices/pump.yaml --node node.yaml
    """
    import asyncio

    from twingateway.config.device import load_devices
    from twingateway.config.load import load_node
    from twingateway.plugins.registry import AdapterRegistry

    at = _broker_address(broker)
    registry = AdapterRegistry.installed()
    devices = load_devices(files := find_files(names), registry)
    if not devices:
        raise InvalidConfig(f"{', '.join(names)}: no device is described here")
    settings = {} if node is None else load_node(node, registry).config.adapters
    models = _Models(files, model)
    several = len(devices) > 1
    worst, found = ExitCode.OK, dict[str, list[_Reading]]()
    _log_to_stderr()
    for device in devices:
        known = models.of(device)
        kind = registry.get(device.adapter)
        try:
            own = settings.get(kind.name) or _default_settings(kind)
            readings = asyncio.run(_read(device, known, kind, own, at, timeout))
        except TwinGatewayError as error:
            if not several:
                raise
            print(f"error: {device.id.name}: {error.message}", file=sys.stderr)
            worst = worst or BY_ERROR[error.code]
            continue
        found[device.id.name] = readings
        if several and output is Form.TABLE:
            print(_line(device.id.name, readings), flush=True)
        if any(reading.problem for reading in readings):
            worst = worst or ExitCode.INVALID
    if not several:
        _show(readings, output)
    elif output is not Form.TABLE:
        print_data({name: _document(each) for name, each in found.items()}, output)
    if several:
        print(f"{len(found)} of {len(devices)} devices were read", file=sys.stderr)
    raise typer.Exit(worst)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One value as the device gave it, and what the model says about it."""

    name: str
    value: Any
    unit: str
    problem: str


class _Context:
    """An AdapterContext without a node: a broker if one was named; webhooks are taken and never called."""

    def __init__(self, adapter: str, broker: PahoBroker | None) -> None:
        import structlog

        self._log = structlog.get_logger("adapter").bind(adapter=adapter)
        self._broker = broker

    @property
    def log(self) -> Any:
        return self._log

    @property
    def broker(self) -> BrokerClient:
        if self._broker is None:
            raise BrokerError("this device speaks to an MQTT broker: name it with --broker HOST:PORT")
        return self._broker

    def webhook(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        return lambda: None

    @property
    def data_dir(self) -> Path | None:
        return None

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class _Port:
    """A DevicePort that only passes on what the driver complains about."""

    def report(self, values: Mapping[str, Any], time: int | None = None, *, again: bool = False) -> None:
        pass

    def online(self) -> None:
        pass

    def offline(self, error: TwinGatewayError) -> None:
        pass

    def problem(self, error: TwinGatewayError) -> None:
        print(f"warning: {error.message}", file=sys.stderr)

    def quality(self, bad: Mapping[str, TwinGatewayError]) -> None:
        pass


async def _read(
    device: LoadedDevice,
    model: Model | None,
    kind: AdapterKind,
    settings: Any,
    broker: tuple[str, int] | None,
    timeout: float,
) -> list[_Reading]:
    import asyncio

    from twingateway.adapter import Device

    async with AsyncExitStack() as stack:
        client = None if broker is None else await _connect(broker, timeout, stack)
        adapter = kind.open(settings, _Context(kind.name, client))
        await adapter.start()
        stack.push_async_callback(adapter.stop)
        driver = adapter.driver(Device(device.id, device.settings, model), _Port())
        stack.push_async_callback(driver.close)
        try:
            async with asyncio.timeout(timeout):
                values = await driver.read()
        except TimeoutError as error:
            raise DeviceTimeout(f"the device was not read within {timeout:g} s") from error
        except TwinGatewayError:
            raise
        except Exception as error:
            raise AdapterFault(f"the adapter {kind.name!r} failed: {type(error).__name__}: {error}") from error
    return _judge(values, model)


async def _connect(broker: tuple[str, int], timeout: float, stack: AsyncExitStack) -> PahoBroker:
    from twingateway.broker.client import PahoBroker

    client = PahoBroker(*broker)
    await client.start()
    stack.push_async_callback(client.stop)
    await client.until_connected(timeout)
    return client


def _default_settings(kind: Any) -> Any:
    from pydantic import ValidationError

    try:
        return kind.settings()
    except ValidationError as error:
        needed = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        message = f"the adapter {kind.name!r} needs settings of a node file ({needed}): name that file with --node"
        raise InvalidConfig(message) from error


def _judge(values: Mapping[str, Any], model: Model | None) -> list[_Reading]:
    """Each value as the node would take it, with its unit, or with what the model refuses; in the order of names."""
    from twingateway.validation.model import CompiledModel, Direction

    compiled = None if model is None else CompiledModel(model)
    readings = []
    for name, value in sorted(values.items()):
        known = None if model is None else model.properties.get(name)
        unit, problem = "" if known is None else known.unit, ""
        try:
            taken = value if compiled is None else compiled.check(name, value, direction=Direction.IN)
        except (InvalidValue, TooLarge) as error:
            taken, problem = value, error.message
        readings.append(_Reading(name, taken, unit, problem))
    return readings


class _Models:
    """Where the models of the devices in `files` may be; `given` is the one that --model names."""

    def __init__(self, files: Iterable[Path], given: Path | None) -> None:
        self._given = given
        homes = dict.fromkeys(home for file in files for home in (file.parent, file.parent.parent))
        folders = [home / "models" for home in homes]
        self._paths = [given] if given else [path for folder in folders for path in sorted(folder.glob("*.*"))]
        self._read: dict[Path, list[Model]] = {}
        self._missed: set[ModelRef] = set()

    def of(self, device: LoadedDevice) -> Model | None:
        """None without a model, and, with one warning, when it is not found."""
        ref, profile = device.model_ref, device.source.base
        if ref is None:
            return None
        paths = self._paths if profile is None or self._given else [Path(profile.file), *self._paths]
        found = next((model for path in paths for model in self._in(path) if model.ref == ref), None)
        if found is None and ref not in self._missed:
            self._missed.add(ref)
            print(
                f"warning: the model {ref} was not found; values are not checked (name its file with --model)",
                file=sys.stderr,
            )
        return found

    def _in(self, path: Path) -> list[Model]:
        from twingateway.config.load import read_models

        if path not in self._read:
            self._read[path], problems = read_models([path])
            if problems and path == self._given:
                raise InvalidConfig(str(problems[0]), problems)
        return self._read[path]


def _log_to_stderr() -> None:
    """What adapters log must not get among the values; what they log in passing does not matter here."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _show(readings: list[_Reading], form: Form) -> None:
    if form is Form.TABLE:
        rows = ((each.name, each.value, each.unit, each.problem) for each in readings)
        print_table(("PROPERTY", "VALUE", "UNIT", ""), rows)
        return
    print_data(_document(readings), form)


def _line(device: str, readings: list[_Reading]) -> str:
    """One device of several, with what the model refuses at the end."""
    values = [f"{each.name}={shown(each.value)}{each.unit and ' ' + each.unit}" for each in readings]
    problems = [each.problem for each in readings if each.problem]
    return "  ".join([device, *values, *problems])


def _document(readings: list[_Reading]) -> dict[str, Any]:
    return {each.name: _as_data(each) for each in readings}


def _as_data(reading: _Reading) -> dict[str, Any]:
    optional = {"unit": reading.unit, "problem": reading.problem}
    return {"value": reading.value, **{key: text for key, text in optional.items() if text}}


def _broker_address(text: str | None) -> tuple[str, int] | None:
    from twingateway.config.types import parse_host_port

    if text is None:
        return None
    try:
        address = parse_host_port(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--broker") from error
    return address.host, address.port
