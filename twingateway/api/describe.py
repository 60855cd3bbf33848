"""What the OpenAPI document says about request bodies: their media types and one example of each."""

from __future__ import annotations

from typing import Any

_TWIN: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceTwin",
    "metadata": {"name": "hvac-1", "labels": {"site": "north"}},
    "spec": {"model": "hvac@1", "desiredProperties": {"setpoint": 21.5}},
}
_PATCH: dict[str, Any] = {
    "metadata": {"labels": {"site": "south"}},
    "spec": {"desiredProperties": {"setpoint": 22.0, "boost": None}},
}
_MODEL: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "hvac", "version": "1"},
    "spec": {
        "properties": {
            "temperature": {"type": "number", "unit": "Celsius", "access": "read"},
            "setpoint": {"type": "number", "unit": "Celsius", "minimum": 5, "maximum": 30, "access": "read-write"},
        }
    },
}


def _body(example: dict[str, Any], *media_types: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "object"}, "example": example} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}


TWIN_BODY = _body(_TWIN, "application/json")
PATCH_BODY = _body(_PATCH, "application/merge-patch+json", "application/json")
MODEL_BODY = _body(_MODEL, "application/json")
OVERRIDE_BODY = _body({"value": 21.5}, "application/json")
RESOLUTION_BODY = _body({"winner": "edge"}, "application/json")
MOVE_BODY = _body({"node": "edge-2"}, "application/json")
