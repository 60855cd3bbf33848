"""Models that another node has checked: what this version does not know of them is kept and passed on, not refused.

A person who submits a model is told of every word that means nothing (`check_model`). A peer may be newer than this
node: then what it says in words of its own is ignored here, but the document stays as it came, and so does its
digest, so that a tree of nodes may be upgraded in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from twingateway_schemas import load

from twingateway.errors import InvalidDocument
from twingateway.twin.document import API_VERSION
from twingateway.twin.model import Model, ModelRef
from twingateway.twin.parse_model import KIND, canonical_json, parse_model
from twingateway.twin.value import Value
from twingateway.validation.documents import check_model


def read_foreign(document: Value) -> tuple[Model, tuple[str, ...]]:
    """The model as far as it is understood here, and the paths of what was ignored.

    `document` is in the canonical form in which models travel. A property that makes no sense here is ignored whole:
    values of it pass unchecked, and none is written. Raises InvalidDocument for what is not a model of any version.
    """
    ref = _ref(document)
    ignored: list[str] = []
    properties: dict[str, Value] = {}
    for name, source in _object(_object(document).get("spec"), "properties").items():
        path = f"spec.properties.{name}"
        understood = _understood(source, path, ignored)
        if check_model(_document(ref, {name: understood})).problems:
            ignored.append(path)
        else:
            properties[name] = understood
    ignored += _unknown(document)
    description = _object(_object(document).get("spec")).get("description")
    model = parse_model(_document(ref, properties, description if isinstance(description, str) else ""))
    if not ignored:
        return model, ()
    whole = _object(document)
    digest = hashlib.sha256(canonical_json(whole).encode()).hexdigest()
    return replace(model, digest=digest, document=MappingProxyType(whole)), tuple(sorted(set(ignored)))


def _ref(document: Value) -> ModelRef:
    metadata = _object(_object(document).get("metadata"))
    name, version = metadata.get("name"), metadata.get("version")
    properties = _object(_object(document).get("spec")).get("properties")
    if isinstance(name, str) and isinstance(version, str) and isinstance(properties, dict):
        ref = ModelRef(name, version)
        if not check_model(_document(ref, {"any": {"type": "number"}})).problems:
            return ref
    raise InvalidDocument("this is not a DeviceModel: it has no name, version and properties")


def _document(ref: ModelRef, properties: Mapping[str, Value], description: str = "") -> dict[str, Value]:
    spec: dict[str, Value] = {"properties": dict(properties)}
    if description:
        spec["description"] = description
    metadata: dict[str, Value] = {"name": ref.name, "version": ref.version}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _understood(source: Value, path: str, ignored: list[str]) -> Value:
    """One property, or a part of one, without the members that this version does not know."""
    if not isinstance(source, dict):
        return source
    understood: dict[str, Value] = {}
    for key, value in source.items():
        if key not in _known_members():
            ignored.append(f"{path}.{key}")
        elif key == "items":
            understood[key] = _understood(value, f"{path}.items", ignored)
        elif key == "properties" and isinstance(value, dict):
            understood[key] = {n: _understood(part, f"{path}.properties.{n}", ignored) for n, part in value.items()}
        else:
            understood[key] = value
    return understood


@cache
def _known_members() -> frozenset[str]:
    return frozenset(load("device-model")["$defs"]["property"]["properties"])


def _unknown(document: Value) -> Iterator[str]:
    """What is ignored around the properties."""
    known = {"": ("apiVersion", "kind", "metadata", "spec"), "metadata": ("name", "version", "namespace")}
    for part, members in {**known, "spec": ("description", "properties")}.items():
        of = _object(_object(document).get(part)) if part else _object(document)
        yield from (f"{part}.{key}".lstrip(".") for key in of if key not in members)
    expected = {"apiVersion": API_VERSION, "kind": KIND}
    yield from (key for key, value in expected.items() if _object(document).get(key) != value)


def _object(document: Value, name: str = "") -> dict[str, Value]:
    part = document.get(name) if name and isinstance(document, dict) else document
    return part if isinstance(part, dict) else {}
