"""A node file and everything it names (adapters' settings, device files, model files), checked as a whole.

All of it is looked at before anything is refused, so that one run shows every problem.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from twingateway.config.device import LoadedDevice, check_part, read_devices
from twingateway.config.explain import explain
from twingateway.config.instances import PROFILE_KIND
from twingateway.config.node import NodeConfig
from twingateway.config.secrets import Expanded, expand_env
from twingateway.config.source import Source, load_file, load_files
from twingateway.errors import InvalidConfig, InvalidDocument, Problem, TwinGatewayError
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin.identity import DEFAULT_NAMESPACE
from twingateway.twin.model import Model, ModelRef
from twingateway.twin.parse_model import parse_model
from twingateway.validation.documents import check_model


@dataclass(frozen=True, slots=True)
class LoadedNode:
    """A valid node file. `config.adapters` holds validated settings, also of adapters that only devices name.

    `models` are in the order of their files; `Model.document` is the document form.
    """

    config: NodeConfig
    devices: tuple[LoadedDevice, ...]
    models: tuple[Model, ...]
    file: Path


def load_node(path: Path, registry: AdapterRegistry, *, environ: Mapping[str, str] | None = None) -> LoadedNode:
    """Read a node file. Raises InvalidConfig with every problem of it and of all files it names."""
    node, problems = check_node(_document(path), registry, os.environ if environ is None else environ)
    if node is None:
        raise InvalidConfig(str(problems[0]), problems)
    return node


def find_store(path: Path, *, environ: Mapping[str, str] | None = None) -> Path:
    """Where a node's store is, by its node file, whatever is wrong with the rest of that. Raises InvalidConfig."""
    source = _document(path)
    written = source.data if isinstance(source.data, dict) else {}
    part = replace(source, data={key: written[key] for key in ("node", "store") if key in written})
    expanded = expand_env(part, os.environ if environ is None else environ)
    problems = list(expanded.problems)
    try:
        config = NodeConfig.model_validate(expanded.data, context={"folder": path.parent})
    except ValidationError as error:
        problems += explain(error, NodeConfig, part, expanded)
    if problems:
        raise InvalidConfig(str(problems[0]), problems)
    return config.store_path


def _document(path: Path) -> Source:
    """The one document of a node file. Raises InvalidConfig."""
    try:
        sources = load_file(path)
    except InvalidDocument as error:
        raise InvalidConfig(error.message, error.problems) from error
    if len(sources) != 1:
        problem = Problem(f"a node file holds one document, this one {len(sources) or 'none'}", file=str(path))
        raise InvalidConfig(str(problem), [problem])
    return sources[0]


def check_node(
    source: Source, registry: AdapterRegistry, environ: Mapping[str, str]
) -> tuple[LoadedNode | None, list[Problem]]:
    """The node of a document with the files it names, or None and everything that is wrong with them."""
    expanded = expand_env(source, environ)
    problems = list(expanded.problems)
    adapters, found = _check_adapters(source, expanded, registry)
    problems += found
    config: NodeConfig | None = None
    try:
        config = NodeConfig.model_validate(expanded.data, context={"folder": Path(source.file).parent})
    except ValidationError as error:
        problems += explain(error, NodeConfig, source, expanded)
    problems.sort(key=attrgetter("line"))
    namespace = config.node.namespace if config else DEFAULT_NAMESPACE
    devices, found = read_devices(_named_files(source, expanded, "devices", problems), registry, environ, namespace)
    problems += found
    profiles = [Path(device.source.base.file) for device in devices if device.source.base is not None]
    named = (*profiles, *_named_files(source, expanded, "models", problems))
    models, found = read_models({path.resolve(): path for path in named}.values())
    problems += found
    if config is not None:
        problems += _foreign_devices(devices, namespace)
    problems += _imply_adapters(adapters, devices, registry)
    if config is None or problems:
        return None, problems
    config = config.model_copy(update={"adapters": adapters})
    return LoadedNode(config, tuple(devices), tuple(models), Path(source.file)), []


