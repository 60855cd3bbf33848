"""The library function behind `twingateway validate`: a document of any kind → its problems.

One table says who checks which kind. Nothing of a node is needed, and none of the libraries that speak a protocol are
imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from twingateway.config import device, instances, load
from twingateway.config.node import NodeConfig
from twingateway.config.source import Source, load_files
from twingateway.errors import Problem
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin import document, parse_model
from twingateway.twin.identity import DEFAULT_NAMESPACE
from twingateway.twin.model import Model, ModelRef
from twingateway.validation.documents import check_model, check_twin
from twingateway.validation.explain import guess, shown
from twingateway.validation.model import CompiledModel, Direction
from twingateway.validation.report import Report, bounded

Document: TypeAlias = Mapping[str, Any]


def validate(
    source: str | Path | Document | Iterable[str | Path | Document],
    *,
    models: Iterable[Model | Document] = (),
    registry: AdapterRegistry | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Check files (paths) and documents (mappings); no problems means valid.

    A file may hold several documents. A document is a DeviceTwin, DeviceModel or Device by its `kind`, or a node file
    by its `node` section; a node file that is given as a path is checked with all files it names. A twin's values are
    checked against the model it names, if that is among `models` or among what is validated with it. `registry` holds
    the adapters to check devices with (default: the installed ones), `environ` what `${NAME}` stands for (default:
    the process's environment). Problems of files have a file and a line; nothing is raised for bad input. All that
    is wrong is told, in the order of the document; of one with more than a hundred problems the first, and that there
    are more (rule `more`).
    """
    return list(check(source, models=models, registry=registry, environ=environ).problems)


def check(
    source: str | Path | Document | Iterable[str | Path | Document],
    *,
    models: Iterable[Model | Document] = (),
    registry: AdapterRegistry | None = None,
    environ: Mapping[str, str] | None = None,
    of_node: Callable[[NodeConfig], Iterable[Problem]] = lambda config: (),
) -> Report:
    """As `validate`, with warnings apart from problems: what is unusual (an unknown unit), but not wrong. `of_node`:
    what else there is to say of a node file that is valid."""
    given = [source] if isinstance(source, str | Path | Mapping) else list(source)
    sources, problems = _sources(given)
    checks = _Checks(
        registry or AdapterRegistry.installed(),
        os.environ if environ is None else environ,
        _models(sources, models),
        of_node,
    )
    warnings: list[Problem] = []
    for each in sources:
        report = _check(each, checks)
        problems += report.problems
        warnings += report.warnings
    return Report(tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


@dataclass(frozen=True, slots=True)
class _Checks:
    """What the checkers need beside the document."""

    registry: AdapterRegistry
    environ: Mapping[str, str]
    models: Mapping[ModelRef, Model]
    of_node: Callable[[NodeConfig], Iterable[Problem]]


def _twin(source: Source, checks: _Checks) -> Report:
    report = check_twin(source.data)
    if not report.ok:
        return _located(source, report)
    twin = document.parse_twin(source.data, source.data["metadata"].get("namespace", DEFAULT_NAMESPACE))
    model = checks.models.get(twin.model) if twin.model is not None else None
    problems = _value_problems(twin, model) if model is not None else ()
    return _located(source, Report(bounded(problems), report.warnings))


def _value_problems(twin: document.TwinDocument, model: Model) -> Iterator[Problem]:
    """What the model says against the values of both sections."""
    compiled = CompiledModel(model)
    sections = (
        ("desiredProperties", twin.desired, Direction.DOWN),
        ("reportedProperties", twin.reported, Direction.IN),
    )
    for section, values, direction in sections:
        for name, value in values.items():
            for problem in compiled.problems(name, value, direction=direction):
                yield replace(problem, path=f"spec.{section}.{problem.path}")


def _model(source: Source, checks: _Checks) -> Report:
    return _located(source, check_model(source.data))


def _device(source: Source, checks: _Checks) -> Report:
    return Report(bounded(device.check_devices(source, checks.registry, checks.environ)[1]))


def _profile(source: Source, checks: _Checks) -> Report:
    return Report(tuple(device.check_profile(source, checks.registry, checks.environ)))


def _node(source: Source, checks: _Checks) -> Report:
    node, problems = load.check_node(source, checks.registry, checks.environ)
    if node is not None:
        problems += map(source.locate, checks.of_node(node.config))
    return Report(tuple(problems))


def _located(source: Source, report: Report) -> Report:
    return Report(
        tuple(source.locate(problem) for problem in report.problems),
        tuple(source.locate(warning) for warning in report.warnings),
    )


def _refused(problem: Problem) -> Report:
    return Report((problem,))


_Checker: TypeAlias = Callable[[Source, _Checks], Report]
_BY_KIND: dict[str, _Checker] = {
    document.KIND: _twin,
    parse_model.KIND: _model,
    device.KIND: _device,
    instances.PROFILE_KIND: _profile,
}


def _check(source: Source, checks: _Checks) -> Report:
    if not isinstance(source.data, dict):
        message = "a document must be a mapping with apiVersion, kind, metadata and spec"
        return _refused(source.problem(message, rule="type"))
    if "kind" not in source.data and "node" in source.data:
        return _node(source, checks)
    kind = source.data.get("kind")
    if kind is None:
        return _refused(source.problem("neither kind (a document) nor node (a node file) is here", rule="required"))
    checker = _BY_KIND.get(kind) if isinstance(kind, str) else None
    if checker is None:
        message = f"there is no kind {shown(kind)}{guess(str(kind), sorted(_BY_KIND))}"
        return _refused(source.problem(message, "kind", "enum"))
    return checker(source, checks)


def _sources(given: Sequence[str | Path | Document]) -> tuple[list[Source], list[Problem]]:
    sources: list[Source] = []
    problems: list[Problem] = []
    for item in given:
        if isinstance(item, Mapping):
            sources.append(Source(dict(item)))
            continue
        found = list(load_files([item])) or [Problem("holds no document", rule="required", file=str(item))]
        sources += [each for each in found if isinstance(each, Source)]
        problems += [each for each in found if isinstance(each, Problem)]
    return sources, problems


def _models(sources: Iterable[Source], given: Iterable[Model | Document]) -> dict[ModelRef, Model]:
    """The models to check twins with: those given, and the valid ones among what is validated."""
    documents: list[Any] = [
        source.data
        for source in sources
        if isinstance(source.data, dict) and source.data.get("kind") == parse_model.KIND
    ]
    found: dict[ModelRef, Model] = {}
    for model in given:
        if isinstance(model, Model):
            found[model.ref] = model
        else:
            documents.append(dict(model))
    for each in documents:
        if check_model(each).ok:
            parsed = parse_model.parse_model(each)
            found.setdefault(parsed.ref, parsed)
    return found
