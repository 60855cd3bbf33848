"""What a register map lets be written, besides its model."""

from __future__ import annotations

from typing import Any

import pytest
from twingateway_modbus.address import Transport
from twingateway_modbus.bounds import Bounds
from twingateway_modbus.property import PropertySettings

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.errors import InvalidValue


def bounds(**given: Any) -> Bounds:
    one = {"table": "holding", "address": 0, "type": "int32", "writable": True, **given}
    settings = PropertySettings.model_validate(one)
    return Bounds(settings.minimum, settings.maximum, settings.step)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, 1e9),
        ({"minimum": 5, "maximum": 30}, 5),
        ({"minimum": 5, "maximum": 30}, 30.0),
        ({"step": 0.1}, 0.30000000000000004),
        ({"step": 0.1}, -21.3),
        ({"minimum": 5, "step": 2}, 7),
        ({"minimum": 0.5, "step": 2}, 2.5),
        ({"maximum": 3}, [1, 2, 3]),
        ({"maximum": 3}, True),
        ({"maximum": 3}, "off"),
    ],
)
def test_what_is_within_the_map_is_written(given: dict[str, Any], value: Any) -> None:
    bounds(**given).check("p", value)


@pytest.mark.parametrize(
    ("given", "value", "complaint"),
    [
        ({"minimum": 5}, 4.999, "4.999 is below the register map's minimum of 5"),
        ({"maximum": 30.5}, 31, "31 is above the register map's maximum of 30.5"),
        ({"maximum": 3}, [1, 4], "4 is above"),
        ({"step": 0.5}, 21.3, "21.3 is not on the register map's steps of 0.5"),
        ({"minimum": 5, "step": 2}, 8, "8 is not on"),
    ],
)
def test_what_is_not_is_refused(given: dict[str, Any], value: Any, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=f"p: {complaint}"):
        bounds(**given).check("p", value)


async def test_nothing_is_sent_that_the_map_refuses() -> None:
    asked: list[bytes] = []
    server = make_server(Transport.TCP, 1, witness=lambda unit, pdu: asked.append(pdu))
    adapter = make_adapter()
    one = {"table": "holding", "address": 20, "type": "int16", "scale": 0.1, "writable": True, "maximum": 30}
    driver, _ = make_driver(adapter, await serve(Transport.TCP, server), {"setpoint": one})
    with pytest.raises(InvalidValue, match="above the register map's maximum"):
        await driver.write("setpoint", 30.1)
    assert asked == []
    assert (await driver.write("setpoint", 30)).observed == 30
    await adapter.stop()
    server.close()
