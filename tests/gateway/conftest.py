"""Stores that refuse are asked again soon: the real pause is for people's disks."""

from __future__ import annotations

import pytest

from twingateway.gateway.devices import models
from twingateway.gateway.holding import grants, insistence, statements
from twingateway.gateway.state import committer, numbers
from twingateway.gateway.twins import verdicts


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (committer, grants, models, numbers, statements, verdicts):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(insistence, "PAUSE", (0.05, 0.2))
