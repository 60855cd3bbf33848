"""What must be true whatever happened: an independent model of the promises, without versions, outboxes or cursors.

It knows what clients, devices and edges did and were told (`Writes`, `Entries`, the log of each machine), and looks
at disks only when one is replaced, to know what is gone from the world. Every excuse is written down where it is
made; there are these:

- `Writes`, `Entries`: what was on replaced disks only cannot come back.
- *A holder that is cut off cannot know that the device was moved*, or deleted and created anew: it may write what it
  was last told over what the new holder wrote. Nothing but the device could fence it. The same goes for one that was
  told of no newer grant because its root was put back to a copy from before that.
- *An edge whose store was replaced does not know what it wrote*: until it hears from the root it acts on an older
  desired value, and it may write again what it wrote since the copy. If its store is replaced again before it has
  heard, nobody knows that the device was put back.
- *A root that is put back and started again before anybody told it so* cannot tell what it wrote since it was put
  back from what it had written before the copy: of that it may prefer what a node below has, though that is older.
- *Who is given a device knows what was written to it only if the root had heard of it*: a value that was written just
  before a move may be written again after it. A root that was put back hears of what it has lost only from who knows
  it: until it has met one of these, whoever it gives the device to is told an older desired value.
- *What the device holds is asked for only when it is granted, and before it is written*: where its last write is not
  known to a holder that was put back, and nobody else remembers that it was (or was of a node that was cut off), the
  twin says what the copies say. So it is where what was written was wanted before, and what made it wanted again (an
  override was taken back) is lost.
- *What was shown before its commit* (reported values are) and is in no process and on no disk any more that told it
  or was told it, or only in those of a former holder when the device is moved, is not shown again, until the
  device is read again.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from tests.simulation.entries import Entries
from tests.simulation.machines import FORBIDDEN, WRITABLE
from tests.simulation.overrides import LocalEdits
from tests.simulation.topology import ROOT, WIRES
from tests.simulation.writes import ALIVE, ANYBODY, DONE, HOLDER, LOST, REFUSED, Key, Write, Writes
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.events import Changed, Event
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.gateway.state.overridden import override_of
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import MemoryNode
from twingateway.twin.ack import OVERRIDDEN, Ack, AckState
from twingateway.twin.conflict import Outcome
from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override
from twingateway.twin.register import RegisterKey, Section, StoredRegister
from twingateway.twin.value import Value

if TYPE_CHECKING:
    from tests.simulation.world import World

LABEL = "room"
COMPARED = (Section.REPORTED, Section.DESIRED, Section.TAGS, Section.ACK, Section.OVERRIDE, Section.VERDICT)
#: Registers that one device can have: of all sections and names together.
REGISTERS = 24


@dataclass(frozen=True, slots=True)
class Written:
    """One write that a machine carried out. `grant`: under which its node held the device when it began. `fenced`: by
    a node that the root had taken the device from. `lost`: no disk says that it was made, since the node's was
    replaced and those were that it had told."""

    at: float
    node: str
    value: Value
    grant: tuple[int, int]
    fenced: bool
    lost: bool = False

    def is_unaware_of(self, other: Written) -> bool:
        """The device had come to the other's node, and this one's had not been told so."""
        return self.grant < other.grant or (self.grant == other.grant and self.node != other.node)


class Oracle:
    """Follows what was promised and what was shown; judges after the quiet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.writes = Writes()
        self.entries = Entries()
        self.edits = LocalEdits(world.seed, self.writes)
        self._begun: dict[tuple[str, str, str], tuple[int, int]] = {}
        """By node, device and property: the grant that its last write was begun under."""
        self._written: defaultdict[Key, list[Written]] = defaultdict(list)
        self._replaced: dict[str, float] = {}
        """When each node's store was replaced last."""
        self._uninformed: dict[str, float] = {}
        """The same, of nodes that have not heard from their parent since."""
        self._unheard: set[str] = set()
        """Nodes that the root, put back, has not met since, nor anybody whom it has."""
        self._unnoticed: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        """By node: when its store was replaced, and when it was again before the node had heard so."""
        self._shown: dict[str, int] = {}
        self._unaware: float | None = None
        """Since when the root is an older copy of itself and does not know it."""
        self.problems: list[str] = []
        """What can never be right again."""

    # --- what happened -------------------------------------------------------------------------------------------

    def watch(self, root: Gateway) -> None:
        """Listen to what the root shows, in this life of it."""
        publish = root.events.publish
        self.look()

        def observed(*events: Event) -> None:
            for event in events:
                if isinstance(event, Changed):
                    self._see(event)
                    if event.stored.register.key.section is Section.LIFECYCLE:
                        self._lose_what_was_shown()
            publish(*events)

        root.events.publish = observed  # type: ignore[method-assign]

    def replaced(self, node: str, before: MemoryDisk) -> None:
        """A node has another disk than before."""
        world = self._world
        if node in self._uninformed:
            self._unnoticed[node].append((self._uninformed[node], world.now))
        self._replaced[node] = self._uninformed[node] = world.now
        if node == ROOT:
            self._shown.clear()
            self._unaware = world.now
            self._unheard = {*world.topology.parents}
        self._lose_what_was_shown()
        disks = [each.disk for each in world.nodes.values()]
        for key, written in self._written.items():
            is_replaced = self._replaced.get(written[-1].node, -1.0) >= written[-1].at
            if is_replaced and not any(self._says_written(disk, key) for disk in disks):
                written[-1] = replace(written[-1], lost=True)
        lost = self.edits.replaced(disks, root_at=world.now if node == ROOT else None)
        gone = [
            write
            for key in list(self.writes.by_key)
            for write in self.writes.lose(key, lambda write: any(_has(disk, write) for disk in disks))
        ]
        numbers = self.entries.replaced(node, before, world.nodes[node].disk, disks)
        if gone or lost or numbers:
            world.note(f"  gone with it: {[f'{each.key}={each.value}' for each in [*gone, *lost]]} entries {numbers}")

    def ended(self) -> None:
        """A node's process is about to end."""
        self._hear()

    def _hear(self) -> None:
        """Who hears from its parent knows whether its store was replaced; what a child knows comes to the root."""
        for name, node in self._world.running():
            if name not in self._unheard:
                met = {p.name for p in node.gateway.peers if any(p.session.met(line.number) for line in p.lines)}
                self._unheard -= met
            parent = node.gateway.peers.parent
            if parent is not None and any(parent.session.met(line.number) for line in parent.lines):
                self._uninformed.pop(name, None)

    def _lose_what_was_shown(self) -> None:
        """What nobody has any more under a grant: only its holder's word counts, and that of whom it was told. What
        only a former holder has, from before the device was moved, is void."""
        world = self._world
        for device, shown in self._shown.items():
            key = RegisterKey(DeviceId("default", device), Section.REPORTED, "value")
            way = world.topology.way_up(self.holder_by_root(device) or ROOT)
            copies = [node.gateway.table.get(key) for name, node in world.running() if name in way]
            copies += [world.nodes[name].disk.registers.get(key) for name in way]
            granted = [copy.register for copy in copies if copy is not None and copy.register.version.epoch > 0]
            known = [register.value for register in granted if isinstance(register.value, int)]
            self._shown[device] = min(shown, max(known, default=0))

    def look(self) -> None:
        """The root's disk may have changed."""
        self.edits.look(self._world.cloud.disk, self._world.now)

    def root_died(self, *, repaired: bool) -> None:
        """The root's process has ended; `repaired`: it found out in this life that it is an older copy."""
        self.look()
        self._lose_what_was_shown()
        self.writes.root_died(self._world.now)
        if repaired:
            self._unaware = None
        if self._unaware is not None:
            self.writes.excuse(since=self._unaware)

    def crashed(self, context: dict[str, Any]) -> None:
        """Something raised what nobody expects."""
        error = context.get("exception")
        where = "" if error is None else "".join(traceback.format_exception(error)[-3:])
        self._demand(False, f"{context['message']}: {error!r} {where}")

    def begun(self, node: str, device: str, name: str, value: Value) -> None:
        """A node is about to write."""
        table, identity = self._world.nodes[node].gateway.table, DeviceId("default", device)
        self._begun[node, device, name] = _granted_by(table.get(lifecycle_key(identity)))
        desired, override = table.value(identity, Section.DESIRED, name), override_of(table, identity, name)
        told = [plain(desired), None if override is None else override.value]
        self._demand(value in told, f"{node} writes {device}.{name}={value} though it was told {told}")

    def written(self, node: str, device: str, name: str, value: Value) -> None:
        """A write had its effect at a device."""
        world, key = self._world, (device, name)
        world.note(f"{node} wrote {device}.{name}={value}")
        grant, is_taken = self._begun[node, device, name], self.holder_by_root(device) != node
        this = Written(world.now, node, value, grant, fenced=is_taken)
        write = self.writes.find(key, value)
        if write is None and self.edits.find(key, value) is None:
            self._demand(False, f"{device}.{name}={value} was written, and nobody wanted it")
            return
        if write is not None and write.ttl is not None and write.outcome == DONE:
            late = world.now - write.ended - write.ttl
            self._demand(late <= 0, f"{device}.{name}={value} was written {late:.3f} s after its time")
        self._judge_order(key, write, this)
        self._written[key].append(this)

    def _judge_order(self, key: Key, write: Write | None, this: Written) -> None:
        for number, earlier in enumerate(self._written[key]):
            forgot = self._replaced.get(this.node, -1.0) >= earlier.at
            is_cut_off = this.fenced or this.is_unaware_of(earlier)
            if is_cut_off or forgot or self._is_uncovered(key, self._written[key][number:]):
                continue
            if earlier.value == this.value:
                again = earlier.node == this.node and not self.writes.is_moved_since(key[0], earlier.at)
                self._demand(not again, f"{key}: {this.node} wrote {this.value} again")
                continue
            other = self.writes.find(key, earlier.value)
            stale = write is not None and other is not None and write.is_before(other) and other.outcome != LOST
            if stale and other is not None and self._is_unheard(other, this.node):
                continue
            self._demand(not stale, f"{key}: {this.node} wrote {this.value} after {earlier.value}")

    def _is_unheard(self, lost: Write, writer: str) -> bool:
        """Only who knows of a desired value that the root has lost, or of a later one, could have told the writer."""
        self._hear()
        later = [write for write in self.writes.by_key[lost.key] if write is lost or lost.is_before(write)]
        nodes = self._world.nodes.items()
        knowing = {name for name, node in nodes if any(_has(node.disk, write) for write in later)}
        return bool(knowing) and writer not in knowing and knowing <= self._unheard

    def _is_uncovered(self, key: Key, since: list[Written]) -> bool:
        """An override was written since then, and its line ended otherwise than as the desired value, in the end or
        until a person decided anew."""
        edits = [edit for each in since if (edit := self.edits.find(key, each.value)) is not None]
        return any(
            each.withdrawal != REFUSED
            or each.verdict is Outcome.LOST
            or each.is_decided_anew
            or self.edits.is_void(each)
            for edit in edits
            for each in self.edits.line_of(edit)
        )

    def _see(self, event: Changed) -> None:
        register = event.stored.register
        if register.key.section is not Section.REPORTED or register.key.name != "value":
            return
        device, value = register.key.device.name, register.value
        if not isinstance(value, int):
            self._shown.pop(device, None)  # it is deleted
            return
        before = self._shown.get(device, 0)
        self._demand(value >= before, f"{device} went back from {before} to {value}")
        self._shown[device] = value

    def holder_by_root(self, device: str) -> str | None:
        lifecycle = self._world.nodes[ROOT].disk.registers.get(lifecycle_key(DeviceId("default", device)))
        holder = None if lifecycle is None else fields(lifecycle.register).get("holder")
        return holder if isinstance(holder, str) else None

    def is_behind(self, node: str, device: str) -> bool:
        """The root has given the device to another node, or created it anew, and this node does not know it; nor
        perhaps the root, which was put back to a copy from before that."""
        if self.holder_by_root(device) != node:
            return True
        key = lifecycle_key(DeviceId("default", device))
        here = self._world.nodes[node].gateway.table.get(key)
        return any(
            _granted_by(here) < _granted_by(each.disk.registers.get(key)) for each in self._world.nodes.values()
        )

    def _demand(self, holds: bool, problem: str) -> None:
        if not holds:
            self._world.note(f"WRONG: {problem}")
            self.problems.append(problem)

    def sample(self) -> None:
        """Memory in the middle of trouble: bounded by registers."""
        self._hear()
        bound = REGISTERS * len(WIRES) + 2 * len(self._world.nodes)
        for name, node in self._world.running():
            registers = len(node.gateway.table)
            self._demand(registers <= bound, f"{name} has {registers} registers")
            for peer in node.gateway.peers:
                waiting = len(peer.session.outbox)
                self._demand(waiting <= registers, f"{name}: {waiting} of {registers} wait for {peer.name}")

    # --- judgement -----------------------------------------------------------------------------------------------

    def judge(self) -> list[str]:
        """What is wrong now."""
        world = self._world
        down = [name for name in world.nodes if not world.is_up(name)]
        if down:
            return [f"not running: {down}"]
        problems = [*self.problems, *self.edits.problems]
        for device in WIRES:
            problems += self._judge_device(device)
        problems += self.entries.judge(world.nodes[ROOT].disk)
        for name, node in world.nodes.items():
            problems += _judge_memory(name, node)
        return problems

    def _judge_device(self, device: str) -> list[str]:
        world, identity = self._world, DeviceId("default", device)
        root = world.cloud.gateway
        exists = root.queries.exists(identity)
        if exists not in self.writes.allowed((device, ALIVE), True):
            return [f"{device} {'exists' if exists else 'is gone'}"]
        holding = [edge for edge in WIRES[device] if world.nodes[edge].gateway.ownership.held(identity)]
        if not exists:
            return [f"{device} is gone, and held by {holding}"] if holding else []
        holder = root.peers.holder(identity)
        allowed = self.writes.allowed((device, HOLDER), ANYBODY)
        if holder is None or holding != [holder] or not (holder in allowed or ANYBODY in allowed):
            return [f"{device}: held by {holder}, {holding} think so, allowed {allowed}"]
        problems = self._compare(device, holder)
        machine = world.machines[device]
        shown = root.table.value(identity, Section.REPORTED, "value")
        if shown != machine.values["value"]:
            problems.append(f"{device}: the twin says {shown}, the device {machine.values['value']}")
        presence = root.queries.presence(identity)
        if presence.state != "online":
            problems.append(f"{device}: {presence}")
        label = root.table.value(identity, Section.TAGS, LABEL)
        allowed = self.writes.allowed((device, LABEL), None)
        if label not in allowed:
            problems.append(f"{device}: the label is {label}, not of {allowed}")
        opened = root.queries.overrides(identity), world.nodes[holder].gateway.queries.overrides(identity)
        return problems + [problem for name in WRITABLE for problem in self._judge_desired(device, name, opened)]

    def _compare(self, device: str, holder: str) -> list[str]:
        """Every node on the way has what the root has."""
        identity, problems = DeviceId("default", device), []
        for section in COMPARED:
            values = {
                node: self._world.nodes[node].gateway.table.values(identity, section)
                for node in self._world.topology.way_up(holder)
            }
            if any(value != values[ROOT] for value in values.values()):
                problems.append(f"{device}: {section} differs: {values}")
        return problems

    def _judge_desired(self, device: str, name: str, opened: tuple[dict[str, Value], dict[str, Value]]) -> list[str]:
        """`opened`: the overrides that are open at the root, and at the holder."""
        identity, key = DeviceId("default", device), (device, name)
        root, machine = self._world.cloud.gateway, self._world.machines[device]
        value = plain(root.table.value(identity, Section.DESIRED, name))
        allowed = self.writes.allowed(key, None)
        if value not in allowed:
            return [f"{device}.{name} is {value}, not of {allowed}: {[str(w) for w in self.writes.by_key[key]]}"]
        problems = self.edits.judge(self._world.cloud.disk, key)
        shown, below = (overrides.get(name) for overrides in opened)
        if shown != below:
            problems.append(f"{key}: {shown} is open at the root, {below} at its holder")
        if problems or isinstance(shown, dict):
            return problems or self._judge_open(key, shown)
        if value is None:
            return []
        write, ack = self.writes.find(key, value), root.queries.ack(identity, name)
        states = {AckState.APPLIED}
        if str(value).startswith(FORBIDDEN):
            states = {AckState.FAILED}
        elif write is not None and write.ttl is not None:
            states = {AckState.APPLIED, AckState.EXPIRED}
        if not isinstance(ack, Ack) or ack.state not in states:
            return [f"{device}.{name}={value} ended as {ack}"]
        if ack.state is AckState.APPLIED and machine.values.get(name) != value and not self._is_excused(key):
            return [f"{device}.{name}: desired {value}, at the device {machine.values.get(name)}"]
        return []

    def _judge_open(self, key: Key, shown: dict[str, Value]) -> list[str]:
        """A conflict waits for a person: the device follows the override."""
        at, ack = self._world.machines[key[0]].values.get(key[1]), shown.get("ack")
        applied = isinstance(ack, dict) and ack["state"] == AckState.APPLIED
        if shown["state"] != "undecided" or not applied or (at != shown["value"] and not self._is_excused(key)):
            return [f"{key}: at the device is {at}, under {shown}"]
        return []

    def _first_of(self, key: Key, last: Written) -> float:
        """When the value that the last write put back was at the device before; never if it was not."""
        before = [each.at for each in self._written[key][:-1] if each.value == last.value]
        return before[0] if before else inf

    def _says_written(self, disk: MemoryDisk, key: Key) -> bool:
        """Whether a disk says of the last write of a property that it was made, or may have been: of a value that was
        there before, and came back when an override ended, only one that has heard of the override."""
        *before, last = (each.value for each in self._written[key])
        ended = self.edits.find(key, before[-1]) if last in before else None
        return _says_written(disk, key, last, 0 if ended is None else ended.value)

    def _is_of_former(self, key: Key, last: Written) -> bool:
        """Its node had not been told that the device was another's, and does not hold it now as it did then."""
        present = self._world.cloud.disk.registers.get(lifecycle_key(DeviceId("default", key[0])))
        return last.grant < _granted_by(present) and any(map(last.is_unaware_of, self._written[key]))

    def _is_excused(self, key: Key) -> bool:
        """Nobody can know what the device holds: see above."""
        if not self._written[key]:
            return False
        last = self._written[key][-1]
        write, edit = self.writes.find(key, last.value), self.edits.find(key, last.value)
        first = self._first_of(key, last)
        return (
            last.fenced
            or last.lost
            or self._is_of_former(key, last)
            or any(first <= replaced <= last.at <= ended for replaced, ended in self._unnoticed[last.node])
            or (edit is not None and self.edits.is_void(edit))
            or (write is not None and write.outcome != DONE)
        )


