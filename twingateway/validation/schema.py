"""A property of a model as a JSON Schema (2020-12), in keywords on which jsonschema and jsonschema-rs agree.

`step` is not among them: the two disagree on `multipleOf` with decimals, so it is checked by `Grid`. Integers get the
bounds ±(2^53 - 1) that every value has, so that a huge whole float is refused as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twingateway.twin.model import Property, PropertyType
from twingateway.twin.value import MAX_INTEGER

#: Every keyword that `compile_schema` uses. The differential test proves agreement on each of them.
KEYWORDS = frozenset(
    {
        "type",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "items",
        "minItems",
        "maxItems",
        "properties",
        "required",
        "additionalProperties",
    }
)

Schema = dict[str, Any]


def compile_schema(source: Property, *, closed: bool = True) -> Schema:
    """The JSON Schema of one property.

    closed: whether members that an object property does not list are refused. They are on the way to a device, where
    one is a mistake; a device may know more than its model, so on the way in they pass.
    """
    return _COMPILE[source.type](source, closed)


def _number(source: Property, closed: bool) -> Schema:
    return _stated({"type": "number", "minimum": source.minimum, "maximum": source.maximum})


def _integer(source: Property, closed: bool) -> Schema:
    low = -MAX_INTEGER if source.minimum is None else max(source.minimum, -MAX_INTEGER)
    high = MAX_INTEGER if source.maximum is None else min(source.maximum, MAX_INTEGER)
    return {"type": "integer", "minimum": low, "maximum": high}


def _boolean(source: Property, closed: bool) -> Schema:
    return {"type": "boolean"}


def _string(source: Property, closed: bool) -> Schema:
    return _stated({"type": "string", "minLength": source.min_length, "maxLength": source.max_length})


def _enum(source: Property, closed: bool) -> Schema:
    return {"enum": list(source.values)}


def _array(source: Property, closed: bool) -> Schema:
    items = compile_schema(source.items, closed=closed) if source.items is not None else None
    return _stated({"type": "array", "items": items, "minItems": source.min_items, "maxItems": source.max_items})


def _object(source: Property, closed: bool) -> Schema:
    schema: Schema = {"type": "object"}
    if source.members:
        schema["properties"] = {name: compile_schema(part, closed=closed) for name, part in source.members.items()}
        if closed:
            schema["additionalProperties"] = False
    if source.required:
        schema["required"] = sorted(source.required)
    return schema


def _stated(schema: Schema) -> Schema:
    return {keyword: argument for keyword, argument in schema.items() if argument is not None}


_COMPILE: dict[PropertyType, Callable[[Property, bool], Schema]] = {
    PropertyType.NUMBER: _number,
    PropertyType.INTEGER: _integer,
    PropertyType.BOOLEAN: _boolean,
    PropertyType.STRING: _string,
    PropertyType.ENUM: _enum,
    PropertyType.OBJECT: _object,
    PropertyType.ARRAY: _array,
}
