"""Versions: under what the root granted, and greater than all before."""

from __future__ import annotations

from tests.gateway.workbench import PUMP, bench
from twingateway.gateway.state.mint import Draft
from twingateway.twin.register import RegisterKey, Section, Version

FLOW = RegisterKey(PUMP, Section.REPORTED, "flow")
SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")


async def test_the_basis_of_a_version_is_what_the_root_granted() -> None:
    async with bench() as b:
        ledger = b.gateway.ledger
        assert ledger.mint.basis(FLOW) == (0, 0), "local until it is granted"
        assert ledger.mint.basis(SPEED) == (1, 1)
        key = RegisterKey(PUMP, Section.LIFECYCLE, "state")
        granted = {"state": "live", "holder": "root", "epoch": 7}
        await ledger.write([Draft(key, dict(granted))], version=Version(3, 4, 0))
        assert ledger.mint.basis(FLOW) == (3, 7)
        assert ledger.mint.basis(SPEED) == (3, 4)


async def test_the_next_version_is_above_what_was_said_and_not_above_what_is_said_next() -> None:
    async with bench() as b:
        ledger = b.gateway.ledger
        [said] = await ledger.write([Draft(SPEED, 1)], version=Version(2, 5, 0))
        after = ledger.mint.next_version(SPEED)
        [then] = await ledger.write([Draft(SPEED, 2)])
        assert said.register.version < after <= then.register.version
        assert then.register.version[:2] == (2, 5), "not under the lower epoch that it would have by itself"
