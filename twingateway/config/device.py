"""The shape of a device file: `kind: Device`, whose `spec` beyond `adapter` and `model` is its adapter kind's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from twingateway.adapter.kind import AdapterKind
from twingateway.config.explain import explain
from twingateway.config.instances import PROFILE_KIND, PROFILE_ONLY, RANGE_PATTERN, Instances
from twingateway.config.secrets import Expanded, expand_env
from twingateway.config.source import Source, load_files
from twingateway.config.types import Name, Section
from twingateway.errors import InvalidConfig, Problem, TwinGatewayError
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin.identity import DEFAULT_NAMESPACE, NAME_PATTERN, DeviceId
from twingateway.twin.model import ModelRef

KIND = "Device"


_REFERENCE = rf"{NAME_PATTERN}@{NAME_PATTERN}"


def _model_reference(text: str | None) -> str | None:
    if text is not None and re.fullmatch(_REFERENCE, text) is None:
        raise ValueError(f"{text!r} is not a model reference; it looks like name@version")
    return text


class DeviceMetadata(Section):
    """Who the device is."""

    name: Annotated[Name, WithJsonSchema({"type": "string", "pattern": rf"^({NAME_PATTERN}|.*\\{{.*)$"})]
    """Unique among the devices of the namespace; with numbers of the range where there is one."""
    namespace: Name | None = None
    """The tenant; the node's own if it is left out."""
    range: Annotated[str, Field(pattern=f"^{RANGE_PATTERN}$")] | dict[str, str] | None = Field(
        None, examples=["1..300", {"line": "1..10", "unit": "1..30"}]
    )
    """The document stands for as many devices; `{n}` in any text is the number of each."""


class DeviceSpec(BaseModel):
    """How the device is reached; everything but these two keys belongs to the adapter."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    adapter: str = Field(min_length=1)
    """The name of the adapter that speaks the device's protocol."""
    model: Annotated[
        str | None,
        AfterValidator(_model_reference),
        WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE}$", "examples": ["inverter@1.0.0"]}),
    ] = None
    """The device's model as `name@version`."""
    profile: str | None = None
    """A file with a `kind: DeviceProfile`, whose `spec` this one is merged upon; relative to this file."""


class DeviceDocument(Section):
    """One device that a node's adapter runs."""

    api_version: Literal["edge.iot.org/v1"] = Field(alias="apiVersion")
    kind: Literal["Device"]
    metadata: DeviceMetadata
    spec: DeviceSpec


#: The keys of `spec` that are ours; all others are checked by the adapter kind's `device` model.
OWN_KEYS = frozenset(DeviceSpec.model_fields)


@dataclass(frozen=True, slots=True)
class LoadedDevice:
    """One valid device document. `settings` is an instance of its adapter kind's `device` model."""

    id: DeviceId
    adapter: str
    model_ref: ModelRef | None
    settings: Any
    source: Source


class ProfileMetadata(Section):
    """What the profile is called."""

    name: Name


class ProfileSpec(DeviceSpec):
    """What all devices of a type have in common."""

    tests: list[dict[str, Any]] = Field(default_factory=list)
    """What a device sent, and the values it means; `twingateway adapter test` runs them."""


class ProfileDocument(Section):
    """One type of device: everything of a device document's `spec` but what differs between devices."""

    api_version: Literal["edge.iot.org/v1"] = Field(alias="apiVersion")
    kind: Literal["DeviceProfile"]
    metadata: ProfileMetadata
    spec: ProfileSpec


