"""Why a value or document was refused, in words for people; the only importer of jsonschema.

jsonschema-rs decides, jsonschema finds the reasons, and the tables here word them: what was found, what was expected,
and what was probably meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from twingateway.errors import Problem
from twingateway.validation.report import MOST_PROBLEMS, in_document_order

if TYPE_CHECKING:
    from jsonschema import ValidationError

#: A ValidationError; its stubs make every field a union with an internal marker.
_Error: TypeAlias = Any

_SHOWN = 60  # characters of a refused value that are worth a person's time
_LISTED = 12  # alternatives that are

_KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FOUND: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "nothing (null)",
}


def problems(schema: Mapping[str, Any], instance: Any, path: str = "") -> list[Problem]:
    """What is wrong with `instance`, in its order; empty if nothing is. One more than `bounded` leaves at most.

    Paths are dotted and begin with `path`. An unknown key is reported at itself, a missing one at its object.
    """
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(schema).iter_errors(instance)
    found = (problem for error in errors for problem in _problems_of(error, path))
    return in_document_order(dict.fromkeys(islice(found, MOST_PROBLEMS + 1)), instance, path)


def explain(error: ValidationError) -> str:
    """One sentence fragment on one error: what is wrong and what was expected."""
    word = _WORDS.get(str(error.validator))
    return word(error) if word is not None else error.message


def shown(value: Any) -> str:
    """A value as a person wrote it (JSON), shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def guess(word: str, known: list[str]) -> str:
    """` (did you mean …?)`, or the known words, or nothing."""
    return meant(word, known) or (f"; expected {alternatives(known)}" if known else "")


def meant(word: str, known: list[str]) -> str:
    """` (did you mean …?)`, or nothing."""
    close = get_close_matches(word, known, n=1)
    return f" (did you mean {shown(close[0])}?)" if close else ""


def alternatives(values: list[Any]) -> str:
    """`"a", "b" or "c"`."""
    texts = [shown(value) for value in values[:_LISTED]]
    if len(values) > _LISTED:
        texts.append("…")
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _problems_of(error: _Error, base: str) -> Iterator[Problem]:
    path = ".".join(str(part) for part in (base, *error.absolute_path) if part != "")
    rule = str(error.validator)
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {})) if isinstance(error.schema, Mapping) else []
        for name in error.instance:
            if name not in known:
                where = f"{path}.{name}" if path else str(name)
                yield Problem(f"unknown key {shown(name)}{guess(str(name), known)}", where, rule)
    elif "propertyNames" in error.absolute_schema_path:
        yield Problem(f"the key {shown(error.instance)} {explain(error)}", path, rule)
    else:
        yield Problem(explain(error), path, rule)


def _expected(schema: Any) -> str:
    """What a schema asks for: `a number from 0 to 100`."""
    if not isinstance(schema, Mapping):
        return "something else"
    kind = schema.get("type")
    text = _KINDS.get(kind, "") if isinstance(kind, str) else " or ".join(_KINDS[each] for each in kind or ())
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = {
        (True, True): f" from {low} to {high}",
        (True, False): f", at least {low}",
        (False, True): f", at most {high}",
    }
    plain = kind == "integer" and high == 2**53 - 1 and low == -high
    return text + ("" if plain else bounds.get((low is not None, high is not None), ""))


def _type(error: _Error) -> str:
    value = error.instance
    found = _FOUND.get(type(value), type(value).__name__)
    hint = (
        f" (write {shown(str(value))})" if error.validator_value == "string" and type(value) in (int, float) else ""
    )
    kind = f"{shown(value)} is {found}" if type(value) in (int, float, str) else f"this is {found}"
    if isinstance(value, bool):
        kind = f"{shown(value)} is not {_KINDS.get(str(error.validator_value), 'that')}"
    elif error.validator_value == "integer" and isinstance(value, float):
        kind = f"{value} is not whole"
    return f"{kind}; expected {_expected(error.schema)}{hint}"


def _required(error: _Error) -> str:
    # jsonschema raises one error per missing name and tells which only in its message.
    missing = next((name for name in error.validator_value if error.message.startswith(repr(name))), "")
    schema = error.schema.get("properties", {}).get(missing, {}) if isinstance(error.schema, Mapping) else {}
    title = schema.get("title", "") if isinstance(schema, Mapping) else ""
    return f"{shown(missing)} is missing" + (f": {title[:1].lower()}{title[1:]}" if title else "")


def _enum(error: _Error) -> str:
    values = list(error.validator_value)
    texts = [value for value in values if isinstance(value, str)]
    hint = meant(error.instance, texts) if isinstance(error.instance, str) else ""
    return f"{shown(error.instance)} is not one of {alternatives(values)}{hint}"


def _pattern(error: _Error) -> str:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    wanted = schema.get("description", f"text like {error.validator_value}")
    return f"{shown(error.instance)} does not fit; expected {wanted[:1].lower()}{wanted[1:]}".rstrip(".")


def _counted(relation: str, one: str, many: str) -> Callable[[_Error], str]:
    def word(error: _Error) -> str:
        count = len(error.instance)
        return f"has {count} {one if count == 1 else many}, expected {relation} {error.validator_value}"

    return word


def _compared(relation: str) -> Callable[[_Error], str]:
    return lambda error: f"{shown(error.instance)} is {relation} {error.validator_value}"


_WORDS: dict[str, Callable[[_Error], str]] = {
    "type": _type,
    "required": _required,
    "enum": _enum,
    "const": lambda error: f"{shown(error.instance)} is not expected here, {shown(error.validator_value)} is",
    "pattern": _pattern,
    "minimum": _compared("below the minimum of"),
    "maximum": _compared("above the maximum of"),
    "exclusiveMinimum": _compared("not greater than"),
    "minLength": _counted("at least", "character", "characters"),
    "maxLength": _counted("at most", "character", "characters"),
    "minItems": _counted("at least", "item", "items"),
    "maxItems": _counted("at most", "item", "items"),
    "minProperties": _counted("at least", "entry", "entries"),
    "uniqueItems": lambda error: f"lists something twice: {shown(error.instance)}",
    "additionalProperties": lambda error: f"unknown key among {alternatives(list(error.instance))}",
}
