"""The document form of a model, `kind: DeviceModel`, to its frozen form.

A model's digest covers its *meaning*: the document is rendered again from what was understood, with defaults left
out, whole floats written as integers and `required` sorted, and that is hashed as canonical JSON. So the same model
in YAML and JSON, with keys in any order, has one digest; a changed bound, unit or description has another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from types import MappingProxyType

from twingateway.twin.document import API_VERSION
from twingateway.twin.duration import parse_duration, render_duration
from twingateway.twin.model import Access, ConflictPolicy, Model, ModelRef, Property, PropertyType
from twingateway.twin.value import MAX_INTEGER, Value

KIND = "DeviceModel"

#: Document key → field of `Property`, for those that are the same plain value in both.
PLAIN_FIELDS = {
    "unit": "unit",
    "description": "description",
    "minimum": "minimum",
    "maximum": "maximum",
    "step": "step",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "idempotent": "idempotent",
}


def parse_model(document: Value) -> Model:
    """Read a DeviceModel document that the validation layer found valid."""
    metadata, spec = _object(document, "metadata"), _object(document, "spec")
    ref = ModelRef(str(metadata["name"]), str(metadata["version"]))
    description = str(spec.get("description", ""))
    properties = {name: parse_property(part) for name, part in _object(spec, "properties").items()}
    meaning = _render_model(ref, description, properties)
    return Model(
        ref=ref,
        properties=MappingProxyType(properties),
        description=description,
        digest=hashlib.sha256(canonical_json(meaning).encode()).hexdigest(),
        document=MappingProxyType(meaning),
    )


def canonical_json(value: Value) -> str:
    """One text per value: keys sorted, no white space, no escapes beyond what JSON demands."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_property(document: Value) -> Property:
    """One entry of `spec.properties`, or one member of an object, or the items of an array."""
    source = _object(document)
    plain = {field: _whole(source.get(key)) for key, field in PLAIN_FIELDS.items()}
    stated = {field: value for field, value in plain.items() if value is not None}
    retention = source.get("retention")
    items, members = source.get("items"), _object(source, "properties")
    return Property(
        type=PropertyType(str(source["type"])),
        access=Access(str(source.get("access", Access.READ))),
        conflict=ConflictPolicy(str(source.get("conflict", ConflictPolicy.CLOUD_WINS))),
        values=tuple(_whole(value) for value in _list(source, "values")),
        codes=tuple(code for code in map(_whole, _list(source, "codes")) if isinstance(code, int)),
        items=parse_property(items) if items is not None else None,
        members=MappingProxyType({name: parse_property(part) for name, part in members.items()}),
        required=frozenset(str(name) for name in _list(source, "required")),
        retention=None if retention is None else parse_duration(retention),
        **stated,  # type: ignore[arg-type]  # the schema has checked each of PLAIN_FIELDS
    )


def render_property(source: Property) -> dict[str, Value]:
    """The inverse of `parse_property`, without what is default."""
    default = Property(source.type)
    document: dict[str, Value] = {"type": source.type.value}
    if source.access is not default.access:
        document["access"] = source.access.value
    if source.conflict is not default.conflict:
        document["conflict"] = source.conflict.value
    for key, field in PLAIN_FIELDS.items():
        value = getattr(source, field)
        if value != getattr(default, field):
            document[key] = value
    parts: dict[str, Callable[[], Value]] = {
        "retention": lambda: None if source.retention is None else render_duration(source.retention),
        "values": lambda: list(source.values),
        "codes": lambda: list(source.codes),
        "items": lambda: render_property(source.items) if source.items else None,
        "properties": lambda: {name: render_property(member) for name, member in source.members.items()},
        "required": lambda: list[Value](sorted(source.required)),
    }
    document.update({key: value for key, render in parts.items() if (value := render())})
    return document


def _render_model(ref: ModelRef, description: str, properties: dict[str, Property]) -> dict[str, Value]:
    spec: dict[str, Value] = {"description": description} if description else {}
    spec["properties"] = {name: render_property(source) for name, source in properties.items()}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": ref.name, "version": ref.version},
        "spec": spec,
    }


def _whole(value: Value) -> Value:
    # 16.0 and 16 mean the same bound; YAML and JSON writers disagree about which they emit.
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_INTEGER:
        return int(value)
    return value


def _object(document: Value, name: str = "") -> dict[str, Value]:
    part = document.get(name) if name and isinstance(document, dict) else document
    return part if isinstance(part, dict) else {}


def _list(document: dict[str, Value], name: str) -> list[Value]:
    part = document.get(name)
    return part if isinstance(part, list) else []
