import hashlib
import json
from typing import Any

import pytest

from twingateway.twin.model import Access, ModelRef, Property, PropertyType
from twingateway.twin.parse_model import canonical_json, parse_model, parse_property, render_property

DOCUMENT: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "hvac-unit", "version": "1.0"},
    "spec": {
        "description": "A unit",
        "properties": {
            "setpoint": {
                "type": "number",
                "unit": "Celsius",
                "minimum": 16,
                "maximum": 30,
                "step": 0.5,
                "access": "read-write",
                "idempotent": True,
            },
            "mode": {"type": "enum", "values": ["off", "heat"], "codes": [0, 4.0], "access": "write"},
            "limits": {
                "type": "object",
                "properties": {"low": {"type": "integer", "minimum": 0}, "high": {"type": "integer"}},
                "required": ["low", "high"],
            },
            "curve": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 8},
            "label": {"type": "string", "minLength": 1, "maxLength": 16},
            "on": {"type": "boolean"},
        },
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(DOCUMENT))
    document["spec"]["properties"]["setpoint"].update(changes)
    return document  # type: ignore[no-any-return]


def test_everything_a_document_says_is_in_the_model() -> None:
    model = parse_model(DOCUMENT)
    assert model.ref == ModelRef("hvac-unit", "1.0")
    assert model.description == "A unit"
    assert model.properties["setpoint"] == Property(
        PropertyType.NUMBER,
        Access.READ_WRITE,
        unit="Celsius",
        minimum=16,
        maximum=30,
        step=0.5,
        idempotent=True,
    )
    assert model.properties["mode"] == Property(PropertyType.ENUM, Access.WRITE, values=("off", "heat"), codes=(0, 4))
    limits = model.properties["limits"]
    assert limits.members["low"] == Property(PropertyType.INTEGER, minimum=0)
    assert limits.required == {"low", "high"}
    assert model.properties["curve"].items == Property(PropertyType.NUMBER)
    assert (model.properties["curve"].min_items, model.properties["curve"].max_items) == (2, 8)
    assert (model.properties["label"].min_length, model.properties["label"].max_length) == (1, 16)


def test_the_digest_is_of_the_documents_canonical_json() -> None:
    model = parse_model(DOCUMENT)
    assert model.digest == hashlib.sha256(canonical_json(dict(model.document)).encode()).hexdigest()


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return value


@pytest.mark.parametrize(
    "same_meaning",
    [
        reordered(DOCUMENT),
        changed(minimum=16.0, maximum=30.0),
        changed(description=""),
        {**DOCUMENT, "metadata": {**DOCUMENT["metadata"], "namespace": "plant"}},
        dict(parse_model(DOCUMENT).document),
        json.loads(canonical_json(dict(parse_model(DOCUMENT).document))),
    ],
)
def test_the_same_meaning_has_the_same_digest(same_meaning: dict[str, Any]) -> None:
    assert parse_model(same_meaning).digest == parse_model(DOCUMENT).digest


@pytest.mark.parametrize(
    "other_meaning",
    [
        changed(maximum=31),
        changed(unit="K"),
        changed(access="read"),
        changed(idempotent=False),
        changed(description="the wanted room temperature"),
        {**DOCUMENT, "metadata": {"name": "hvac-unit", "version": "1.1"}},
    ],
)
def test_another_meaning_has_another_digest(other_meaning: dict[str, Any]) -> None:
    assert parse_model(other_meaning).digest != parse_model(DOCUMENT).digest


@pytest.mark.parametrize("name", list(DOCUMENT["spec"]["properties"]))
def test_rendering_is_the_inverse_of_parsing(name: str) -> None:
    source = parse_model(DOCUMENT).properties[name]
    assert parse_property(render_property(source)) == source


def test_a_zero_bound_is_kept() -> None:
    assert render_property(Property(PropertyType.NUMBER, minimum=0, maximum=0)) == {
        "type": "number",
        "minimum": 0,
        "maximum": 0,
    }
