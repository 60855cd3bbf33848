"""Who waits for an override hears what became of it, whether or not the root has judged it meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.gateway.overriding import PUMP, SPEED, Joined, joined, undecided
from twingateway.errors import DeviceError, DeviceRefused, DeviceTimeout, DeviceUnreachable
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.overridden import override_of
from twingateway.gateway.twins.standing import Standing
from twingateway.testing.joined import until
from twingateway.twin.override import Override
from twingateway.twin.register import RegisterKey, Section

LONG, SHORT = 30.0, 0.05


def newest(both: Joined) -> Override:
    override = override_of(both.holder.table, PUMP, SPEED)
    assert override is not None
    return override


async def settled(both: Joined, override: Override, timeout: float = LONG) -> Standing:
    return await both.holder.overrides.settled(PUMP, SPEED, override, timeout)


def known(found: Standing) -> tuple[str, str, str]:
    ack = found.ack
    return (found.state, "", "") if ack is None else (found.state, ack.state, ack.code)


def told(found: Standing) -> str:
    return "" if found.ack is None else found.ack.message


def unplug(both: Joined) -> None:
    assert both.pump.port is not None
    both.pump.port.offline(DeviceUnreachable("unplugged"))


def plug_in(both: Joined) -> None:
    assert both.pump.port is not None
    both.pump.port.online()


async def accepted(both: Joined, error: DeviceError | None = None) -> Override:
    """99, of which the root has made the desired value before the device took it."""
    if error is None:
        unplug(both)
    both.pump.error = error
    await both.override(99)
    override = newest(both)
    await until(lambda: both.desired(both.edge) == 99 and both.state(both.edge) is None)
    return override


async def test_of_one_that_was_accepted_the_ack_of_the_desired_value_is_followed() -> None:
    async with joined() as both:
        override = await accepted(both)
        waiting = asyncio.ensure_future(settled(both, override))
        await asyncio.sleep(SHORT)
        assert not waiting.done()
        plug_in(both)
        found = await waiting
        assert known(found) == ("accepted", "applied", "")
        assert found.is_settled
        assert not found.is_open


async def test_a_silent_device_has_not_settled_it() -> None:
    async with joined() as both:
        override = await accepted(both, DeviceTimeout("it says nothing"))
        await until(lambda: (ack := both.root.queries.ack(PUMP, SPEED)) and ack.code == "device-timeout")
        found = await settled(both, override, SHORT)
        assert known(found) == ("accepted", "delivered", "device-timeout")
        assert not found.is_settled


async def test_until_something_is_said_of_the_desired_value_that_of_the_override_holds() -> None:
    async with joined() as both:
        override = await accepted(both)
        await both.holder.ledger.write([Draft(RegisterKey(PUMP, Section.ACK, SPEED), None)])
        assert known(both.holder.queries.standing(PUMP, SPEED, override)) == (
            "accepted",
            "delivered",
            "device-unreachable",
        )


async def test_a_device_that_refuses_has_settled_it() -> None:
    async with joined() as both:
        override = await accepted(both, DeviceRefused("too fast"))
        found = await settled(both, override)
        assert known(found) == ("accepted", "failed", "device-refused")
        assert told(found) == "too fast"


async def test_one_whose_desired_value_was_changed_again_is_superseded() -> None:
    async with joined() as both:
        override = await accepted(both)
        await both.desire(50)
        found = await settled(both, override)
        assert known(found) == ("accepted", "superseded", "superseded")
        assert told(found) == "a newer desired value took its place"


async def test_one_that_lost_says_to_what() -> None:
    async with joined() as both:
        unplug(both)
        both.cut()
        await both.override(99)
        waiting = asyncio.ensure_future(settled(both, newest(both)))
        await both.desire(50)
        both.heal()
        found = await waiting
        assert known(found) == ("lost", "superseded", "lost")
        assert told(found) == "it lost to 50 by carol"
        stands = found.to_value()["stands"]
        assert isinstance(stands, dict)
        assert (stands["value"], stands["actor"]) == (50, "carol")


async def test_one_that_a_person_decided_against_says_who() -> None:
    async with joined("manual") as both:
        await undecided(both)
        override = newest(both)
        assert known(await settled(both, override, SHORT)) == ("undecided", "applied", "")
        await both.root.verdicts.resolve(PUMP, SPEED, edge=False, actor="dora")
        await until(lambda: both.state(both.edge) is None)
        assert told(await settled(both, override)) == "it lost to 50 by carol, decided by dora"


async def test_one_that_the_root_refuses_is_rejected() -> None:
    async with joined() as both:
        unplug(both)
        both.cut()
        await both.override(99)
        await until(lambda: newest(both).ack is not None)
        forged = replace(newest(both), value=5000)
        await both.holder.ledger.write([Draft(RegisterKey(PUMP, Section.OVERRIDE, SPEED), forged.to_value())])
        both.heal()
        await until(lambda: both.state(both.edge) is None)
        assert known(await settled(both, forged)) == ("lost", "rejected", "override-refused")


async def test_one_that_was_replaced_or_withdrawn_is_superseded() -> None:
    async with joined() as both:
        unplug(both)
        both.cut()
        await both.override(98)
        first = newest(both)
        waiting = [asyncio.ensure_future(settled(both, first))]
        await both.override(99)
        waiting.append(asyncio.ensure_future(settled(both, newest(both))))
        await asyncio.sleep(SHORT)
        await both.holder.overrides.withdraw(PUMP, SPEED, "ada")
        replaced, withdrawn = await asyncio.gather(*waiting)
        assert (known(replaced), replaced.override) == (("replaced", "superseded", "replaced"), first)
        assert (known(withdrawn), told(withdrawn)) == (
            ("withdrawn", "superseded", "withdrawn"),
            "it was withdrawn by ada",
        )


async def test_one_whose_device_was_deleted_ends() -> None:
    async with joined() as both:
        override = await accepted(both)
        await both.root.commands.delete(PUMP)
        await until(lambda: override_of(both.holder.table, PUMP, SPEED) is None)
        assert known(await settled(both, override)) == ("void", "superseded", "void")
