"""Local overrides that end with their device, whatever was under way then; and those that must not."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.gateway.overriding import PUMP, SPEED, joined
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.ports.store import Changes
from twingateway.testing.joined import until
from twingateway.twin.desired import plain
from twingateway.twin.override import Override
from twingateway.twin.register import RegisterKey, Section

ANEW: dict[str, Any] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceTwin",
    "metadata": {"name": "pump"},
    "spec": {"model": "pump@1", "desiredProperties": {SPEED: 20}},
}


def incarnation(gateway: Gateway) -> int:
    lifecycle = gateway.table.get(lifecycle_key(PUMP))
    return 0 if lifecycle is None else lifecycle.register.version.incarnation


async def test_what_is_being_kept_of_one_when_its_device_ends_does_not_bring_it_back() -> None:
    async with joined("edge-wins") as both:
        commit, begun, gate = both.holder.store.commit, asyncio.Event(), asyncio.Event()

        async def slowly(changes: Changes) -> None:
            held = [Override.read(stored.register.value) for stored in changes.registers]
            if any(override is not None and override.attempted for override in held):
                begun.set()
                await gate.wait()
            await commit(changes)

        both.holder.store.commit = slowly  # type: ignore[method-assign]
        both.cut()
        await both.override(99)
        await begun.wait()
        await both.root.commands.delete(PUMP)
        await both.root.commands.put(ANEW, "default")
        both.heal()
        await until(lambda: incarnation(both.holder) == 2 and both.holder.ownership.held(PUMP))
        gate.set()
        await both.applied(20)
        await both.calm()
        assert 99 not in both.written
        assert not both.holder.table.section(PUMP, Section.OVERRIDE)
        assert not any(key.section is Section.OVERRIDE for key in both.edge.disk.registers)


async def test_what_a_root_keeps_that_was_put_back_is_no_newer_word_than_the_override_of_it() -> None:
    """The edge has never heard what the root lost; another node has."""
    async with joined("cloud-wins") as both:
        await both.restart(both.cloud)
        await both.desire(23)
        await both.applied(23)
        both.cut()
        await both.override(25)
        await until(lambda: both.written == [23, 25])
        both.root.repair.begin("another", both.root.ledger.start)
        await until(lambda: both.root.repair.repairs == 1)
        both.heal()
        await both.applied(25)
        await both.calm()
        assert both.written == [23, 25]
        assert await both.events(both.cloud, "conflict") == []


async def test_what_was_accepted_and_withdrawn_is_taken_back_though_only_the_verdict_is_left() -> None:
    """The root is put back to before both, and what the withdrawal made of the value never came to the edge."""
    async with joined() as both:
        old = both.backup(both.cloud)
        commit, verdicts, left = both.root.store.commit, 0, None
        desired = RegisterKey(PUMP, Section.DESIRED, SPEED)

        async def withdrawn_too_late(changes: Changes) -> None:
            nonlocal verdicts, left
            verdicts += any(stored.register.key.section is Section.VERDICT for stored in changes.registers)
            if verdicts == 2 and left is None:
                await until(lambda: plain(both.edge.disk.registers[desired].register.value) == 99)
                left = both.edge.disk.registers[desired]
            await commit(changes)
            if verdicts == 1 and both.state(both.edge) is not None:
                await both.holder.overrides.withdraw(PUMP, SPEED, "olaf")

        both.root.store.commit = withdrawn_too_late  # type: ignore[method-assign]
        await both.override(99)
        await both.applied(10)
        await both.calm()
        await both.stop(both.edge)
        await both.stop(both.cloud)
        assert left is not None
        both.edge.disk.registers[desired] = left
        both.cloud.disk = old
        await both.start(both.cloud)
        await both.start(both.edge)
        await until(lambda: both.desired(both.edge) is not None)
        await both.calm(lambda: both.ack() == "applied" and both.desired() == 10)
        assert both.pump.values[SPEED] == 10
