"""What the oracle of journal entries takes, and what not."""

from __future__ import annotations

import copy

from tests.simulation.entries import NAME, Entries
from twingateway.ports.journal import Filing
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.entry import EVENT, JournalEntry


def begin(node: MemoryDisk, number: int, journal: bytes) -> None:
    entry = JournalEntry(EVENT, "default", "edge", None, NAME, 0, {"number": number})
    node.journal.begin([Filing(entry, 0, queue=True, keep=False)], journal)


def deliver(node: MemoryDisk, root: MemoryDisk) -> None:
    """All that waits, in its order."""
    waiting = node.journal.queues[EVENT].waiting
    root.journal.receive(Filing(placed.entry, 0, queue=False, keep=True) for placed, _ in waiting.values())
    waiting.clear()


def put_back(entries: Entries, root: MemoryDisk, before: MemoryDisk, after: MemoryDisk) -> MemoryDisk:
    entries.replaced(before, after, [root, after])
    return after


def test_what_only_a_store_that_was_put_back_has_may_come_behind_what_was_told_meanwhile() -> None:
    entries, root, first = Entries(), MemoryDisk(), MemoryDisk()
    begin(first, 1, b"first")
    second = put_back(entries, root, first, MemoryDisk())
    begin(second, 2, b"second")
    deliver(second, root)
    third = put_back(entries, root, second, copy.deepcopy(first))
    deliver(third, root)
    assert entries.judge(root) == []


def test_what_a_root_that_was_replaced_misses_may_come_behind_newer_from_a_store_that_was_put_back() -> None:
    entries, root, node = Entries(), MemoryDisk(), MemoryDisk()
    begin(node, 1, b"only")
    backup = copy.deepcopy(node)
    deliver(node, root)
    begin(node, 2, b"only")
    fresh = MemoryDisk()
    entries.replaced(root, fresh, [fresh, node])
    deliver(node, fresh)
    deliver(put_back(entries, fresh, node, backup), fresh)
    assert entries.judge(fresh) == []


def test_what_began_after_a_store_was_put_back_comes_behind_what_that_had() -> None:
    entries, root, first = Entries(), MemoryDisk(), MemoryDisk()
    begin(first, 1, b"first")
    second = put_back(entries, root, first, MemoryDisk())
    third = put_back(entries, root, second, copy.deepcopy(first))
    late = MemoryDisk()
    begin(late, 2, b"third")
    deliver(late, root)
    deliver(third, root)
    assert entries.judge(root) == [f"journal of {('edge', EVENT, '')}: not in order: [2, 1]"]


def test_a_lost_entry_that_comes_from_no_store_that_was_put_back_is_not_in_order() -> None:
    entries, root, node = Entries(), MemoryDisk(), MemoryDisk()
    begin(node, 1, b"only")
    ahead = copy.deepcopy(node)
    begin(ahead, 2, b"only")
    ahead.journal.delivered({EVENT: 1})
    deliver(ahead, root)
    deliver(node, root)
    assert entries.judge(root) == [f"journal of {('edge', EVENT, '')}: not in order: [2, 1]"]
