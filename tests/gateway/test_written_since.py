"""A holder that was put back to an older copy and wrote to its device before it heard so: what it is given back does
not hide that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined
from twingateway.errors import DeviceUnreachable
from twingateway.testing.joined import until


@asynccontextmanager
async def put_back(policy: str) -> AsyncIterator[Joined]:
    """The device is at 50, and its edge, which knows of 10 only, is cut off."""
    async with joined(policy) as both:
        old = both.backup(both.edge)
        await both.desire(50)
        await both.applied(50)
        await both.calm()
        both.cut()
        await both.stop(both.edge)
        both.edge.disk = old
        both.pump.written.clear()
        await both.start(both.edge)
        yield both


@pytest.mark.parametrize("restart", [False, True])
async def test_an_override_that_the_cloud_wins_over(restart: bool) -> None:
    async with put_back("cloud-wins") as both:
        await both.override(99)
        await until(lambda: both.written == [99])
        await both.calm_here()
        if restart:
            await both.restart(both.edge)
        both.heal()
        await both.calm(lambda: both.state(both.cloud) is None and both.written == [99, 50])
        await both.applied(50)


async def test_one_that_did_not_come_to_the_device_calls_for_no_write() -> None:
    async with put_back("cloud-wins") as both:
        assert both.pump.port is not None
        both.pump.error = DeviceUnreachable("unplugged")
        both.pump.port.offline(both.pump.error)
        await both.override(99)
        await until(lambda: "unplugged" in str(both.holder.queries.overrides(PUMP)))
        both.heal()
        await both.calm(lambda: both.state(both.cloud) is None and both.ack() == "applied")
        assert both.written == []


async def test_what_it_took_for_the_newest_desired_value() -> None:
    """It has a value to be carried out still, and is started again before it hears that this is over."""
    async with joined() as both:
        assert both.pump.port is not None
        both.pump.error = DeviceUnreachable("unplugged")
        both.pump.port.offline(both.pump.error)
        await both.desire(40)
        await both.calm(lambda: both.desired(both.edge) == 40)
        old = both.backup(both.edge)
        both.pump.error = None
        both.pump.say(flow=1.5)
        await both.desire(50)
        await both.applied(50)
        await both.calm()
        both.cut()
        await both.stop(both.edge)
        both.edge.disk = old
        both.pump.written.clear()
        await both.start(both.edge)
        await until(lambda: both.written == [40])
        await until(lambda: (ack := both.holder.queries.ack(PUMP, SPEED)) and ack.state == "applied")
        await both.holder.committer.submit()
        await both.restart(both.edge)
        both.heal()
        await until(lambda: both.written == [40, 50])
        await both.applied(50)


async def test_an_override_that_was_lost_is_not_taken_for_applied_either() -> None:
    """It became the desired value, whose outcome is that of the override."""
    async with joined("edge-wins") as both:
        assert both.pump.port is not None
        both.pump.error = DeviceUnreachable("unplugged")
        both.pump.port.offline(both.pump.error)
        await both.desire(40)
        await both.calm(lambda: both.desired(both.edge) == 40)
        old = both.backup(both.edge)
        both.pump.error = None
        both.pump.say(flow=1.5)
        await both.override(50)
        await both.applied(50)
        await both.calm()
        both.cut()
        await both.stop(both.edge)
        both.edge.disk = old
        both.pump.written.clear()
        await both.start(both.edge)
        await until(lambda: both.written == [40])
        await both.holder.committer.submit()
        both.heal()
        await until(lambda: both.written == [40, 50])
        await both.applied(50)
