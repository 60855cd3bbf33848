"""What must have become of journal entries: each once at the root, those of one node and class in order.

The record of a local override is one, too; of these those of one property are in order.

Excuses. An entry, or the gap record that stands for it, is at every moment on the disk of the node that took it last,
and is deleted below when it is durable above. If that disk is replaced by an older copy or an empty one, nobody else
needs to have what was on it.
What waits on a disk that is put back, and waited no more on the one before, may be news above: it comes behind what
was told meanwhile. What began after that comes behind it, as ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.entry import JournalEntry

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
    _met: set[int | None] = field(default_factory=set)
    """Numbers that were on any disk when one was replaced."""
    _behind: defaultdict[int | None, set[int | None]] = field(default_factory=lambda: defaultdict(set))
    """By number of an entry that a disk which was put back has waiting: the numbers that it may come behind."""

    def replaced(self, before: MemoryDisk, after: MemoryDisk, disks: Iterable[MemoryDisk]) -> list[int]:
        """A disk was replaced: the entries that may have gone with it, also those for which it had a gap record;
        `disks`: all that there are now."""
        self._met |= {number_of(entry) for disk in (before, *disks) if disk is not after for entry in _on(disk)}
        for number in {*map(number_of, _waiting(after))} - {*map(number_of, _waiting(before))}:
            self._behind[number] |= self._met
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
        for entry in _kept(root):
            number = number_of(entry)
            if number is not None:
                arrived[entry.node, entry.class_name, _property(entry)].append(number)
            elif entry.gap:
                missing[entry.node, entry.class_name] += entry.count
        for key in {*arrived, *self.done}:
            numbers = arrived[key]
            twice = sorted({number for number in numbers if numbers.count(number) > 1})
            if twice:
                problems.append(f"journal of {key}: {twice} came twice")
            if any(before not in self._behind[number] for before, number in _inverted(numbers)):
                problems.append(f"journal of {key}: not in order: {numbers}")
            lacking = [number for number in self.done[key] if number not in numbers and number not in self.excused]
            missing[key[:2]] -= len(lacking)
            if lacking and missing[key[:2]] < 0:
                problems.append(f"journal of {key}: {lacking} never came, and no gaps stand for them")
        return problems


def _inverted(numbers: list[int]) -> Iterable[tuple[int, int]]:
    """Each number with each greater one that came before it: the greater one first."""
    return ((before, after) for before, after in combinations(numbers, 2) if before > after)


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
    yield from _waiting(disk)


def _waiting(disk: MemoryDisk) -> Iterable[JournalEntry]:
    return (placed.entry for queue in disk.journal.queues.values() for placed, _ in queue.waiting.values())
