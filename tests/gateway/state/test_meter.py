from __future__ import annotations

import pytest

from twingateway.gateway.state.meter import SPAN, Meter


def test_a_steady_flow_is_measured_as_it_is() -> None:
    meter = Meter()
    for step in range(1000):
        meter.add(30.0, step * 0.1)
    assert meter.rate(100.0) == pytest.approx(300.0, rel=0.02)


def test_what_has_stopped_fades() -> None:
    meter = Meter()
    meter.add(1000.0, 0.0)
    assert meter.rate(10 * SPAN) < 0.1
