"""What an adapter counts of its links, beside the devices' own health."""

from __future__ import annotations

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.adapter import Adapter
from twingateway.errors import DeviceError

PROPERTIES = {"value": {"table": "holding", "address": 3, "type": "uint16"}}


def shown(adapter: Adapter) -> dict[str, float]:
    return {f"{each.name} {each.labels.get('kind', '')}".strip(): each.value for each in adapter.figures()}


@pytest.mark.parametrize(
    ("kind", "failure", "requests", "resting"),
    [
        (FaultKind.SILENCE, "timeout", 1, 1),
        (FaultKind.DROP, "connection", 1, 1),
        (FaultKind.FUNCTION, "reply", 2, 0),
        (FaultKind.EXCEPTION, "exception", 1, 0),
    ],
)
async def test_every_failure_is_counted_as_what_it_is(
    kind: FaultKind, failure: str, requests: int, resting: int
) -> None:
    server = make_server(Transport.TCP, 1, faults=Faults([Fault(kind)]))
    adapter = make_adapter()
    address = await serve(Transport.TCP, server) | {"unit": 1, "timeout": "60ms"}
    driver, _ = make_driver(adapter, address, PROPERTIES)
    try:
        with pytest.raises(DeviceError):
            await driver.read()
        found = shown(adapter)
        kinds = ("timeout", "connection", "reply", "exception")
        assert {each: found[f"failures {each}"] for each in kinds if found[f"failures {each}"]} == {failure: requests}
        assert (found["requests"], found["units_resting"]) == (requests, resting)

        server.faults.clear()
        if not resting:
            await driver.read()
            assert shown(adapter)["requests"] == requests + 1
            assert shown(adapter)["busy_seconds"] > found["busy_seconds"] > 0
    finally:
        await adapter.stop()
        server.close()
    assert {each.labels["endpoint"] for each in adapter.figures()} == {f"127.0.0.1:{address['port']}"}


async def test_a_host_that_does_not_answer_is_a_failed_connection_and_no_request() -> None:
    adapter = make_adapter()
    driver, _ = make_driver(adapter, {"host": "127.0.0.1", "port": 1, "timeout": "1s"}, PROPERTIES)
    with pytest.raises(DeviceError):
        await driver.read()
    found = shown(adapter)
    assert (found["requests"], found["failures connection"]) == (0, 1)
