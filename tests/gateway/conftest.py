"""Gateways over memory stores and memory links wait for nothing but time, which is virtual for them; what is tried
over real sockets is hurried. Stores that refuse are asked again soon: the real pause is for people's disks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fair_time import hurried
from tests.simulation.virtual_time import VirtualLoop
from twingateway.gateway.devices import models
from twingateway.gateway.holding import adoption, grants, insistence, statements
from twingateway.gateway.state import committer, numbers
from twingateway.gateway.twins import verdicts


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"hurried": hurried} if item.get_closest_marker("hurried") else {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (adoption, committer, grants, models, numbers, statements, verdicts):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(insistence, "PAUSE", (0.05, 0.2))
