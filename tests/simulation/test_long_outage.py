"""A day without a link at 1,000 updates a second: what is kept, what the way back costs, and what arrives.

Whole nodes play a short day here; for a long one, with its figures, see `long_outage`. Beside them, simplified so
that a day takes a second, the sync sessions and the journal's queue themselves: each of 500 registers changes once in
five minutes instead of six hundred times, since only its newest version is kept anyway; of the entries of the journal
every thousandth is made, and its cap is less than a thousandth. Memory is counted in what is held, not in the bytes
of the process.
"""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tests.simulation.long_outage import WHOLE, Plan, Progress, simulate
from tests.sync.world import World, key
from twingateway.ports.journal import Filing
from twingateway.ports.memory_journal import MemoryJournal
from twingateway.twin.entry import CLASSES, EVICTED, HISTORY, JournalEntry

REGISTERS, ROUNDS_IN_A_DAY = 500, 288
SCALE = 1000
ENTRIES_IN_A_MINUTE, MINUTES = 60 * 1000 // SCALE, 24 * 60
CAP = CLASSES[HISTORY].max_bytes // SCALE // 8
#: Bytes of state that may come for each register: twice what a register with its share of a frame takes.
BYTES_A_REGISTER = 60


def back_after(rounds: int) -> tuple[World, int, float]:
    """The world when all is equal again, the bytes that it took, and the seconds."""
    world = World(datagrams=1150)
    for number in range(REGISTERS):
        world.edge.write(key(f"d{number}"), 0)
    world.edge.commit()
    world.calm()
    world.disconnect(world.last_link)
    for moment in range(1, rounds + 1):
        for number in range(REGISTERS):
            world.edge.write(key(f"d{number}"), moment)
        world.edge.commit()
        assert len(world.edge.session.outbox) == REGISTERS
    world.now += rounds * 300.0
    world.connect()
    began, sent = world.now, 0

    def count(frame: bytes) -> bool:
        nonlocal sent
        sent += len(frame)
        return False

    while len(world.edge.session.outbox) or world.edge.pending or world.cloud.pending:
        world.step(lose=count)
        assert world.now < began + 10.0, "it does not come to an end"
    return world, sent, world.now - began


def test_a_day_costs_no_more_than_five_minutes_and_the_newest_value_of_each_register_arrives() -> None:
    day, bytes_of_a_day, seconds_of_a_day = back_after(ROUNDS_IN_A_DAY)
    _, bytes_of_a_moment, _ = back_after(1)
    values = [day.cloud.disk.registers[key(f"d{number}")].register.value for number in range(REGISTERS)]
    assert values == [ROUNDS_IN_A_DAY] * REGISTERS
    assert bytes_of_a_day < REGISTERS * BYTES_A_REGISTER
    assert bytes_of_a_day == pytest.approx(bytes_of_a_moment, rel=0.25)
    assert seconds_of_a_day < 2.0


def test_the_journal_of_a_day_keeps_to_its_cap_and_says_what_it_gave_up() -> None:
    edge, cloud, most = MemoryJournal(), MemoryJournal(), 0
    made = 0
    for minute in range(MINUTES):
        filings = []
        for _ in range(ENTRIES_IN_A_MINUTE):
            made += 1
            entry = JournalEntry(HISTORY, "default", "edge", "pump", "flow", made, made)
            filings.append(Filing(entry, minute * 60_000, queue=True, keep=False))
        edge.begin(filings, b"journal")
        (depth,) = edge.depths()
        most = max(most, depth.bytes)
        if depth.bytes > CAP:
            edge.evict(HISTORY, CAP, 0)
    (depth,) = edge.depths()
    assert depth.bytes <= CAP < most < 1.2 * CAP
    position, arrived = 0, []
    while page := edge.page(HISTORY, position, 64 * 1024):
        position = page[-1].position
        arrived += cloud.receive([Filing(placed.entry, 0, queue=False, keep=True) for placed in page])
        edge.delivered({HISTORY: position})
    assert edge.depths()[0].entries == 0
    given_up = [entry for entry in arrived if entry.gap]
    told = [entry.value for entry in arrived if not entry.gap]
    assert [entry.gap for entry in given_up] == [EVICTED], "one record stands for all of them"
    assert sum(entry.count for entry in given_up) + len(told) == made
    assert told == list(range(made - len(told) + 1, made + 1)), "the newest, in order, each once"


def test_whole_nodes_keep_to_their_bounds_and_are_fresh_again_at_once() -> None:
    plan = Plan(devices=50, hours=4, hour=150.0, rate=100.0, ends=10.0, burst=2.0, pause=30.0, after=10.0, cap=30_000)
    outcome = simulate(plan)
    assert outcome.faults == []
    assert outcome.most_waiting_registers <= plan.devices + 2, "one for each property, and the node's own"
    assert outcome.evicted > 0
    assert outcome.in_gaps + outcome.in_history == outcome.updates + 2 * plan.devices


def test_of_a_whole_day_every_update_is_made() -> None:
    plan = replace(WHOLE, devices=50, hours=2, hour=60.0, burst=60.0, rate=100.0, after=10.0, cap=30_000)
    outcome = simulate(plan)
    assert outcome.faults == []
    assert outcome.made_in_outage == plan.hours * plan.hour * plan.rate
    assert outcome.most_waiting_registers <= plan.devices * plan.properties + 2
    assert outcome.evicted > 0


def test_an_interrupt_ends_the_outage_with_the_hour_and_the_figures_are_of_what_was_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.simulation.long_outage.PROGRESS_EVERY", 0.0)
    plan = replace(WHOLE, devices=10, hours=24, hour=60.0, burst=60.0, rate=100.0, after=10.0, cap=30_000)
    outcome = simulate(plan, lambda line: signal.raise_signal(signal.SIGINT))
    assert (outcome.hours, outcome.made_in_outage) == (1, 6000)
    assert outcome.in_gaps + outcome.in_history == outcome.updates + 3 * plan.devices


def test_progress_is_told_now_and_then_with_rate_and_time_left() -> None:
    progress = Progress(Plan(hours=24, ends=0.0), now=50.0)
    assert progress.line(600.0, 600_000, now=59.9) is None
    told = progress.line(7200.0, 7_200_000, now=350.0)
    assert told is not None
    assert told.startswith("2:00:00 of 1 day, 0:00:00, 7,200,000 updates, 24,000/s, 0:55:00 left, ")
    assert progress.line(7300.0, 7_300_000, now=351.0) is None


def test_a_state_that_is_not_back_in_time_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.long_outage.DIAL_TIMEOUT", 0.0)  # so there are pauses between dials
    plan = Plan(devices=5, hours=1, hour=80.0, rate=20.0, ends=2.0, burst=2.0, pause=30.0, after=30.0, cap=1 << 20)
    faults = simulate(plan).faults
    assert "state was not equal in time" in faults
    assert "nothing was evicted: the cap was not met" in faults
