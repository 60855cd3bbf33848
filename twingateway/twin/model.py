"""What a kind of device has: its properties, their types, units, bounds and access.

A model is immutable by `name@version` plus the SHA-256 of its content. This module holds the frozen form; documents
are parsed by `parse_model` and checked in the validation layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from twingateway.twin.value import Value


class PropertyType(StrEnum):
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    ENUM = "enum"
    OBJECT = "object"
    ARRAY = "array"


class Access(StrEnum):
    READ = "read"
    WRITE = "write"
    READ_WRITE = "read-write"


class ConflictPolicy(StrEnum):
    """Whose value stands when a desired value was changed at the cloud while an edge overrode it."""

    CLOUD_WINS = "cloud-wins"
    EDGE_WINS = "edge-wins"
    MANUAL = "manual"


class ModelRef(NamedTuple):
    """`name@version`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """`name@version` → reference; raises ValueError."""
        name, at, version = text.partition("@")
        if not (name and at and version):
            raise ValueError(f"{text!r} is not a model reference; it looks like name@version")
        return cls(name, version)


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a model, or one member of an object or array property.

    `step` counts from `minimum` (or 0) in decimal arithmetic. `values` lists what an enum may be, `codes` the numbers
    by which devices say it, in the same order (none: 0, 1, 2 …). `items` describes an array's elements, `members` an
    object's. `idempotent` says that writing a value twice does no harm, so that a write with unknown outcome may be
    repeated. `retention`: seconds that history of it is kept, None for none. `conflict`: what becomes of a local
    override when the cloud changed the desired value at the same time.
    """

    type: PropertyType
    access: Access = Access.READ
    unit: str = ""
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    values: tuple[Value, ...] = ()
    codes: tuple[int, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    items: Property | None = None
    members: Mapping[str, Property] = field(default_factory=lambda: MappingProxyType({}))
    required: frozenset[str] = frozenset()
    idempotent: bool = False
    retention: float | None = None
    conflict: ConflictPolicy = ConflictPolicy.CLOUD_WINS

    @property
    def writable(self) -> bool:
        return self.access is not Access.READ

    @property
    def readable(self) -> bool:
        return self.access is not Access.WRITE


@dataclass(frozen=True, slots=True)
class Model:
    """A device model. `digest` is the hex SHA-256 of `document` in canonical JSON."""

    ref: ModelRef
    properties: Mapping[str, Property]
    description: str
    digest: str
    document: Mapping[str, Value]
