"""What is said of the desired value under an override names the override that the device follows."""

from __future__ import annotations

from contextlib import suppress

from tests.gateway.overriding import PUMP, SPEED, Joined, joined
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section, Version


async def test_the_one_that_is_followed_is_named_and_that_is_said_once_of_each() -> None:
    async with joined() as both:
        both.cut()
        for value in (98, 99):
            made = await both.override(value)
            await until(lambda made=made: made in covered(both)[1])  # type: ignore[misc]
            await both.calm_here()
            said, _ = covered(both)
            both.pump.say(flow=float(value))
            with suppress(TimeoutError):
                await until(lambda said=said: covered(both)[0] != said, 0.2)  # type: ignore[misc]
            assert covered(both)[0] == said


def covered(both: Joined) -> tuple[Version, str]:
    """What the edge says of the desired value: the register's version, and the message."""
    stored = both.holder.table.get(RegisterKey(PUMP, Section.ACK, SPEED))
    ack = both.holder.queries.ack(PUMP, SPEED)
    assert stored is not None
    assert ack is not None
    return stored.register.version, ack.message
