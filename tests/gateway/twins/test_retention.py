"""What a device's model says is known as early as its first value."""

from __future__ import annotations

from tests.gateway.workbench import PUMP, bench, turns
from twingateway.gateway.devices.reporter import MODEL
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.twins.retention import PropertyFinder, Retention
from twingateway.twin.parse_model import parse_model
from twingateway.twin.register import RegisterKey, Section

DOCUMENT = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "pump", "version": "1"},
    "spec": {"properties": {"flow": {"type": "number", "retention": "1d"}}},
}


async def test_a_model_counts_from_when_it_is_said_though_that_is_not_durable_yet() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", parse_model(DOCUMENT))
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        property_of = PropertyFinder(b.gateway.queries, b.gateway.models, statements)
        assert property_of(PUMP, "flow") is None
        b.store.gate.clear()
        statements.say({RegisterKey(PUMP, Section.PRESENCE, MODEL): "pump@1"})
        await turns()
        assert Retention(property_of, 7.0)(PUMP, "flow") == 86_400.0
        assert Retention(property_of, 7.0)(PUMP, "level") == 7.0
