from __future__ import annotations

import pytest

from tests.gateway.workbench import FULL, PUMP, bench, turns
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering.reach import reach_key
from twingateway.gateway.state import numbers as numbers_module
from twingateway.gateway.state.mint import Draft
from twingateway.testing.joined import until
from twingateway.twin.register import RegisterKey, Section

STATE = RegisterKey(PUMP, Section.PRESENCE, "state")
FLOW = RegisterKey(PUMP, Section.REPORTED, "flow")


async def test_the_last_word_is_the_last_however_fast_words_follow() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.gate.clear()
        statements.say({STATE: "offline"})
        await turns()
        statements.say({STATE: "online"})
        statements.say({STATE: "offline"})
        assert statements.value(STATE) == "offline"
        b.store.gate.set()
        await turns()
        assert b.value(Section.PRESENCE, "state") == "offline" == b.durable(STATE)


async def test_what_the_store_refused_is_said_again_in_its_newest_form() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.error = FULL
        statements.say({STATE: "offline"})
        await turns()
        statements.say({STATE: "online"})
        b.store.error = None
        await until(lambda: b.durable(STATE) == "online")


async def test_the_same_word_twice_is_said_once() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        statements.say({STATE: {"state": "online"}})
        statements.say({STATE: {"state": "online"}})
        await turns()
        statements.say({STATE: {"state": "online"}})
        await turns()
        assert sum(len(changes.registers) for changes in b.store.commits) == 1


async def test_reports_that_find_no_numbers_left_are_minted_newest_first_when_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numbers_module, "BLOCK", 4)
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.full()
        for value in range(10):
            statements.report([Draft(FLOW, value)])
            await turns(3)
        assert statements.value(FLOW) == 9
        b.full(False)
        await until(lambda: b.durable(FLOW) == 9)


async def test_a_word_under_a_new_epoch_is_the_last_said_not_an_older_one() -> None:
    reach = reach_key("edge", "root")
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        statements.say({reach: {"state": "down"}})
        await until(lambda: b.durable(reach) == {"state": "down"})
        b.store.gate.clear()
        statements.say({reach: {"state": "up"}})
        await turns()
        b.tasks.start(statements.renew([reach]), "renewal")
        await turns()
        b.store.gate.set()
        await until(lambda: b.gateway.table.section(*reach[:2])["root"].register.version.epoch == 2)
        await turns()
        assert b.gateway.table.value(*reach) == {"state": "up"}
        b.tasks.start(statements.renew([reach]), "renewal")
        statements.say({reach: {"state": "down"}})
        await until(lambda: b.durable(reach) == {"state": "down"})
        await turns()
        last = b.gateway.table.section(*reach[:2])["root"].register
        assert (last.value, last.version.epoch) == ({"state": "down"}, 3)


async def test_what_a_device_reports_goes_with_what_is_said_of_it_in_one_step() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.gate.clear()
        statements.report([Draft(FLOW, 1)], {STATE: "online"})
        await turns()
        statements.report([Draft(FLOW, 2)])
        assert statements.value(FLOW) == 2
        assert b.value(Section.REPORTED, "flow") is None, "its state is not durable yet"
        b.store.gate.set()
        await until(lambda: b.value(Section.REPORTED, "flow") == 2)
        assert [len(changes.registers) for changes in b.store.commits] == [2, 1]
        statements.report([Draft(FLOW, 3)], {STATE: "online"})
        assert b.value(Section.REPORTED, "flow") == 3, "nothing new is said of it"


async def test_what_waits_of_a_device_that_is_another_s_now_is_not_said() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.error = FULL
        statements.say({STATE: "offline"})
        await turns()
        statements.drop(PUMP, [Section.REPORTED])
        assert statements.value(STATE) == "offline"
        b.store.gate.clear()
        b.store.error = None
        statements.say({STATE: "online"})
        statements.drop(PUMP, [Section.REPORTED, Section.PRESENCE])
        assert statements.value(STATE) is None
        b.store.gate.set()
        statements.say({RegisterKey(PUMP, Section.PRESENCE, "adapter"): "fake"})
        await until(lambda: b.value(Section.PRESENCE, "adapter") == "fake")
        assert b.value(Section.PRESENCE, "state") is None


async def test_no_value_waits_for_a_store_that_refuses_statements() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.error = FULL
        statements.report([Draft(FLOW, 1)], {STATE: "online"})
        await until(lambda: b.value(Section.REPORTED, "flow") == 1)
        statements.report([Draft(FLOW, 2)], {STATE: "offline"})
        assert b.value(Section.REPORTED, "flow") == 2
        assert b.value(Section.PRESENCE, "state") is None
        b.store.error = None
        await until(lambda: b.durable(STATE) == "offline" and b.durable(FLOW) == 2)


async def test_what_the_store_refuses_after_the_device_became_another_s_is_not_said_again() -> None:
    async with bench() as b:
        statements = Statements(b.gateway.table, b.gateway.ledger, b.tasks)
        b.store.gate.clear()
        statements.say({STATE: "offline"})
        await turns()
        statements.drop(PUMP, [Section.PRESENCE])
        b.store.error = FULL
        b.store.gate.set()
        await turns()
        assert statements.value(STATE) is None
        b.store.error = None
        statements.say({RegisterKey(PUMP, Section.PRESENCE, "adapter"): "fake"})
        await until(lambda: b.value(Section.PRESENCE, "adapter") == "fake")
        assert b.value(Section.PRESENCE, "state") is None
