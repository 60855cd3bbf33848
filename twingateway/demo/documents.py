"""What the demo's device documents promise: which properties there are, and how exactly a twin shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from twingateway.config.source import Source, load_files
from twingateway.errors import InvalidDocument, Problem


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """`tolerances`: for each readable property how far the twin may be from the device, in the property's unit.
    `stamped`: the device sends its own time with its values."""

    name: str
    adapter: str
    tolerances: Mapping[str, float] = field(default_factory=dict)
    stamped: bool = False


def read_documents(folder: Path) -> list[DemoDevice]:
    """The devices of all documents in `folder`, by name. Raises InvalidDocument."""
    return sorted(map(_device, _sources(sorted(folder.glob("*.yaml")))), key=attrgetter("name"))


def _sources(files: Iterable[Path]) -> Iterable[Source]:
    for source in load_files(files):
        if isinstance(source, Problem):
            raise InvalidDocument(str(source), [source])
        yield source


def _device(source: Source) -> DemoDevice:
    document: Any = source.data
    spec = document["spec"]
    adapter = spec["adapter"]
    readable = {name: each for name, each in spec["properties"].items() if set(each) != {"command"}}
    return DemoDevice(
        name=document["metadata"]["name"],
        adapter=adapter,
        tolerances={name: _tolerance(adapter, each) for name, each in readable.items()},
        stamped="time" in _keys(spec),
    )


def _tolerance(adapter: str, settings: Mapping[str, Any]) -> float:
    """The deadband, and for a register that counts in steps one step. (In JSON a scale converts a unit and rounds
    nothing.)"""
    step = abs(float(settings.get("scale", 0))) if adapter == "modbus" else 0.0
    return step + float(settings.get("deadband", 0))


def _keys(part: Any) -> set[str]:
    if not isinstance(part, Mapping):
        return set()
    return set(part).union(*map(_keys, part.values()))
