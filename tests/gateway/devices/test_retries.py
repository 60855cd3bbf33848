"""When what failed is tried again, and what comes with time is looked at."""

from __future__ import annotations

import pytest

from tests.gateway.workbench import ManualClock
from twingateway.gateway.devices.retries import RETRY, Retries


def test_what_fails_again_waits_longer_and_another_value_does_not_wait() -> None:
    clock = ManualClock()
    retries = Retries(clock)
    waits = []
    for _ in range(8):
        retries.look()
        retries.put_off("speed", "1")
        assert not retries.is_due("speed", "1")
        waits.append(retries.pause())
        clock.seconds += waits[-1] or 0.0
        assert retries.is_due("speed", "1")
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], abs=0.002)
    retries.put_off("speed", "1")
    assert retries.is_due("speed", "2")
    retries.put_off("speed", "2")
    clock.seconds += RETRY[0]
    assert retries.is_due("speed", "2")


def test_the_nearest_time_is_waited_for_and_one_that_was_due_when_all_were_looked_at_is_not() -> None:
    clock = ManualClock()
    retries = Retries(clock)
    assert retries.pause() is None
    retries.put_off("speed", "1")
    retries.look_again(0.5)
    assert retries.pause() == pytest.approx(0.5, abs=0.002)
    clock.seconds += 5
    assert retries.pause() == pytest.approx(0, abs=0.002)
    retries.look()
    assert retries.pause() is None, "what still waits, waits for something else"
