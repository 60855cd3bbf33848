"""What must be true whatever happened: an independent model of the promises, without versions, outboxes or cursors.

It knows what clients, devices and edges did and were told (`Writes`, `Entries`, the log of each machine), what passed
between nodes (`Word`) and to whom the root had durably given each device (`Tenures`), and looks at other disks only
when one is replaced, to know what is gone from the world. *Told* is a node a moment after it has had several rounds
of messages with the root, whatever was in them. Every excuse is written down where it is made, and counted where
something would be wrong without it; there are these:

- `Writes`, `Entries`: what was on replaced disks only cannot come back.
- *A holder that is cut off cannot know that the device was moved*, or deleted and created anew: until it is told, it
  may write what it was last told over what another node wrote, and not over what it wrote itself. Nothing but the
  device could fence it.
- *An edge whose store was replaced does not know what it wrote*: until it is told it acts on an older desired value,
  and it may write again what it wrote since the copy. If its store is replaced again before it is told, nobody knows
  that the device was put back. What was wanted then is written again; and so is, by whoever holds the device, what is
  wanted again because what was written over it is lost.
- *A root that is put back and started again before anybody told it so* cannot tell what it wrote since it was put
  back from what it had written before the copy: of that it may prefer what a node below has, though that is older.
- *Who is given a device knows what was written to it only if the root had heard of it*: a value that was written just
  before a move may be written again after it. A root that was put back hears of what it has lost only from who knows
  it: until it is told by one of these, and has told the holder, that one acts on an older desired value. It may give
  the device to who had it before: over what that one writes the present holder, once it is met, writes again.
- *What the device holds is asked for only when it is granted, and before it is written*: where its last write is not
  known to a holder that was put back, and nobody else remembers that it was (or was of a node that was cut off), the
  twin says what the copies say. So it is where what was written was wanted before, and what made it wanted again (an
  override was taken back) is lost.
- *What was shown before its commit* (reported values are) and is in no process and on no disk any more that told it
  or was told it, or only in those of a former holder when the device is moved, is not shown again, until the
  device is read again. A root that is put back to a copy from before a move shows what the former holder reads, until
  it hears of the present one: then what of that one's word has come as far.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from tests.simulation.entries import Entries
from tests.simulation.excuses import Excuses
from tests.simulation.machines import FORBIDDEN, WRITABLE
from tests.simulation.order import Order
from tests.simulation.overrides import LocalEdits
from tests.simulation.tenures import NEVER, Grant, Tenures, granted_by
from tests.simulation.topology import ROOT, WIRES
from tests.simulation.traces import LABEL, has_trace
from tests.simulation.writes import ALIVE, ANYBODY, HOLDER, Key, Writes
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.events import Changed, Event
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import MemoryNode
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section
from twingateway.twin.value import Value

if TYPE_CHECKING:
    from tests.simulation.world import World

COMPARED = (Section.REPORTED, Section.DESIRED, Section.TAGS, Section.ACK, Section.OVERRIDE, Section.VERDICT)
#: Section and name of what each device reports.
SHOWN = (Section.REPORTED, "value")
#: Registers that one device can have: of all sections and names together.
REGISTERS = 24


class Oracle:
    """Follows what was promised and what was shown; judges after the quiet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.writes = Writes()
        self.entries = Entries()
        self.excuses = Excuses()
        self.edits = LocalEdits(world.seed, self.writes, self.excuses)
        self.tenures = Tenures()
        self.order = Order(world, self.writes, self.edits, self.tenures, self.excuses, self._demand)
        self._shown: dict[str, int] = {}
        self._said_under: dict[str, Grant] = {}
        """The grant that what is shown of each device was said under."""
        self._ever_shown: dict[str, int] = {}
        """The same, whatever was lost since."""
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
        if node == ROOT:
            self._shown.clear()
            self._unaware = world.now
            self.tenures.look(world.cloud.disk, world.now)
        self._lose_what_was_shown()
        disks = [each.disk for each in world.nodes.values()]
        self.order.replaced(node, disks)
        lost = self.edits.replaced(disks, root_at=world.now if node == ROOT else None)
        gone = [
            write
            for key in list(self.writes.by_key)
            for write in self.writes.lose(key, lambda write: any(has_trace(disk, write) for disk in disks))
        ]
        numbers = self.entries.replaced(node, before, world.nodes[node].disk, disks)
        if gone or lost or numbers:
            world.note(f"  gone with it: {[f'{each.key}={each.value}' for each in [*gone, *lost]]} entries {numbers}")

    def _lose_what_was_shown(self) -> None:
        """What nobody has any more under a grant: only its holder's word counts, and that of whom it was told. What
        only a former holder has, from before the device was moved, is void."""
        world = self._world
        for device, shown in self._shown.items():
            key = RegisterKey(DeviceId("default", device), *SHOWN)
            way = world.topology.way_up(self.holder_by_root(device) or ROOT)
            copies = [node.gateway.table.get(key) for name, node in world.running() if name in way]
            copies += [world.nodes[name].disk.registers.get(key) for name in way]
            granted = [copy.register for copy in copies if copy is not None and copy.register.version.epoch > 0]
            known = [register.value for register in granted if isinstance(register.value, int)]
            self._shown[device] = min(shown, max(known, default=0))

    def look(self) -> None:
        """The root's disk may have changed."""
        self.edits.look(self._world.cloud.disk, self._world.now)
        self.tenures.look(self._world.cloud.disk, self._world.now)

    def root_died(self, *, repaired: bool) -> None:
        """The root's process has ended; `repaired`: it found out in this life that it is an older copy."""
        self.look()
        self._lose_what_was_shown()
        for device in self._shown:  # it begins with what it had kept, whatever it had shown
            stored = self._world.cloud.disk.registers.get(RegisterKey(DeviceId("default", device), *SHOWN))
            kept = None if stored is None else stored.register.value
            self._shown[device] = min(self._shown[device], kept if isinstance(kept, int) else 0)
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

    def _see(self, event: Changed) -> None:
        register = event.stored.register
        if (register.key.section, register.key.name) != SHOWN:
            return
        device, value = register.key.device.name, register.value
        if not isinstance(value, int):
            self._shown.pop(device, None)  # it is deleted
            self._ever_shown.pop(device, None)
            return
        before, ever = self._shown.get(device, 0), self._ever_shown.get(device, 0)
        grant, of_before = register.version[:2], self._said_under.get(device, NEVER)
        is_former = of_before < grant and self.tenures.is_over(device, of_before, self.edits.root_replaced)
        is_back = value < before and not self.excuses.excuse({"shown of a former holder": is_former})
        self._demand(not is_back, f"{device} went back from {before} to {value}")
        self.excuses.excuse({"shown and lost": before <= value < ever})
        self._shown[device] = self._ever_shown[device] = value
        self._said_under[device] = grant

    def holder_by_root(self, device: str) -> str | None:
        lifecycle = self._world.nodes[ROOT].disk.registers.get(lifecycle_key(DeviceId("default", device)))
        holder = None if lifecycle is None else fields(lifecycle.register).get("holder")
        return holder if isinstance(holder, str) else None

    def is_behind(self, node: str, device: str) -> bool:
        """The root has given the device to another node, or created it anew, and this node does not know it; nor
        perhaps the root, which was put back to a copy from before that, and may grant the same epoch twice."""
        if self.holder_by_root(device) != node:
            return True
        key = lifecycle_key(DeviceId("default", device))
        grant = granted_by(self._world.nodes[node].gateway.table.get(key))
        others = [known for each in self._world.nodes.values() if (known := each.disk.registers.get(key)) is not None]
        return any(
            grant < granted_by(other) or (grant == granted_by(other) and fields(other.register).get("holder") != node)
            for other in others
        )

    def _demand(self, holds: bool, problem: str) -> None:
        if not holds:
            self._world.note(f"WRONG: {problem}")
            self.problems.append(problem)

    def sample(self) -> None:
        """Memory in the middle of trouble: bounded by registers."""
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
        self.excuses.now.clear()
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
        if not self._is_allowed((device, ALIVE), True, exists):
            return [f"{device} {'exists' if exists else 'is gone'}"]
        holding = [edge for edge in WIRES[device] if world.nodes[edge].gateway.ownership.held(identity)]
        if not exists:
            return [f"{device} is gone, and held by {holding}"] if holding else []
        holder = root.peers.holder(identity)
        allowed, by = self.writes.allowed((device, HOLDER), ANYBODY), (device, HOLDER)
        is_allowed = self._is_allowed(by, ANYBODY, ANYBODY) or self._is_allowed(by, ANYBODY, holder)
        if holder is None or holding != [holder] or not is_allowed:
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
        if not self._is_allowed((device, LABEL), None, label):
            allowed = self.writes.allowed((device, LABEL), None)
            problems.append(f"{device}: the label is {label}, not of {allowed}")
        opened = root.queries.overrides(identity), world.nodes[holder].gateway.queries.overrides(identity)
        return problems + [problem for name in WRITABLE for problem in self._judge_desired(device, name, opened)]

    def _is_allowed(self, key: Key, initial: Any, value: Any) -> bool:
        """Whether this may be read."""
        if value in self.writes.allowed(key, initial, lost=True):
            return True
        return self.excuses.excuse({"lost with a disk": value in self.writes.allowed(key, initial)}, now=True)

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
        if not self._is_allowed(key, None, value):
            allowed = self.writes.allowed(key, None)
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
        if ack.state is AckState.APPLIED and machine.values.get(name) != value and not self.order.is_excused(key):
            return [f"{device}.{name}: desired {value}, at the device {machine.values.get(name)}"]
        return []

    def _judge_open(self, key: Key, shown: dict[str, Value]) -> list[str]:
        """A conflict waits for a person: the device follows the override."""
        at, ack = self._world.machines[key[0]].values.get(key[1]), shown.get("ack")
        applied = isinstance(ack, dict) and ack["state"] == AckState.APPLIED
        if shown["state"] != "undecided" or not applied or (at != shown["value"] and not self.order.is_excused(key)):
            return [f"{key}: at the device is {at}, under {shown}"]
        return []


def _judge_memory(name: str, node: MemoryNode) -> list[str]:
    """After the quiet nothing waits anywhere."""
    gateway = node.gateway
    waiting = {peer.name: len(peer.session.outbox) for peer in gateway.peers if len(peer.session.outbox)}
    problems = [f"{name}: registers wait still: {waiting}"] if waiting else []
    queued = {class_name: len(queue.waiting) for class_name, queue in node.disk.journal.queues.items()}
    if any(queued.values()):
        problems.append(f"{name}: journal entries wait still: {queued}")
    return problems