def read_models(paths: Iterable[str | Path]) -> tuple[list[Model], list[Problem]]:
    """Every valid model of the files, and every problem of all of them."""
    problems: list[Problem] = []
    models: dict[ModelRef, tuple[Model, Source]] = {}
    for source in load_files(paths):
        if isinstance(source, Problem):
            problems.append(source)
            continue
        if isinstance(source.data, dict) and source.data.get("kind") == PROFILE_KIND:
            continue
        found = [source.locate(problem) for problem in check_model(source.data).problems]
        problems += found
        if found:
            continue
        model = parse_model(source.data)
        first, written = models.setdefault(model.ref, (model, source))
        if first.digest != model.digest:
            where = f"{written.file}:{written.line_of('metadata')}"
            message = f"{model.ref} has other content in {where}; give it another version"
            problems.append(source.problem(message, "metadata.version", "unique"))
    return [model for model, _ in models.values()], problems


def _check_adapters(
    source: Source, expanded: Expanded, registry: AdapterRegistry
) -> tuple[dict[str, BaseModel], list[Problem]]:
    section = expanded.data.get("adapters") if isinstance(expanded.data, dict) else None
    adapters: dict[str, BaseModel] = {}
    problems: list[Problem] = []
    for name, written in (section if isinstance(section, dict) else {}).items():
        at = ("adapters", name)
        try:
            kind = registry.get(name)
        except TwinGatewayError as error:
            problems.append(source.problem(expanded.redact(error.message), at, "adapter"))
            continue
        data = {} if written is None else written
        settings, found = check_part(kind.settings, data, kind, source, expanded, at)
        problems += found
        if settings is not None:
            adapters[name] = settings
    return adapters, problems


def _imply_adapters(
    adapters: dict[str, BaseModel], devices: Iterable[LoadedDevice], registry: AdapterRegistry
) -> list[Problem]:
    """Add default settings for adapters that devices name and the node file does not."""
    problems: list[Problem] = []
    missing = {device.adapter: device.source for device in reversed(list(devices)) if device.adapter not in adapters}
    for name, source in missing.items():
        try:
            adapters[name] = registry.get(name).settings()
        except ValidationError as error:
            keys = ", ".join(".".join(str(part) for part in detail["loc"]) for detail in error.errors())
            message = f"the adapter {name!r} needs settings under `adapters: {name}:` of the node file: {keys}"
            problems.append(source.problem(message, "spec.adapter", "adapter"))
    return problems


def _foreign_devices(devices: Iterable[LoadedDevice], namespace: str) -> list[Problem]:
    return [
        device.source.problem(
            f"the device is in {device.id.namespace!r}, but the node in {namespace!r}; a node runs one namespace",
            "metadata.namespace",
            "namespace",
        )
        for device in devices
        if device.id.namespace != namespace
    ]


def _named_files(source: Source, expanded: Expanded, key: str, problems: list[Problem]) -> list[Path]:
    """The files that the patterns under `key` match, sorted within each pattern, each once; none for a document
    that came from no file."""
    if not source.file:
        return []
    patterns: Any = expanded.data.get(key) if isinstance(expanded.data, dict) else None
    folder = Path(source.file).parent
    files: dict[Path, None] = {}
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else []):
        if not isinstance(pattern, str):
            continue
        found = [
            Path(name)
            for name in sorted(glob.glob(os.path.join(glob.escape(str(folder)), pattern), recursive=True))
            if os.path.isfile(name)
        ]
        if not found and (message := _nothing_matches(folder, pattern)):
            problems.append(source.problem(message, (key, str(index)), "file"))
        files.update(dict.fromkeys(found))
    return list(files)


def _nothing_matches(folder: Path, pattern: str) -> str:
    """Why a pattern without match is a mistake; empty when it is only a folder with no files yet."""
    if not glob.has_magic(pattern):
        return f"there is no file {folder / pattern}"
    plain = [part for part in Path(pattern).parent.parts if not glob.has_magic(part)]
    start = folder.joinpath(*plain)
    return "" if start.is_dir() else f"there is no folder {start}"
