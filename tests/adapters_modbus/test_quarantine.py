"""How long one that failed is left alone."""

from __future__ import annotations

import pytest
from twingateway_modbus.quarantine import Quarantine

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


def test_while_it_lasts_the_error_is_repeated_with_the_time_to_the_next_try() -> None:
    quarantine = Quarantine()
    quarantine.check(0.0)
    quarantine.failed(DeviceTimeout("unit 3 is silent"), now=10.0)

    with pytest.raises(DeviceTimeout, match="unit 3 is silent; next try in 1 s") as raised:
        quarantine.check(10.25)
    assert raised.value.detail["retry_in"] == 0.75
    quarantine.check(11.0)
