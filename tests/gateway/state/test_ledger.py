from __future__ import annotations

import asyncio

import pytest

from tests.gateway.workbench import FULL, PUMP, Bench, bench, claim, register, turns
from twingateway.errors import StoreFull
from twingateway.gateway.state.events import Changed
from twingateway.gateway.state.mint import Draft
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section

FLOW = RegisterKey(PUMP, Section.REPORTED, "flow")
SPEED = RegisterKey(PUMP, Section.DESIRED, "speed")


async def shown(b: Bench) -> list[tuple[str, object, int]]:
    events = await b.events()
    return [
        (e.stored.register.key.name, e.stored.register.value, e.position) for e in events if isinstance(e, Changed)
    ]


async def test_a_report_is_shown_before_it_is_durable() -> None:
    async with bench() as b:
        b.store.gate.clear()
        b.gateway.ledger.report([Draft(FLOW, 1.5)])
        assert b.value(Section.REPORTED, "flow") == 1.5
        assert b.durable(FLOW) is None
        b.store.gate.set()
        await until(lambda: b.durable(FLOW) == 1.5)


async def test_a_write_is_durable_before_it_is_shown() -> None:
    async with bench() as b:
        b.store.gate.clear()
        task = b.tasks.start(b.gateway.ledger.write([Draft(SPEED, 20)]), "write")
        await turns()
        assert b.value(Section.DESIRED, "speed") is None
        b.store.gate.set()
        await task
        assert b.value(Section.DESIRED, "speed") == 20 == b.durable(SPEED)


async def test_a_write_whose_writer_gave_up_is_shown_and_sent_all_the_same() -> None:
    """Else the store would have what no peer is ever sent, and peers would be told that they have everything."""
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        b.store.gate.clear()
        task = asyncio.create_task(b.gateway.ledger.write([Draft(SPEED, 20)]))
        await turns()
        task.cancel()
        await turns()
        lsn = b.gateway.numbers.last_lsn
        assert edge.session.low < lsn
        b.store.gate.set()
        await until(lambda: b.durable(SPEED) == 20)
        await until(lambda: b.value(Section.DESIRED, "speed") == 20)
        assert b.outbox(edge)[SPEED] == 20


async def test_a_refused_write_was_never_shown_and_holds_nothing_up() -> None:
    async with bench() as b:
        b.store.error = FULL
        with pytest.raises(StoreFull):
            await b.gateway.ledger.write([Draft(SPEED, 20)])
        assert b.value(Section.DESIRED, "speed") is None
        assert b.gateway.ledger.position == b.gateway.numbers.last_lsn


async def test_the_position_never_passes_a_change_that_is_not_published() -> None:
    async with bench() as b:
        b.store.gate.clear()
        task = b.tasks.start(b.gateway.ledger.write([Draft(SPEED, 20)]), "write")
        await turns()
        begun = b.gateway.numbers.last_lsn
        b.gateway.ledger.report([Draft(FLOW, 1)])
        assert b.gateway.ledger.position == begun - 1
        [(name, _, position)] = await shown(b)
        assert (name, position) == ("flow", begun - 1)
        b.store.gate.set()
        await task
        assert b.gateway.ledger.position == b.gateway.numbers.last_lsn


async def test_of_what_a_peer_sends_only_greater_versions_are_applied_and_all_are_acknowledged() -> None:
    async with bench() as b:
        durable: list[str] = []
        apply = b.gateway.ledger.apply
        assert len(apply([register("flow", 2, 20)], origin="edge", then=lambda: durable.append("first"))) == 1
        assert apply([register("flow", 1, 10)], origin="edge", then=lambda: durable.append("older")) == []
        assert apply([register("flow", 2, 20)], origin="edge", then=lambda: durable.append("same")) == []
        assert durable == [], "what is not committed yet is not acknowledged, not even a repetition"
        await until(lambda: durable == ["first", "older", "same"])
        assert b.durable(FLOW) == 2


async def test_the_holders_outbox_has_the_newest_version_once_it_is_durable() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        await b.gateway.ledger.write([Draft(SPEED, 1)])
        assert b.outbox(edge)[SPEED] == 1
        await b.gateway.ledger.write([Draft(SPEED, 2)])
        assert b.outbox(edge)[SPEED] == 2


async def test_what_was_on_its_way_when_the_grant_came_is_not_lost_behind_an_older_value() -> None:
    async with bench("edge", root=False) as b:
        online = RegisterKey(PUMP, Section.PRESENCE, "state")
        await b.gateway.ownership.configure([PUMP])
        await b.gateway.ledger.write([Draft(online, "offline")])
        b.store.gate.clear()
        task = b.tasks.start(b.gateway.ledger.write([Draft(online, "online")]), "presence")
        await turns()
        value = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 1}
        lifecycle = register("state", dict(value), 5, section=Section.LIFECYCLE)
        b.gateway.ledger.apply([lifecycle], origin="cloud", then=lambda: None)
        b.store.gate.set()
        await task
        stored = b.gateway.table.get(online)
        assert stored is not None
        assert stored.register.value == "online"
        assert stored.register.version[:2] == (1, 1)


async def test_what_is_said_under_a_grant_is_told_when_the_grant_is_durable() -> None:
    """A process that had forgotten the grant would say under it again what it had said before."""
    async with bench("edge", root=False) as b:
        cloud, _ = b.parent()
        await b.gateway.ownership.configure([PUMP])
        b.gateway.ledger.report([Draft(FLOW, 1)])
        b.store.gate.clear()
        value = {"state": "live", "holder": "edge", "store": b.gateway.peers.store_id.hex(), "epoch": 1}
        lifecycle = register("state", dict(value), 5, section=Section.LIFECYCLE)
        b.gateway.ledger.apply([lifecycle], origin="cloud", then=lambda: None)
        b.gateway.ledger.report([Draft(FLOW, 2)])
        assert b.value(Section.REPORTED, "flow") == 2, "it is shown here at once"
        await turns()
        assert b.outbox(cloud) == {}
        b.store.gate.set()
        await until(lambda: b.outbox(cloud).get(FLOW) == 2)
        assert b.durable(lifecycle.key) == value
        b.store.gate.clear()
        b.gateway.ledger.report([Draft(FLOW, 3)])
        assert b.outbox(cloud)[FLOW] == 3


async def test_no_peer_is_told_of_a_number_that_the_store_never_has() -> None:
    """After a crash such a number would be taken for one that another history of this store issued."""
    async with bench() as b:
        child, _ = b.child("edge")
        await b.gateway.ledger.write([Draft(SPEED, 10)])
        highest = b.gateway.table.highest_lsn
        b.gateway.ledger.notice("claim-refused", "an event has a number, too")
        b.store.gate.clear()
        [behind] = b.gateway.ledger.report([Draft(FLOW, 1.5)])
        child.session.put(behind)
        assert child.session.top == highest
        b.store.gate.set()
        await b.gateway.committer.submit()
        assert child.session.top == behind.lsn
