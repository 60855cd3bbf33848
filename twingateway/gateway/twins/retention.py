"""What a device's model says of a property, and for how long its history is therefore kept."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.devices.reporter import MODEL
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.twins.queries import Queries
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Property
from twingateway.twin.quality import MARKS
from twingateway.twin.register import RegisterKey, Section

_NONE: Mapping[str, Property] = MappingProxyType({})


class PropertyFinder:
    """Call it for a property's part of the model; None if there is no model here, or nothing in it. The model of a
    device of this node is known before that is durable, so that its first value is no exception."""

    def __init__(self, queries: Queries, models: ModelBook, statements: Statements) -> None:
        self._queries = queries
        self._models = models
        self._statements = statements

    def __call__(self, device: DeviceId, name: str) -> Property | None:
        return self.all(device).get(name)

    def all(self, device: DeviceId) -> Mapping[str, Property]:
        """Every property that the device's model has."""
        said = self._statements.value(RegisterKey(device, Section.PRESENCE, MODEL))
        ref = said if isinstance(said, str) else self._queries.model_ref(device)
        found = None if ref is None else self._models.find(device.namespace, ref)
        return _NONE if found is None else found.model.properties


class Retention:
    """Call it for seconds; `default` is for properties of which no model says it. What is known of the quality of a
    device's values (`MARKS`) is kept for as long as any of them."""

    def __init__(self, property_of: PropertyFinder, default: float) -> None:
        self._property_of = property_of
        self._default = default

    def __call__(self, device: DeviceId, name: str) -> float:
        if name == MARKS:
            stated = [each.retention or 0.0 for each in self._property_of.all(device).values()]
            return max([self._default, *stated])
        found = self._property_of(device, name)
        return self._default if found is None or found.retention is None else found.retention
