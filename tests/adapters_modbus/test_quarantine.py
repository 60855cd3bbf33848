"""How long one that failed is left alone, and when it is tried again."""

from __future__ import annotations

import asyncio

import pytest
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.link import Link
from twingateway_modbus.quarantine import Quarantine
from twingateway_modbus.schedule import Round

from twingateway.errors import DeviceTimeout


def test_pauses_double_to_half_a_minute_and_start_again_after_a_success() -> None:
    quarantine = Quarantine()
    pauses = []
    for _ in range(7):
        quarantine.failed(DeviceTimeout("silent"), now=100.0)
        pauses.append(quarantine.remaining(100.0))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]

    quarantine.succeeded()
    assert quarantine.remaining(100.0) == 0
    quarantine.failed(DeviceTimeout("silent"), now=200.0)
    assert quarantine.remaining(200.0) == 1


def test_what_went_on_side_by_side_fails_once() -> None:
    """Also by a clock that shows whole milliseconds."""
    quarantine = Quarantine()
    for began, now in ((99.9, 100.0), (99.9, 100.0), (100.0, 100.1), (99.95, 100.1)):
        quarantine.failed(DeviceTimeout("silent"), now, began)
    assert (quarantine.failures, quarantine.remaining(100.0)) == (1, 1)
    quarantine.failed(DeviceTimeout("silent"), 101.2, 101.1)
    assert (quarantine.failures, quarantine.remaining(101.2)) == (2, 2)


def test_while_it_lasts_the_error_is_repeated_with_the_time_to_the_next_try() -> None:
    quarantine = Quarantine()
    quarantine.check(0.0)
    quarantine.failed(DeviceTimeout("unit 3 is silent"), now=10.0)

    with pytest.raises(DeviceTimeout, match="unit 3 is silent; next try in 1 s") as raised:
        quarantine.check(10.25)
    assert raised.value.detail["retry_in"] == 0.75
    quarantine.check(11.0)


async def test_a_unit_that_rests_is_tried_when_nobody_else_on_the_link_is_due() -> None:
    link = Link(AddressSettings.model_validate({"host": "127.0.0.1"}))
    now = asyncio.get_running_loop().time()
    assert link.until_quiet("dead", 1, 0.03) == 0

    neighbour, other = Round(10.0, [], due=now + 0.02), Round(10.0, [], due=now + 0.03)
    link.join("neighbour", [neighbour, other])
    link.join("dead", [Round(10.0, [], due=now + 0.01)])
    assert link.until_quiet("dead", 1, 0.03) == pytest.approx(0.03, abs=0.01)
    link.leave("neighbour")
    assert link.until_quiet("dead", 1, 0.03) == 0
