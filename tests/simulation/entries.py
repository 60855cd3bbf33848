"""What must have become of journal entries: each once at the root, those of one node and class in order.

The record of a local override is one, too; of these those of one property are in order.

Excuse. An entry, or the gap record that stands for it, is at every moment on the disk of the node that took it last,
and is deleted below when it is durable above. If that disk is replaced by an older copy or an empty one, nobody else
needs to have what was on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.entry import LOST, JournalEntry

#: The name of the entries that the simulation makes.
NAME = "simulated"
#: The name of the records of local overrides.
OVERRIDE = "override"


@dataclass(slots=True)
class Entries:
    """`done`: (node, class, overridden property) → numbers of the entries whose writer was told that
    they are durable, ascending."""

    done: defaultdict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    excused: set[int | None] = field(default_factory=set)

    def replaced(self, before: MemoryDisk, after: MemoryDisk, disks: Iterable[MemoryDisk]) -> list[int]:
        """A disk was replaced: the entries that may have gone with it, also those for which it had a gap record;
        `disks`: all that there are now."""
        gone = {number_of(entry) for entry in _on(before)} - {number_of(entry) for entry in _on(after)} - {None}
        known = {number_of(entry) for disk in (before, *disks) for entry in _on(disk)}
        given_up = {(entry.node, entry.class_name) for entry in _on(before) if entry.gap}
        for key, numbers in self.done.items():
            if key[:2] in given_up:
                gone |= {*numbers} - known
        self.excused |= gone
        return sorted(gone)

    def judge(self, root: MemoryDisk) -> list[str]:
        problems: list[str] = []
        arrived: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        missing: defaultdict[tuple[str, str], int] = defaultdict(int)
        late = False
        for entry in _kept(root):
            number = number_of(entry)
            if number is not None:
                arrived[entry.node, entry.class_name, _property(entry)].append(number)
            elif entry.gap:
                missing[entry.node, entry.class_name] += entry.count
                late = late or entry.gap == LOST
        for key in {*arrived, *self.done}:
            numbers = arrived[key]
            twice = sorted({number for number in numbers if numbers.count(number) > 1})
            if twice:
                problems.append(f"journal of {key}: {twice} came twice")
            # What a replaced root missed (`lost`) may still come, from a node that was put back too: behind newer.
            if numbers != sorted(numbers) and not late:
                problems.append(f"journal of {key}: not in order: {numbers}")
            lacking = [number for number in self.done[key] if number not in numbers and number not in self.excused]
            missing[key[:2]] -= len(lacking)
            if lacking and missing[key[:2]] < 0:
                problems.append(f"journal of {key}: {lacking} never came, and no gaps stand for them")
        return problems


def number_of(entry: JournalEntry) -> int | None:
    """The number of an entry that the simulation made."""
    if entry.name not in (NAME, OVERRIDE) or entry.gap or not isinstance(entry.value, dict):
        return None
    number = entry.value["number" if entry.name == NAME else "value"]
    assert isinstance(number, int)
    return number


def _property(entry: JournalEntry) -> str:
    overridden = entry.name == OVERRIDE and isinstance(entry.value, dict)
    return f"{entry.device}.{entry.value['property']}" if overridden else ""  # type: ignore[index,call-overload]


def _kept(disk: MemoryDisk) -> Iterable[JournalEntry]:
    return (placed.entry for kept in disk.journal.kept.values() for placed in kept)


def _on(disk: MemoryDisk) -> Iterable[JournalEntry]:
    yield from _kept(disk)
    for queue in disk.journal.queues.values():
        yield from (placed.entry for placed, _ in queue.waiting.values())
