"""What a device's model says of a property, and for how long its history is therefore kept."""

from __future__ import annotations

from twingateway.gateway.models import ModelBook
from twingateway.gateway.queries import Queries
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Property


class PropertyFinder:
    """Call it for a property's part of the model; None if there is no model here, or nothing in it."""

    def __init__(self, queries: Queries, models: ModelBook) -> None:
        self._queries = queries
        self._models = models

    def __call__(self, device: DeviceId, name: str) -> Property | None:
        ref = self._queries.model_ref(device)
        found = None if ref is None else self._models.find(device.namespace, ref)
        return None if found is None else found.model.properties.get(name)


class Retention:
    """Call it for seconds; `default` is for properties of which no model says it."""

    def __init__(self, property_of: PropertyFinder, default: float) -> None:
        self._property_of = property_of
        self._default = default

    def __call__(self, device: DeviceId, name: str) -> float:
        found = self._property_of(device, name)
        return self._default if found is None or found.retention is None else found.retention
