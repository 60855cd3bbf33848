"""What must have become of journal entries: each once at the root, those of one node and class in order, or else a
gap record in its place.

The record of a local override is one, too; of these those of one property are in order.

Excuses. An entry, or the gap record that stands for it, is at every moment on the disk of the node that took it last,
and is deleted below when it is durable above; but whoever had it knows, and says, that there was one. If the disks of
all of these below the root are replaced by older copies or empty ones, nobody else needs to know of it.
What waits on a disk that is put back, and waited no more on the one before, may be news above: it comes behind what
was told meanwhile. What began after that comes behind it, as ever. So may what waits still where it began, as nobody
there has heard that it was passed on, if the root was put back to before that, and then who had passed it on, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from tests.simulation.topology import ROOT
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.entry import JournalEntry

#: The name of the entries that the simulation makes.
NAME = "simulated"
#: The name of the records of local overrides.
OVERRIDE = "override"

#: Of an entry: class, journal and seq.
Place = tuple[str, bytes, int]


@dataclass(slots=True)
class Entries:
    """`done`: (node, class, overridden property) → numbers of the entries whose writer was told that
    they are durable, ascending."""

    done: defaultdict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    _place: dict[int, Place] = field(default_factory=dict)
    _had: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By node but the root: the numbers of entries that ever waited on its disk, or on that of which it is a copy."""
    _copies: list[tuple[MemoryDisk, set[int]]] = field(default_factory=list)
    """The same of copies of disks."""
    _met: set[int | None] = field(default_factory=set)
    """Numbers that were on any disk when one was replaced."""
    _lost_above: set[int] = field(default_factory=set)
    """Numbers that a root which was put back does not have any more."""
    _behind: defaultdict[int | None, set[int | None]] = field(default_factory=lambda: defaultdict(set))
    """By number of an entry that a disk which was put back has waiting: the numbers that it may come behind."""

    def look(self, node: str, disk: MemoryDisk) -> None:
        """A node has made something durable."""
        if node == ROOT:
            return
        for entry in _waiting(disk):
            number = number_of(entry)
            if number is not None:
                self._place[number] = (entry.class_name, entry.journal_id, entry.seq)
                self._had[node].add(number)

    def copied(self, node: str, copy: MemoryDisk) -> None:
        """A node's disk was backed up."""
        self._copies.append((copy, set(self._had[node])))

    def replaced(self, node: str, before: MemoryDisk, after: MemoryDisk, disks: Iterable[MemoryDisk]) -> list[int]:
        """A disk was replaced: the entries that are gone with it; `disks`: all that there are now."""
        others = [disk for disk in disks if disk is not after]
        self._met |= {number_of(entry) for disk in (before, *others) for entry in _on(disk)}
        waited = {*map(number_of, _waiting(before))}
        below = {number_of(entry) for disk in others for entry in _waiting(disk)}
        passed_on = (self._had[node] - waited) & self._lost_above
        for number in ({*map(number_of, _waiting(after))} - waited) | (passed_on & below):
            self._behind[number] |= self._met
        self._had[node] = next((had for copy, had in self._copies if copy is after), set())
        gone = {number_of(entry) for entry in _on(before)} - {number_of(entry) for entry in _on(after)}
        numbers = sorted(number for number in gone if number is not None)
        self._lost_above |= {*numbers} if node == ROOT else set()
        return numbers

    def judge(self, root: MemoryDisk) -> list[str]:
        problems: list[str] = []
        arrived: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        gaps: set[Place] = set()
        for entry in _kept(root):
            number = number_of(entry)
            if number is not None:
                arrived[entry.node, entry.class_name, _property(entry)].append(number)
            elif entry.gap:
                gaps |= {(entry.class_name, entry.journal_id, seq) for seq in range(entry.seq, entry.last + 1)}
        known = set().union(*self._had.values())
        for key in {*arrived, *self.done}:
            numbers = arrived[key]
            twice = sorted({number for number in numbers if numbers.count(number) > 1})
            if twice:
                problems.append(f"journal of {key}: {twice} came twice")
            if any(before not in self._behind[number] for before, number in _inverted(numbers)):
                problems.append(f"journal of {key}: not in order: {numbers}")
            both = sorted(n for n in numbers if self._place[n] in gaps and not self._behind[n])
            if both:
                problems.append(f"journal of {key}: {both} came, and gaps stand for them")
            lacking = {*self.done[key]} - {*numbers}
            untold = sorted(number for number in lacking & known if self._place[number] not in gaps)
            if untold:
                problems.append(f"journal of {key}: {untold} never came, and no gap stands for them")
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
