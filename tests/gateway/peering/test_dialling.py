"""What the log has of a parent that cannot be reached."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.simulation.virtual_time import run
from twingateway.gateway.peering import dialling
from twingateway.testing.joined import MemoryNode, until

AGAIN = 120.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "TELL_AGAIN", AGAIN)


async def _without_a_parent(seconds: float, times: int) -> list[EventDict]:
    """The log of a node that loses its parent so often for so long, and finds it again in between."""
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")

    def is_reached() -> bool:
        parent = edge.gateway.peers.parent
        return parent is not None and parent.is_reached

    with capture_logs() as logs:
        async with edge.running(cloud):
            for _ in range(times):
                async with cloud.running():
                    await until(is_reached)
                    cloud.vanish()
                await asyncio.sleep(seconds)
    return [line for line in logs if line["event"] == "no link to the parent"]


def _warnings(lines: list[EventDict]) -> Counter[str]:
    return Counter(line["reason"] for line in lines if line["log_level"] == "warning")


def test_the_same_failure_is_told_once_in_a_while_and_each_try_to_who_asks_for_it() -> None:
    lines = run(_without_a_parent(5 * AGAIN, 1))
    assert 3 <= max(_warnings(lines).values()) <= 5
    assert sum(line["log_level"] == "debug" for line in lines) > 5


def test_each_time_that_the_link_is_lost_is_told() -> None:
    assert max(_warnings(run(_without_a_parent(60.0, 3))).values()) == 3
