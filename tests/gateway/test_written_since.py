"""A holder that was put back to an older copy and wrote to its device before it heard so: what it is given back does
not hide that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined
from twingateway.errors import DeviceUnreachable
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import until


async def replace_edge(both: Joined, old: MemoryDisk) -> None:
    """It is cut off, and goes on with an older copy of its store."""
    await both.calm()
    both.cut()
    await both.stop(both.edge)
    both.edge.disk = old
    both.pump.written.clear()
    await both.start(both.edge)


def unplug(both: Joined) -> None:
    assert both.pump.port is not None
    both.pump.error = DeviceUnreachable("unplugged")
    both.pump.port.offline(both.pump.error)


def plug_in(both: Joined) -> None:
    both.pump.error = None
    both.pump.say(flow=1.5)


@asynccontextmanager
async def put_back(policy: str) -> AsyncIterator[Joined]:
    """The device is at 50, and its edge, which knows of 10 only, is cut off."""
    async with joined(policy) as both:
        old = both.backup(both.edge)
        await both.desire(50)
        await both.applied(50)
        await replace_edge(both, old)
        yield both


@asynccontextmanager
async def knowing_of_another(policy: str) -> AsyncIterator[tuple[Joined, MemoryDisk]]:
    """With the device off, 40 is desired, and the edge, of which there is a copy then, knows of it; now it is on."""
    async with joined(policy) as both:
        unplug(both)
        await both.desire(40)
        await both.calm(lambda: both.desired(both.edge) == 40)
        old = both.backup(both.edge)
        plug_in(both)
        yield both, old


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
        unplug(both)
        await both.override(99)
        await until(lambda: "unplugged" in str(both.holder.queries.overrides(PUMP)))
        both.heal()
        await both.calm(lambda: both.state(both.cloud) is None and both.ack() == "applied")
        assert both.written == []


async def test_what_it_took_for_the_newest_desired_value() -> None:
    """It has a value to be carried out still, and is started again before it hears that this is over."""
    async with knowing_of_another("cloud-wins") as (both, old):
        await both.desire(50)
        await both.applied(50)
        await replace_edge(both, old)
        await until(lambda: both.written == [40])
        await until(lambda: (ack := both.holder.queries.ack(PUMP, SPEED)) and ack.state == "applied")
        await both.holder.committer.submit()
        await both.restart(both.edge)
        both.heal()
        await until(lambda: both.written == [40, 50])
        await both.applied(50)


async def test_an_override_that_was_lost_is_not_taken_for_applied_either() -> None:
    """It became the desired value, whose outcome is that of the override."""
    async with knowing_of_another("edge-wins") as (both, old):
        await both.override(50)
        await both.applied(50)
        await replace_edge(both, old)
        await until(lambda: both.written == [40])
        await both.holder.committer.submit()
        both.heal()
        await until(lambda: both.written == [40, 50])
        await both.applied(50)
