"""A root asks who may know more of its own registers than it does, and takes them from nobody else."""

from __future__ import annotations

import pytest

from tests.gateway.workbench import PUMP, bench, claim, register, turns
from twingateway.errors import ProtocolViolation
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.holding.restored import RESTORED
from twingateway.gateway.peering import wire
from twingateway.testing.joined import until
from twingateway.twin.register import Register, Section, Version
from twingateway.twin.value import Value


async def test_nobody_gives_back_the_roots_registers_unasked() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        stolen = {"pump": [["lifecycle", "state", [9, 9, 9], {"state": "live", "holder": "edge"}, 0]]}
        with pytest.raises(ProtocolViolation, match="nobody asked"):
            b.gateway.sessions.control(edge, "root-registers", {"node": "edge", "devices": stolen})
        await turns()
        assert b.lifecycle() == {}


async def test_who_pretends_to_know_more_of_a_device_held_by_another_is_refused() -> None:
    async with bench() as b:
        (edge, _), (thief, line) = b.child("edge"), b.child("thief")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        b.gateway.sessions.control(thief, "claim", claim("thief", "pump", root=(9, 9, 9)))
        await until(lambda: line.of("claim-refused"))
        assert line.of("want-root") == []


async def test_each_claimant_of_a_restored_root_is_asked_however_far_another_lost_history_went() -> None:
    """A root that was restored twice lost two histories; what was written in the one has nothing to do with the
    versions of the other."""
    async with bench() as b:
        other, line = b.child("other")
        note: Value = {"seq": 4, "since": [1, 2], "known": [1, 1, 9], "lifecycle": [1, 1, 9]}
        value: Value = {"state": "live", "holder": "edge", "store": "aa", "epoch": 1, RESTORED: note}
        b.gateway.ledger.apply(
            [Register(lifecycle_key(PUMP), Version(1, 2, 20), value, 0)], origin="", then=lambda: None
        )
        b.gateway.sessions.control(other, "claim", claim("other", "pump", root=(1, 1, 7)))
        await until(lambda: line.of("want-root") != [])
        lost = register("mode", "eco", 7, section=Section.DESIRED)
        for batch in wire.batches([(PUMP, [lost])]):
            b.gateway.sessions.control(other, "root-registers", {"node": "other", "devices": batch})
        await until(lambda: line.of("claim-refused") != [])
        assert b.value(Section.DESIRED, "mode") == "eco"
        b.gateway.sessions.control(other, "claim", claim("other", "pump", root=(1, 1, 7)))
        await until(lambda: len(line.of("claim-refused")) == 2)
        assert len(line.of("want-root")) == 1


async def test_the_holder_by_the_lost_history_gets_another_epoch_than_whom_the_copy_gave_the_device() -> None:
    """That one may have been granted it since, and be about to say something under its epoch."""
    async with bench() as b:
        other, line = b.child("other")
        note: Value = {"seq": 4, "since": [1, 2], "known": [1, 1, 5], "lifecycle": [1, 1, 5]}
        value: Value = {"state": "live", "holder": "edge", "store": "aa", "epoch": 3, RESTORED: note}
        b.gateway.ledger.apply(
            [Register(lifecycle_key(PUMP), Version(1, 2, 20), value, 0)], origin="", then=lambda: None
        )
        b.gateway.sessions.control(other, "claim", claim("other", "pump", store="bb", epoch=3, root=(1, 1, 7)))
        await until(lambda: line.of("want-root") != [])
        lost = Register(
            lifecycle_key(PUMP),
            Version(1, 1, 7),
            {"state": "live", "holder": "other", "store": "bb", "epoch": 3},
            0,
        )
        for batch in wire.batches([(PUMP, [lost])]):
            b.gateway.sessions.control(other, "root-registers", {"node": "other", "devices": batch})
        await until(lambda: b.lifecycle().get("holder") == "other")
        assert b.lifecycle()["epoch"] == 4
