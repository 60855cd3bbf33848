"""In which order devices are written, and what they hold in the end.

Nobody writes what he was told is not wanted any more, nor what the device has been given; and the twin says what the
device holds. Who cannot know it is excused: see `oracle`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from tests.simulation.excuses import Excuses
from tests.simulation.overrides import LocalEdits
from tests.simulation.tenures import Grant, Tenures, granted_by
from tests.simulation.topology import ROOT
from tests.simulation.traces import has_trace, says_written
from tests.simulation.writes import DONE, LOST, REFUSED, Key, Write, Writes
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.overridden import override_of
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.conflict import Outcome
from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section
from twingateway.twin.value import Value

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Written:
    """One write that a machine carried out. `grant`: under which its node held the device when it began, at `begun`.
    `lost`: no disk says that it was made, since the node's was replaced and those were that it had told. `excused`:
    who made it could not know that another value was wanted."""

    at: float
    node: str
    value: Value
    grant: Grant
    begun: float
    lost: bool = False
    excused: bool = False

    def is_unaware_of(self, other: Written) -> bool:
        """The device had come to the other's node, and this one's did not act on that."""
        return self.grant < other.grant or (self.grant == other.grant and self.node != other.node)


class Order:
    """What machines did, by whom. `demand` is told of everything that can never be right again."""

    def __init__(
        self,
        world: World,
        writes: Writes,
        edits: LocalEdits,
        tenures: Tenures,
        excuses: Excuses,
        demand: Callable[[bool, str], None],
    ) -> None:
        self._world = world
        self._writes = writes
        self._edits = edits
        self._tenures = tenures
        self._excuses = excuses
        self._demand = demand
        self._begun: dict[tuple[str, str, str], tuple[Grant, float]] = {}
        """By node, device and property: the grant that its last write was begun under, and when."""
        self._written: defaultdict[Key, list[Written]] = defaultdict(list)
        self._replaced: defaultdict[str, list[float]] = defaultdict(list)
        """When each node's store was replaced."""
        self._unnoticed: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        """By node: when its store was replaced, and when it was again before the node had been told so."""

    def replaced(self, node: str, disks: Iterable[MemoryDisk]) -> None:
        """A node has another disk than before, one of these."""
        world = self._world
        before = self._replaced_at(node)
        if before >= 0 and not world.word.is_told(node, before, world.now):
            self._unnoticed[node].append((before, world.now))
        self._replaced[node].append(world.now)
        disks = list(disks)
        for key, written in self._written.items():
            is_replaced = self._replaced_at(written[-1].node) >= written[-1].at
            if is_replaced and not any(self._says_written(disk, key) for disk in disks):
                written[-1] = replace(written[-1], lost=True)

    def begun(self, node: str, device: str, name: str, value: Value) -> None:
        """A node is about to write."""
        table, identity = self._world.nodes[node].gateway.table, DeviceId("default", device)
        self._begun[node, device, name] = granted_by(table.get(lifecycle_key(identity))), self._world.now
        desired, override = table.value(identity, Section.DESIRED, name), override_of(table, identity, name)
        told = [plain(desired), None if override is None else override.value]
        self._demand(value in told, f"{node} writes {device}.{name}={value} though it was told {told}")

    def written(self, node: str, device: str, name: str, value: Value) -> None:
        """A write had its effect at a device."""
        world, key = self._world, (device, name)
        world.note(f"{node} wrote {device}.{name}={value}")
        this = Written(world.now, node, value, *self._begun[node, device, name])
        write = self._writes.find(key, value)
        if write is None and self._edits.find(key, value) is None:
            self._demand(False, f"{device}.{name}={value} was written, and nobody wanted it")
            return
        if write is not None and write.ttl is not None and write.outcome == DONE:
            late = world.now - write.ended - write.ttl
            self._demand(late <= 0, f"{device}.{name}={value} was written {late:.3f} s after its time")
        excused = self._judge_order(key, write, this)
        self._written[key].append(replace(this, excused=excused))

    def _judge_order(self, key: Key, write: Write | None, this: Written) -> bool:
        """Whether it is right only because of an excuse."""
        excused = False
        for number, earlier in enumerate(self._written[key]):
            if earlier.value == this.value:
                if earlier.node != this.node or self._writes.is_moved_since(key[0], earlier.at):
                    continue
                problem = f"{key}: {this.node} wrote {this.value} again"
            elif self._is_stale(key, write, earlier):
                problem = f"{key}: {this.node} wrote {this.value} after {earlier.value}"
            else:
                continue
            is_again = earlier.value == this.value
            between = self._written[key][number + 1 :] if is_again else [earlier]
            excuses = {
                "mended": is_again and any(each.excused or self._is_put_back(each, earlier) for each in between),
                "cut off": any(self._is_cut_off(key, this, each) for each in between),
                "put back": self._is_put_back(this, earlier),
                "uncovered": self._is_uncovered(key, between),
                "lent": is_again and self._is_lent(key, this, between),
                "bared": is_again and self._is_bared(key, between),
                "unheard": any(self._is_unheard(key, this, each) for each in between),
                "open again": self._edits.is_open_again(key, this.value),
                "taken anew": is_again and bool(between) and self._edits.is_taken_anew(key, this.value, earlier.at),
            }
            excused = self._excuses.excuse(excuses)
            self._demand(excused, problem)
        return excused

    def _replaced_at(self, node: str, by: float = inf) -> float:
        """When its store was last, until then; less than any time if it never was."""
        return max((at for at in self._replaced[node] if at <= by), default=-1.0)

    def _is_told(self, this: Written, since: float) -> bool:
        """Whether its writer had been told, before it began, what the root knew then; and, should its store have been
        replaced since, once more."""
        since = max(since, self._replaced_at(this.node, this.begun))
        return self._world.word.is_told(this.node, since, this.begun)

    def _is_stale(self, key: Key, write: Write | None, earlier: Written) -> bool:
        """What is written had been replaced by what was written earlier, and that is not void."""
        other = self._writes.find(key, earlier.value)
        if write is None or other is None or other.outcome in (LOST, REFUSED):
            return False
        return write.is_before(other)

    def _is_cut_off(self, key: Key, this: Written, earlier: Written) -> bool:
        """The writer was not told that the device is not its own any more, nor is what it writes over."""
        is_own = earlier.node == this.node and earlier.grant <= this.grant
        taken = self._tenures.taken_at(key[0], this.node, this.grant)
        return taken < inf and not is_own and not self._is_told(this, taken)

    def _is_put_back(self, this: Written, earlier: Written) -> bool:
        """The writer's store was replaced since, and it has not heard what it had done and was told before."""
        at = self._replaced_at(this.node)
        return at >= earlier.at and not self._world.word.is_told(this.node, at, this.begun)

    def _is_unheard(self, key: Key, this: Written, earlier: Written) -> bool:
        """The root was put back since, and knows of what was written earlier, or of what was wanted later, only what
        others tell it that do, if any does; the writer, which may have been put back as well, was not told since it
        met one of these."""
        at, word = self._replaced_at(ROOT), self._world.word
        lost = self._writes.find(key, earlier.value)
        is_own = earlier.node == this.node
        if lost is None or at < lost.asked or (is_own and self._replaced_at(this.node) < earlier.at):
            return False
        later = [write for write in self._writes.by_key[key] if write is lost or lost.is_before(write)]
        nodes = self._world.nodes.items()
        knowing = {name for name, node in nodes if any(has_trace(node.disk, write) for write in later)} - {ROOT}
        if is_own and not knowing:
            return True
        met = min((word.told_at(name, at) for name in knowing), default=at)
        return this.node not in knowing and not self._is_told(this, met)

    def _is_lent(self, key: Key, this: Written, since: list[Written]) -> bool:
        """A root that was put back had given the device to another node, which wrote it since then."""
        return any(
            each.node != this.node
            and self._replaced_at(ROOT, each.begun) >= 0
            and self._tenures.is_held(key[0], each.node, each.grant, each.begun)
            for each in since
        )

    def _is_uncovered(self, key: Key, since: list[Written]) -> bool:
        """An override was written since then, and its line ended otherwise than as the desired value, in the end or
        until a person decided anew."""
        edits = [edit for each in since if (edit := self._edits.find(key, each.value)) is not None]
        return any(
            each.withdrawal != REFUSED
            or each.verdict is Outcome.LOST
            or each.is_decided_anew
            or self._edits.is_void(each)
            for edit in edits
            for each in self._edits.line_of(edit)
        )

    def _is_bared(self, key: Key, since: list[Written]) -> bool:
        """What the device was given last since then is a write that nobody knows of any more."""
        over = self._writes.find(key, since[-1].value) if since else None
        return over is not None and over.outcome == LOST

    def _first_of(self, key: Key, last: Written) -> float:
        """When the value that the last write put back was at the device before; never if it was not."""
        before = [each.at for each in self._written[key][:-1] if each.value == last.value]
        return before[0] if before else inf

    def _says_written(self, disk: MemoryDisk, key: Key) -> bool:
        """Whether a disk says of the last write of a property that it was made, or may have been: of a value that was
        there before, and came back when an override ended, only one that has heard of the override."""
        *before, last = (each.value for each in self._written[key])
        ended = self._edits.find(key, before[-1]) if last in before else None
        return says_written(disk, key, last, 0 if ended is None else ended.value)

    def _is_of_former(self, key: Key, last: Written) -> bool:
        """Its node held the device no more, and had not been told so."""
        present = self._world.cloud.disk.registers.get(lifecycle_key(DeviceId("default", key[0])))
        taken = self._tenures.taken_at(key[0], last.node, last.grant, last.at)
        if taken < inf:
            return not self._is_told(last, taken)
        return last.grant < granted_by(present) and any(map(last.is_unaware_of, self._written[key]))

    def is_excused(self, key: Key) -> bool:
        """Nobody can know what the device holds: see above."""
        if not self._written[key]:
            return False
        last = self._written[key][-1]
        write, edit = self._writes.find(key, last.value), self._edits.find(key, last.value)
        first = self._first_of(key, last)
        put_back = self._unnoticed[last.node]
        excuses = {
            "of a former holder": self._is_of_former(key, last),
            "written and lost": last.lost,
            "put back twice": any(first <= replaced <= last.at <= ended for replaced, ended in put_back),
            "of a void override": edit is not None and self._edits.is_void(edit),
            "of a write that was not done": write is not None and write.outcome != DONE,
        }
        return self._excuses.excuse(excuses, now=True)
