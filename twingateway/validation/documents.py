"""Checking DeviceTwin and DeviceModel documents: shape by the shipped schemas, then meaning by hand.

jsonschema-rs says whether the shape is right; only a wrong one costs the import of jsonschema. Meaning is looked at
when the shape is right, so its checks may rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from jsonschema_rs import Draft202012Validator, ValidationError
from twingateway_schemas import load

from twingateway.errors import InvalidValue, Problem, TooLarge
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise
from twingateway.validation.refusals import refusals
from twingateway.validation.report import Report, bounded
from twingateway.validation.units import known_unit

#: A document holds many values, each with the limits of a value, and nests its own levels around them.
DOCUMENT_DEPTH = 64
DOCUMENT_BYTES = 4 * 1024 * 1024

Meaning = Callable[[dict[str, Value]], Iterator[Problem]]


def check_twin(document: object) -> Report:
    """Check a DeviceTwin document, given as plain Python data (dict, list, str, int, float, bool, None)."""
    return Report(bounded(_check(document, "device-twin", _twin_problems)))


def check_model(document: object) -> Report:
    """Check a DeviceModel document, given as plain Python data. Unknown units are warnings."""
    found = list(_check(document, "device-model", _model_problems))
    problems = bounded(problem for problem in found if problem.rule != "unit")
    return Report(problems, bounded(problem for problem in found if problem.rule == "unit"))


def check_shape(document: object, schema: str) -> Report:
    """Check any document against the shipped schema of this name, and nothing else."""
    return Report(bounded(_check(document, schema, lambda _: iter(()))))


def _check(document: object, schema: str, meaning: Meaning) -> Iterable[Problem]:
    try:
        plain = normalise(document, max_depth=DOCUMENT_DEPTH, max_bytes=DOCUMENT_BYTES)
    except InvalidValue as error:
        return dict.fromkeys(refusals(document)) or (error.problem,)
    except TooLarge as error:
        return (Problem(error.message, rule=str(error.detail["rule"])),)
    validator = _validator(schema)
    if isinstance(plain, dict) and validator.is_valid(plain):
        return meaning(plain)
    from twingateway.validation.explain import problems

    # Where jsonschema sees nothing wrong (its `$` matches before a final line break), the stricter one's words serve.
    return problems(load(schema), plain) or map(_strict_problem, validator.iter_errors(plain))


def _strict_problem(error: ValidationError) -> Problem:
    return Problem(error.message, ".".join(map(str, error.instance_path)), str(error.schema_path[-1]))


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(load(schema))


# --- twins ------------------------------------------------------------------------------------------------------


def _twin_problems(document: dict[str, Value]) -> Iterator[Problem]:
    spec = _object(document, "spec")
    for section in ("desiredProperties", "reportedProperties"):
        for name, value in _object(spec, section).items():
            path = f"spec.{section}.{name}"
            yield from _key_problems(name, path)
            try:
                normalise(value, path)
            except TooLarge as error:
                rule = str(error.detail["rule"])
                yield Problem(error.message.removeprefix(f"{path}: "), path, rule)


def _key_problems(name: str, path: str) -> Iterator[Problem]:
    if not name.isprintable():
        yield Problem(f"the property name {name!r} has characters that cannot be shown", path, "propertyNames")


# --- models -----------------------------------------------------------------------------------------------------

#: Which keys say something about which type; the others would be silently without effect.
_NUMERIC = ("minimum", "maximum", "step", "unit")
_KEYS_OF: dict[str, tuple[str, ...]] = {
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "boolean": (),
    "string": ("minLength", "maxLength", "unit"),
    "enum": ("values", "codes", "unit"),
    "object": ("properties", "required"),
    "array": ("items", "minItems", "maxItems", "unit"),
}
_COMMON_KEYS = frozenset({"type", "access", "conflict", "idempotent", "retention", "description"})
_RANGES = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))


def _model_problems(document: dict[str, Value]) -> Iterator[Problem]:
    for name, source in _object(_object(document, "spec"), "properties").items():
        path = f"spec.properties.{name}"
        yield from _key_problems(name, path)
        yield from _property_problems(source, path)


def _property_problems(source: Value, path: str) -> Iterator[Problem]:
    if not isinstance(source, dict):
        return
    kind = str(source["type"])
    for key in source:
        if key not in _COMMON_KEYS and key not in _KEYS_OF[kind]:
            yield Problem(f"`{key}` says nothing about type {kind}", f"{path}.{key}", "type")
    yield from _range_problems(source, path)
    if kind == "enum" and "values" not in source:
        yield Problem("an enum needs `values`, the list of what it may be", path, "values")
    values, codes = source.get("values"), source.get("codes")
    if isinstance(values, list) and isinstance(codes, list) and len(values) != len(codes):
        yield Problem(f"{len(codes)} codes for {len(values)} values", f"{path}.codes", "codes")
    members = _object(source, "properties")
    required = source.get("required")
    for place, name in enumerate(required if isinstance(required, list) else ()):
        if name not in members:
            yield Problem(f"{name!r} is required but not among `properties`", f"{path}.required.{place}", "required")
    unit = source.get("unit")
    if isinstance(unit, str) and not known_unit(unit):
        yield Problem(f"the unit {unit!r} is not known; it is kept as text", f"{path}.unit", "unit")
    for name, member in members.items():
        yield from _key_problems(name, f"{path}.properties.{name}")
        yield from _property_problems(member, f"{path}.properties.{name}")
    if "items" in source:
        yield from _property_problems(source["items"], f"{path}.items")


def _range_problems(source: dict[str, Value], path: str) -> Iterator[Problem]:
    for low_key, high_key in _RANGES:
        low, high = source.get(low_key), source.get(high_key)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield Problem(f"{low_key} {low} is above {high_key} {high}", f"{path}.{low_key}", low_key)


def _object(document: dict[str, Value], name: str) -> dict[str, Value]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}