def check_profile(source: Source, registry: AdapterRegistry, environ: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong with a profile; what its devices have to add may be missing."""
    expanded = expand_env(source, environ)
    problems = list(expanded.problems)
    try:
        document = ProfileDocument.model_validate(expanded.data)
        kind = registry.get(document.spec.adapter)
    except ValidationError as error:
        return problems + explain(error, ProfileDocument, source, expanded)
    except TwinGatewayError as error:
        return [*problems, source.problem(expanded.redact(error.message), ("spec", "adapter"), "adapter")]
    rest = {key: value for key, value in expanded.data["spec"].items() if key not in OWN_KEYS | PROFILE_ONLY}
    _, found = check_part(kind.device, rest, kind, source, expanded, ("spec",))
    return problems + [each for each in found if not (each.rule == "required" and each.path.count(".") < 3)]


@dataclass(frozen=True, slots=True)
class LoadedProfile:
    """A profile as a device without anything of its own would have it. `tests` are as written."""

    device: LoadedDevice
    tests: tuple[Mapping[str, Any], ...]


def settings_of_profile(
    path: Path, own: Mapping[str, Any], registry: AdapterRegistry, environ: Mapping[str, str]
) -> LoadedProfile:
    """The settings of a device that names the profile in `path` and has `own` besides. Raises InvalidConfig."""
    metadata = {"name": "profile"}
    spec = {"profile": str(path.resolve()), **own}
    source = Source({"apiVersion": "edge.iot.org/v1", "kind": KIND, "metadata": metadata, "spec": spec}, str(path))
    device, problems = _check_first(source, registry, environ)
    if device is None or device.source.base is None:
        raise InvalidConfig(str(problems[0]), problems)
    return LoadedProfile(device, tuple(device.source.base.data["spec"].get("tests") or ()))


def _check_first(
    source: Source, registry: AdapterRegistry, environ: Mapping[str, str]
) -> tuple[LoadedDevice | None, list[Problem]]:
    """The first device of a document, or None and everything that is wrong with it."""
    first = next(Instances().of(source))
    return (None, [first]) if isinstance(first, Problem) else _check_instance(first, registry, environ)


def _check_instance(
    source: Source, registry: AdapterRegistry, environ: Mapping[str, str], namespace: str = DEFAULT_NAMESPACE
) -> tuple[LoadedDevice | None, list[Problem]]:
    expanded = expand_env(source, environ)
    problems = list(expanded.problems)
    document, settings = None, None
    try:
        document = DeviceDocument.model_validate(expanded.data)
    except ValidationError as error:
        problems += explain(error, DeviceDocument, source, expanded)
    spec = expanded.data.get("spec") if isinstance(expanded.data, dict) else None
    if isinstance(spec, dict) and isinstance(spec.get("adapter"), str):
        try:
            kind = registry.get(spec["adapter"])
        except TwinGatewayError as error:
            problems.append(source.problem(expanded.redact(error.message), ("spec", "adapter"), "adapter"))
        else:
            rest = {key: value for key, value in spec.items() if key not in OWN_KEYS}
            settings, found = check_part(kind.device, rest, kind, source, expanded, ("spec",))
            problems += found
    if document is None or settings is None or problems:
        return None, sorted(problems, key=attrgetter("line"))
    metadata, model = document.metadata, document.spec.model
    identity = DeviceId(metadata.namespace or namespace, metadata.name)
    reference = ModelRef.parse(model) if model is not None else None
    return LoadedDevice(identity, document.spec.adapter, reference, settings, source), []


def check_part(
    model: type[BaseModel],
    data: Any,
    kind: AdapterKind,
    source: Source,
    expanded: Expanded,
    base: tuple[str, ...],
) -> tuple[BaseModel | None, list[Problem]]:
    """Validate what belongs to an adapter; a failure of the adapter's own code is a problem at `base`."""
    try:
        return model.model_validate(data, context={"folder": Path(source.file).parent}), []
    except ValidationError as error:
        return None, explain(error, model, source, expanded, base)
    except Exception as error:
        fault = expanded.redact(f"the adapter {kind.name!r} failed to check this: {type(error).__name__}: {error}")
        return None, [source.problem(fault, base, "adapter")]


def read_devices(
    paths: Iterable[str | Path],
    registry: AdapterRegistry,
    environ: Mapping[str, str],
    namespace: str = DEFAULT_NAMESPACE,
) -> tuple[list[LoadedDevice], list[Problem]]:
    """Every valid device of the files, and every problem of all of them; what many of a range have alike, once."""
    return _check_instances(_instances(paths), registry, environ, namespace)


def check_devices(
    source: Source, registry: AdapterRegistry, environ: Mapping[str, str]
) -> tuple[list[LoadedDevice], list[Problem]]:
    """As `read_devices`, of one document."""
    return _check_instances(Instances().of(source), registry, environ, DEFAULT_NAMESPACE)


def _check_instances(
    instances: Iterable[Source | Problem], registry: AdapterRegistry, environ: Mapping[str, str], namespace: str
) -> tuple[list[LoadedDevice], list[Problem]]:
    problems: list[Problem] = []
    alike = _Alike()
    devices: dict[DeviceId, LoadedDevice] = {}
    for item in instances:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        device, found = _check_instance(item, registry, environ, namespace)
        problems += [problem for problem in found if alike.is_new(item, problem)]
        if device is None:
            continue
        if device.id in devices:
            first = devices[device.id].source
            where = f"{first.file}:{first.line_of('metadata.name')}"
            message = f"another device is called {device.id.name!r} already: {where}"
            clash = item.problem(message, "metadata.name", "unique")
            problems += [clash] if alike.is_new(item, clash) else []
            continue
        devices[device.id] = device
    return list(devices.values()), [alike.told(problem) for problem in problems]


class _Alike:
    """Problems that several devices have, whose documents are one range or lie upon one profile."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, str, str], tuple[Problem, str, Source]] = {}
        """By what the documents of a range have in common. The source is kept so that no other gets its id."""
        self._others: dict[Problem, set[str]] = {}
        """Of each problem that is shown: the names of who else has one like it."""
        self._varied: set[Problem] = set()
        """Those which are said differently of others: then they are not plain from the document alone."""

    def is_new(self, source: Source, problem: Problem) -> bool:
        """False if one before has it too; a device may have several at one place."""
        metadata = source.data.get("metadata") if isinstance(source.data, dict) else None
        name = str(metadata.get("name")) if isinstance(metadata, dict) else ""
        key = id(source.lines), problem.path, problem.rule
        first, whose, _ = self._first.setdefault(key, (problem, name, source))
        is_new = (first is problem or whose == name) and problem not in self._others
        if is_new:
            self._others[problem] = set()
        elif whose != name:
            self._others[first].add(name)
            self._varied.update({first} if problem != first else ())
        return is_new

    def told(self, problem: Problem) -> Problem:
        """As it is to be shown: with how many more it concerns."""
        if problem not in self._varied:
            return problem
        whose = next(name for first, name, _ in self._first.values() if first == problem)
        others = len(self._others[problem])
        return replace(problem, message=f"{problem.message} (so {whose}, and {others} more of its range)")


def _instances(paths: Iterable[str | Path]) -> Iterator[Source | Problem]:
    """The documents of all files, ranges and profiles resolved; profiles themselves are left out."""
    instances = Instances()
    for item in load_files(paths):
        if isinstance(item, Problem):
            yield item
        elif not (isinstance(item.data, dict) and item.data.get("kind") == PROFILE_KIND):
            yield from instances.of(item)


def load_devices(
    paths: Iterable[str | Path],
    registry: AdapterRegistry,
    *,
    environ: Mapping[str, str] | None = None,
    namespace: str = DEFAULT_NAMESPACE,
) -> list[LoadedDevice]:
    """All devices of the files, in order. Raises InvalidConfig with the problems of all files."""
    devices, problems = read_devices(paths, registry, os.environ if environ is None else environ, namespace)
    if problems:
        raise InvalidConfig(str(problems[0]), problems)
    return devices
