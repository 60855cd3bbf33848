"""pydantic's errors as sentences for the person who wrote the file: where, what is wrong, what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import ErrorDetails

from twingateway.config.secrets import Expanded
from twingateway.config.source import Source
from twingateway.errors import Problem
from twingateway.validation.explain import guess, shown

_SECRET_WORDS = ("auth", "password", "secret", "token", "key", "credential")

#: pydantic error type → what was expected; `{…}` are names in its context. For types that are not here pydantic's own
#: message is clear enough.
_EXPECTED: dict[str, str] = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "path_type": "must be a path",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "is too short: at least {min_length}",
    "too_long": "is too long: at most {max_length}",
    "string_pattern_mismatch": "must match {pattern}",
}
#: pydantic error type → the name of the rule, where JSON Schema has one.
_RULES: dict[str, str] = {
    "missing": "required",
    "extra_forbidden": "additionalProperties",
    "greater_than": "exclusiveMinimum",
    "greater_than_equal": "minimum",
    "less_than": "exclusiveMaximum",
    "less_than_equal": "maximum",
    "literal_error": "enum",
    "string_pattern_mismatch": "pattern",
    "string_too_short": "minLength",
    "string_too_long": "maxLength",
    "too_short": "minItems",
    "too_long": "maxItems",
}


def explain(
    error: ValidationError,
    model: type[BaseModel],
    source: Source,
    expanded: Expanded,
    base: tuple[str, ...] = (),
) -> list[Problem]:
    """Every error of validating the part of `source` at `base` against `model`, but none of a value whose environment
    variable is missing: that problem is known already."""
    part = _at(expanded.data, base)
    unset = {problem.path for problem in expanded.problems}
    problems: dict[tuple[tuple[str, ...], str], Problem] = {}
    for detail in error.errors(include_url=False):
        inner = _document_path(detail, part)
        message = expanded.redact(_sentence(detail, inner, model))
        path = base + inner
        if ".".join(path) in unset:
            continue
        problems.setdefault((path, message), source.problem(message, path, _rule(detail["type"])))
    return list(problems.values())


def _rule(error_type: str) -> str:
    if error_type.endswith(("_type", "_parsing")) or error_type == "int_from_float":
        return "type"
    return _RULES.get(error_type, error_type)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _document_path(detail: ErrorDetails, data: Any) -> tuple[str, ...]:
    """pydantic's location without what is not in the document: names of union members and validators."""
    path: list[str] = []
    location = detail["loc"]
    for position, part in enumerate(location):
        if _holds(data, part):
            data = data[part]
        elif not (detail["type"] == "missing" and position == len(location) - 1):
            continue
        path.append(str(part))
    at = detail.get("ctx", {}).get("at")
    return (*path, at) if at else tuple(path)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _sentence(detail: ErrorDetails, path: tuple[str, ...], model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind](path, model)
    if kind == "value_error":
        return str(context["error"])
    expected = _EXPECTED.get(kind)
    if expected is None:
        return _plain(detail["msg"])
    return expected.format(**context) + _shown(detail["input"], path)


def _plain(message: str) -> str:
    return message.replace("Input should", "should", 1) if message.startswith("Input should") else message


def _shown(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, dict | list):
        return f", not {'a mapping' if isinstance(value, dict) else 'a list'}"
    if any(word in key.lower() for key in path for word in _SECRET_WORDS):
        return ""
    return f", not {'empty' if value is None else shown(value)}"


def _missing(path: tuple[str, ...], model: type[BaseModel]) -> str:
    return "is required"


def _unknown_key(path: tuple[str, ...], model: type[BaseModel]) -> str:
    return f"unknown key {shown(path[-1])}{guess(path[-1], sorted(_known_keys(model, path[:-1])))}"


_SENTENCES: dict[str, Callable[[tuple[str, ...], type[BaseModel]], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_key,
}


def _known_keys(model: type[BaseModel], path: tuple[str, ...]) -> set[str]:
    """The keys that `model` knows at `path`, read from its JSON Schema."""
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return set()
    definitions = schema.get("$defs", {})
    places = list(_alternatives(schema, definitions))
    for key in path:
        places = [deeper for place in places for deeper in _step(place, key, definitions)]
    return {name for place in places for name in place.get("properties", {})}


def _step(place: dict[str, Any], key: str, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if key in place.get("properties", {}):
        yield from _alternatives(place["properties"][key], definitions)
        return
    for keyword in ("items", "additionalProperties"):
        if isinstance(place.get(keyword), dict):
            yield from _alternatives(place[keyword], definitions)


def _alternatives(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema itself, what it refers to, and the members of its unions."""
    if "$ref" in schema:
        yield from _alternatives(definitions.get(schema["$ref"].rsplit("/", 1)[-1], {}), definitions)
    yield schema
    for keyword in ("anyOf", "oneOf", "allOf"):
        for member in schema.get(keyword, []):
            yield from _alternatives(member, definitions)
