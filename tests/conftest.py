"""By which clock a test waits: see `fair_time`, and `simulation.virtual_time` for who waits for nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings

from tests.fair_time import FairPolicy, hurried
from tests.simulation.virtual_time import VirtualLoop
from twingateway.testing.fair_loop import FairLoop

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
asyncio.set_event_loop_policy(FairPolicy())


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualLoop}
    return {"hurried": hurried} if item.get_closest_marker("hurried") else {"fair": FairLoop}
