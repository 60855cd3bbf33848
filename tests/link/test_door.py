"""Who may still come in: many who proved who they are, few strangers, fewer from one place."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from twingateway.link import door as module
from twingateway.link.door import Bounds, Door

BOUNDS = Bounds(connections=6, strangers=4, strangers_per_address=2)
HERE, THERE, YONDER = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def enter(door: Door, address: str) -> object:
    assert door.objection(address) is None
    guest = object()
    door.enter(guest, address)
    return guest


async def test_strangers_are_bounded_by_address_and_in_all():
    door = Door(BOUNDS)
    for address in (HERE, HERE, THERE, THERE):
        enter(door, address)
    door = Door(BOUNDS)
    enter(door, HERE)
    enter(door, HERE)
    assert "from there" in (door.objection(HERE) or "")
    enter(door, THERE)
    enter(door, THERE)
    assert "have not proven" in (door.objection(YONDER) or "")


async def test_a_whole_site_comes_in_one_after_the_other():
    door = Door(BOUNDS)
    for _ in range(BOUNDS.connections):
        door.admit(enter(door, HERE))
    assert door.strangers == 0
    assert door.objection(THERE) == "the listener is full"


async def test_a_stranger_that_left_keeps_its_place_for_a_moment(monkeypatch):
    monkeypatch.setattr(module, "AFTERGLOW", 0.02)
    door = Door(BOUNDS)
    for guest in (enter(door, HERE), enter(door, HERE)):
        door.leave(guest)
    assert door.connections == 0
    assert door.objection(HERE) is not None, "however fast it comes again"
    async with asyncio.timeout(20):
        while door.strangers:
            await asyncio.sleep(0.005)
    assert door.objection(HERE) is None
    known = enter(door, HERE)
    door.admit(known)
    door.leave(known)
    assert door.strangers == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_what_one_site_is(one, other, same):
    door = Door(Bounds(strangers_per_address=1))
    enter(door, one)
    assert (door.objection(other) is not None) is same


async def test_a_flood_fills_no_log():
    door = Door(Bounds(strangers_per_address=1))
    enter(door, HERE)
    with capture_logs() as told:
        for _ in range(1000):
            door.objection(HERE)
    assert len(told) == 1
    assert told[0]["address"] == HERE
