"""What the oracle of journal entries takes, and what not."""

from __future__ import annotations

import copy

import pytest

from tests.simulation.entries import NAME, Entries
from tests.simulation.topology import ROOT
from twingateway.ports.journal import Filing
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.entry import EVENT, LOST, JournalEntry

EDGE, REGION = "edge", "region"
KEY = (EDGE, EVENT, "")


class Told(Entries):
    """An edge below a root. `begin` and `deliver` are what the nodes do."""

    def __init__(self) -> None:
        super().__init__()
        self.disks = {ROOT: MemoryDisk(), EDGE: MemoryDisk()}

    def begin(self, number: int, journal: bytes, disk: MemoryDisk | None = None) -> None:
        entry = JournalEntry(EVENT, "default", EDGE, None, NAME, 0, {"number": number})
        disk = disk or self.disks[EDGE]
        disk.journal.begin([Filing(entry, 0, queue=True, keep=False)], journal)
        self.look(EDGE, disk)
        self.done[KEY].append(number)

    def deliver(self, disk: MemoryDisk | None = None) -> None:
        """All that waits, in its order."""
        waiting = (disk or self.disks[EDGE]).journal.queues[EVENT].waiting
        self.disks[ROOT].journal.receive(Filing(p.entry, 0, queue=False, keep=True) for p, _ in waiting.values())
        waiting.clear()

    def back_up(self, node: str) -> MemoryDisk:
        made = copy.deepcopy(self.disks[node])
        self.copied(node, made)
        return made

    def put_back(self, node: str, disk: MemoryDisk) -> None:
        before, self.disks[node] = self.disks[node], disk
        self.replaced(node, before, disk, self.disks.values())

    def remind(self, journal: bytes, last: int) -> None:
        gap = JournalEntry(EVENT, "default", EDGE, None, "", 0, None, journal, 1, last, LOST)
        self.disks[ROOT].journal.receive([Filing(gap, 0, queue=False, keep=True)])

    @property
    def problems(self) -> list[str]:
        return self.judge(self.disks[ROOT])


def test_what_only_a_store_that_was_put_back_has_may_come_behind_what_was_told_meanwhile() -> None:
    world = Told()
    world.begin(1, b"first")
    backup = world.back_up(EDGE)
    world.put_back(EDGE, MemoryDisk())
    world.begin(2, b"second")
    world.deliver()
    world.put_back(EDGE, backup)
    world.deliver()
    assert world.problems == []


def test_what_a_root_that_was_replaced_misses_may_come_behind_newer_from_a_store_that_was_put_back() -> None:
    world = Told()
    world.begin(1, b"only")
    backup = world.back_up(EDGE)
    world.deliver()
    world.begin(2, b"only")
    world.put_back(ROOT, MemoryDisk())
    world.deliver()
    world.put_back(EDGE, backup)
    world.deliver()
    assert world.problems == []


def test_what_began_after_a_store_was_put_back_comes_behind_what_that_had() -> None:
    world = Told()
    world.begin(1, b"first")
    backup = world.back_up(EDGE)
    world.put_back(EDGE, MemoryDisk())
    world.put_back(EDGE, backup)
    late = MemoryDisk()
    world.begin(2, b"third", late)
    world.deliver(late)
    world.deliver()
    assert world.problems == [f"journal of {KEY}: not in order: [2, 1]"]


def test_a_lost_entry_that_comes_from_no_store_that_was_put_back_is_not_in_order() -> None:
    world = Told()
    world.begin(1, b"only")
    ahead = copy.deepcopy(world.disks[EDGE])
    world.begin(2, b"only", ahead)
    ahead.journal.delivered({EVENT: 1})
    world.deliver(ahead)
    world.deliver()
    assert f"journal of {KEY}: not in order: [2, 1]" in world.problems


def test_for_what_a_root_that_was_put_back_lacks_a_gap_stands_if_the_node_where_it_began_is_as_it_was() -> None:
    world = Told()
    empty = world.back_up(EDGE)
    backup = world.back_up(ROOT)
    world.begin(1, b"only")
    world.begin(2, b"only")
    world.deliver()
    world.put_back(ROOT, backup)
    assert world.problems == [f"journal of {KEY}: [1, 2] never came, and no gap stands for them"]
    world.remind(b"only", 1)
    assert world.problems == [f"journal of {KEY}: [2] never came, and no gap stands for them"]
    world.remind(b"only", 2)
    assert world.problems == []
    world.begin(3, b"only")
    world.disks[EDGE].journal.delivered({EVENT: 9})
    assert world.problems == [f"journal of {KEY}: [3] never came, and no gap stands for them"]
    world.put_back(EDGE, empty)
    assert world.problems == [], "nobody knows of it any more"


def test_no_gap_stands_for_what_came_unless_a_store_that_was_put_back_brought_it() -> None:
    world = Told()
    backup = world.back_up(ROOT)
    world.begin(1, b"only")
    held = world.back_up(EDGE)
    world.deliver()
    world.put_back(ROOT, backup)
    world.remind(b"only", 1)
    world.put_back(EDGE, held)
    world.deliver()
    assert world.problems == []
    world.begin(2, b"other")
    world.remind(b"other", 1)
    world.deliver()
    assert world.problems == [f"journal of {KEY}: [2] came, and gaps stand for them"]


@pytest.mark.parametrize("root_first", [True, False])
def test_what_waits_below_a_node_that_has_forgotten_it_may_come_to_a_root_that_has_a_gap(root_first: bool) -> None:
    """That node had passed it on, and told a root that was put back of it before it was put back itself."""
    world = Told()
    backup = world.back_up(ROOT)
    world.begin(1, b"only")
    between = world.disks[REGION] = copy.deepcopy(world.disks[EDGE])
    world.look(REGION, between)
    world.deliver(between)
    replaced = [(ROOT, backup), (REGION, MemoryDisk())]
    for node, disk in replaced if root_first else reversed(replaced):
        world.put_back(node, disk)
    world.remind(b"only", 1)
    world.deliver()
    came = [] if root_first else [f"journal of {KEY}: [1] came, and gaps stand for them"]
    assert world.problems == came, "if it had forgotten it before, it could not have told of it"