def _granted_by(lifecycle: StoredRegister | None) -> tuple[int, int]:
    """Incarnation and epoch, less than any if there is no such register."""
    if lifecycle is None:
        return (0, 0)
    return lifecycle.register.version.incarnation, granted_epoch(lifecycle.register)


def _has(disk: MemoryDisk, write: Write) -> bool:
    """Whether there is a trace of this write on a disk."""
    device, name = write.key
    identity = DeviceId("default", device)
    if write.grant is not None:
        lifecycle = disk.registers.get(lifecycle_key(identity))
        if lifecycle is None:
            return False
        incarnation, ended = lifecycle.register.version.incarnation, fields(lifecycle.register)["state"] == "deleted"
        if write.key[1] == HOLDER and write.value != ANYBODY:
            return (incarnation, ended, granted_epoch(lifecycle.register)) >= (write.grant[0], False, write.grant[1])
        gone_upto = incarnation if ended else incarnation - 1
        return gone_upto >= write.grant[0] if write.grant[1] else incarnation >= write.grant[0]
    section = Section.TAGS if name == LABEL else Section.DESIRED
    stored = disk.registers.get(RegisterKey(identity, section, name))
    return stored is not None and plain(stored.register.value) == write.value


def _says_written(disk: MemoryDisk, key: Key, value: Value, over: int) -> bool:
    """Whether a disk says that this value was written to the device last, or may have been, and knows of the override
    `over` or a later one, if it is not 0."""
    device, name = DeviceId("default", key[0]), key[1]
    registers = {s: disk.registers.get(RegisterKey(device, s, name)) for s in COMPARED}
    desired, ack, override = (registers[s] for s in (Section.DESIRED, Section.ACK, Section.OVERRIDE))
    told = {} if ack is None or not isinstance(ack.register.value, dict) else ack.register.value
    attempt = disk.attempts.get(RegisterKey(device, Section.DESIRED, name))
    if desired is not None and plain(desired.register.value) == value and attempt is not None:
        return attempt.version == desired.register.version and told.get("code") != OVERRIDDEN
    held = None if override is None else Override.read(override.register.value)
    if over and not (held is not None and isinstance(held.value, int) and held.value >= over):
        return False
    return told.get("observed") == value or (held is not None and held.value == value and held.attempted)


def _judge_memory(name: str, node: MemoryNode) -> list[str]:
    """After the quiet nothing waits anywhere."""
    gateway = node.gateway
    waiting = {peer.name: len(peer.session.outbox) for peer in gateway.peers if len(peer.session.outbox)}
    problems = [f"{name}: registers wait still: {waiting}"] if waiting else []
    queued = {class_name: len(queue.waiting) for class_name, queue in node.disk.journal.queues.items()}
    if any(queued.values()):
        problems.append(f"{name}: journal entries wait still: {queued}")
    return problems
