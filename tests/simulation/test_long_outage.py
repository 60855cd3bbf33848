"""A day without a link at 1,000 updates a second: what is kept, what the way back costs, and what arrives.

Simplified, so that a day takes a second: the sync sessions and the journal's queue themselves, without the gateways
around them (the worlds of `test_simulation` have those). Each of 500 registers changes once in five minutes instead
of six hundred times, since only its newest version is kept anyway; of the journal's entries every thousandth is made,
and its cap is less than a thousandth. Memory is counted in what is held, not in the bytes of the process.
"""

from __future__ import annotations

import pytest

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
