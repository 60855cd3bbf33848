"""The document form of a twin: `kind: DeviceTwin`.

Both functions deal in plain JSON data. `parse_twin` expects a document that the validation layer found valid, and
reads what a client may state; `status` is the node's own and is ignored on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.identity import DEFAULT_NAMESPACE, DeviceId
from twingateway.twin.model import ModelRef
from twingateway.twin.value import Value

API_VERSION = "edge.iot.org/v1"
KIND = "DeviceTwin"


@dataclass(frozen=True, slots=True)
class TwinDocument:
    """What a DeviceTwin document says. Properties that are null in the document are not here."""

    id: DeviceId
    labels: dict[str, str]
    model: ModelRef | None
    desired: dict[str, Value]
    reported: dict[str, Value]


def parse_twin(document: Value, namespace: str = DEFAULT_NAMESPACE) -> TwinDocument:
    """Read a validated DeviceTwin document.

    `namespace` is the caller's, from its credential. Raises InvalidDocument when the document names another one, and
    InvalidValue when its name is not a device name.
    """
    metadata = _part(document, "metadata")
    stated = metadata.get("namespace", namespace)
    if stated != namespace:
        problem = Problem(f"this is {stated!r}, but you act in {namespace!r}", "metadata.namespace", "namespace")
        raise InvalidDocument(str(problem), [problem])
    spec = _part(document, "spec")
    model = spec.get("model")
    return TwinDocument(
        id=DeviceId.parse(f"{namespace}/{metadata['name']}"),
        labels={name: str(value) for name, value in _part(metadata, "labels").items()},
        model=ModelRef.parse(str(model)) if model is not None else None,
        desired=_present(_part(spec, "desiredProperties")),
        reported=_present(_part(spec, "reportedProperties")),
    )


def render_twin(
    id: DeviceId,
    *,
    labels: Mapping[str, str],
    model: ModelRef | None,
    desired: Mapping[str, Value],
    reported: Mapping[str, Value],
) -> dict[str, Value]:
    """The inverse of `parse_twin`; the default namespace, empty labels and an absent model are left out."""
    metadata: dict[str, Value] = {"name": id.name}
    if id.namespace != DEFAULT_NAMESPACE:
        metadata["namespace"] = id.namespace
    if labels:
        metadata["labels"] = dict(labels)
    spec: dict[str, Value] = {"model": str(model)} if model is not None else {}
    spec["desiredProperties"] = _present(desired)
    spec["reportedProperties"] = _present(reported)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _part(document: Value, name: str) -> dict[str, Value]:
    part = document.get(name) if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}


def _present(properties: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in properties.items() if value is not None}
