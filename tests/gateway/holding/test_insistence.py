"""What the parent does not take yet is offered again, by the next process if need be."""

from __future__ import annotations

import pytest

from tests.gateway.workbench import PUMP, Bench, bench, register, turns
from twingateway.gateway.peering.peers import Peer
from twingateway.gateway.peering.reach import reach_key
from twingateway.gateway.state.events import Notice
from twingateway.gateway.state.mint import Draft
from twingateway.sync.events import PeerRefused
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section, StoredRegister, Version

FLOW = RegisterKey(PUMP, Section.REPORTED, "flow")


def refuse(b: Bench, parent: Peer) -> StoredRegister:
    """The parent, which does not know of the grant yet, refuses what the pump reports."""
    (stored,) = b.gateway.ledger.report([Draft(FLOW, 1.5)])
    parent.session.outbox.withdraw(stored.register)
    b.gateway.sessions.refused(parent, PeerRefused(FLOW, stored.register.version, "not-yours", ""))
    return stored


async def granted(b: Bench) -> Peer:
    parent, _ = b.parent()
    await b.gateway.ownership.configure([PUMP])
    value = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 1}
    state = register("state", value, 7, section=Section.LIFECYCLE)  # type: ignore[arg-type]
    b.gateway.ledger.apply([state], origin="cloud", then=lambda: None)
    await b.gateway.committer.submit()
    return parent


async def test_a_crash_before_it_is_offered_again_forgets_nothing() -> None:
    async with bench("edge", root=False) as b:
        parent = await granted(b)
        stored = refuse(b, parent)
        await b.gateway.committer.submit()
        assert FLOW not in b.outbox(parent)
        assert parent.session.low < stored.lsn, "the next process sends it because of that"
        assert parent.session.top < stored.lsn


async def test_the_last_word_on_a_node_is_the_last_also_while_an_earlier_one_is_said_again() -> None:
    """The parent takes that for outdated; the node is heard again while it is said in the next epoch."""
    key = reach_key("edge", "region")
    async with bench("region", root=False) as b:
        parent, _ = b.parent()
        say = b.gateway.ownership._statements.say
        say({key: {"state": "down", "since": 1}})
        await until(lambda: b.gateway.table.get(key))
        stored = b.gateway.table.get(key)
        assert stored is not None
        b.store.gate.clear()
        say({key: {"state": "up", "since": 2}})
        await turns()
        b.gateway.sessions.refused(parent, PeerRefused(key, stored.register.version, "outdated", ""))
        await turns()
        b.store.gate.set()
        await until(lambda: (newest := b.gateway.table.get(key)) and newest.register.version.epoch == 2)
        await b.gateway.committer.submit()
        assert b.value(Section.REACH, "region", key.device) == {"state": "up", "since": 2}


async def test_it_is_offered_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twingateway.gateway.holding.insistence.PAUSE", (0.0, 0.0))
    async with bench("edge", root=False) as b:
        parent = await granted(b)
        refuse(b, parent)
        await turns()
        await b.gateway.committer.submit()
        assert b.outbox(parent) == {FLOW: 1.5}
        again = b.gateway.table.get(FLOW)
        assert again is not None
        assert parent.session.low == again.lsn - 1
        assert parent.session.top >= again.lsn, "nothing is held back any more"


async def test_people_are_told_once_of_a_device_that_is_still_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twingateway.gateway.holding.insistence.PAUSE", (0.001, 1.0))
    monkeypatch.setattr("twingateway.gateway.holding.insistence.PATIENCE", 0.008)
    async with bench("edge", root=False) as b:
        parent = await granted(b)
        await b.events()
        told: list[int] = []
        for _ in range(5):
            refuse(b, parent)
            refuse(b, parent)
            told.append(sum(isinstance(event, Notice) for event in await b.events()))
            await until(lambda: FLOW in b.outbox(parent))
        assert told == [0, 0, 0, 1, 0]


async def test_what_is_not_offered_again_is_told_at_once() -> None:
    async with bench("edge", root=False) as b:
        parent = await granted(b)
        b.gateway.sessions.refused(parent, PeerRefused(FLOW, Version(1, 1, 1), "invalid-value", "no number"))
        assert (await b.notice("register-refused")).message == "cloud refused default/pump/reported/flow: no number"
