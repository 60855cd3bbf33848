"""Conflicts of which a person decides for the second time, since the root was put back to a copy from before the
first: what was decided last counts."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined, undecided
from twingateway.testing.joined import until


@asynccontextmanager
async def decided_for(*, edge: bool, is_lower: bool) -> AsyncIterator[Joined]:
    """A person decided, the device follows that, and the edge is cut off; the root goes on with a copy from before,
    and with lower numbers than that had which was lost (`is_lower`), or with greater ones."""
    async with joined("manual") as both:
        await undecided(both)
        old = both.backup(both.cloud)
        await both.restart(both.cloud)
        await until(lambda: both.state(both.cloud) == "undecided")
        await both.root.verdicts.resolve(PUMP, SPEED, edge=edge, actor="dora")
        await both.applied(99 if edge else 50)
        await both.calm()
        both.cut()
        start = both.root.ledger.start
        while True:
            await both.stop(both.cloud)
            both.cloud.disk = copy.deepcopy(old)
            await both.start(both.cloud)
            if (both.root.ledger.start < start) is is_lower:
                break
        yield both


@pytest.mark.parametrize("is_lower", [False, True])
@pytest.mark.parametrize("edge", [False, True])
async def test_the_second_time_otherwise(edge: bool, is_lower: bool) -> None:
    async with decided_for(edge=edge, is_lower=is_lower) as both:
        first = [99] if edge else [99, 50]
        assert both.written == first
        await both.root.verdicts.resolve(PUMP, SPEED, edge=not edge, actor="erik")
        both.heal()
        last = 50 if edge else 99
        await until(lambda: both.written[-1] == last)
        await both.applied(last)
        await both.calm()
        assert both.written == [*first, last]
        assert both.state(both.cloud) is both.state(both.edge) is None


@pytest.mark.parametrize("holds_it", [False, True])
async def test_what_is_undecided_again_is_written_again_if_the_device_was_not_left_at_it(holds_it: bool) -> None:
    async with joined("manual") as both:
        await undecided(both)
        old = both.backup(both.cloud)
        await both.root.verdicts.resolve(PUMP, SPEED, edge=True, actor="dora")
        await both.applied(99)
        await both.override(60)
        await both.applied(60)
        await both.desire(14)
        await both.applied(14)
        await both.calm()
        both.cut()
        await both.stop(both.cloud)
        both.cloud.disk = old
        await both.start(both.cloud)
        await both.root.verdicts.resolve(PUMP, SPEED, edge=True, actor="erik")
        if holds_it:
            both.pump.say(speed=60)
        both.heal()
        await until(lambda: both.state(both.cloud) == both.state(both.edge) == "undecided")
        await both.calm(lambda: (shown := str(both.root.queries.overrides(PUMP))) and "handed-over" not in shown)
        await until(lambda: both.pump.values[SPEED] == 60)
        assert both.written == [99, 60, 14] + [60] * (not holds_it)
