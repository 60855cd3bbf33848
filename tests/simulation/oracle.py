"""What must be true whatever happened: an independent model of the promises, without versions, lsns or epochs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from twingateway.gateway.events import Changed, Event, EventBus
from twingateway.gateway.gateway import Gateway
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section
from twingateway.twin.value import Value

if TYPE_CHECKING:
    from tests.simulation.world import World


class Oracle:
    """Follows what was acknowledged and what the root showed; judges after the quiet."""

    def __init__(self) -> None:
        self._asked: defaultdict[tuple[str, str], list[Value]] = defaultdict(list)
        self._acknowledged: dict[tuple[str, str], Value] = {}
        self._at_backup: dict[str, dict[tuple[str, str], int]] = {}
        self._excused_root = False
        self._root_kept: dict[tuple[str, str], int] = {}
        """How many of what was asked the oldest copy had that the root was restored from."""
        self._excused_edges: set[str] = set()
        self._shown: dict[tuple[str, str], int] = {}
        self.problems: list[str] = []

    # --- what happened -------------------------------------------------------------------------------------------

    def asked(self, device: str, name: str, value: Value) -> None:
        """Somebody sent a write to the root; without an answer it may have been done or not."""
        self._asked[device, name].append(value)

    def refused(self, device: str, name: str, value: Value) -> None:
        self._asked[device, name].remove(value)

    def acknowledged(self, device: str, name: str, value: Value) -> None:
        self._acknowledged[device, name] = value

    def store_lost(self, edge: str) -> None:
        self._excused_edges.add(edge)

    def backed_up(self, node: str) -> None:
        self._at_backup[node] = {key: len(values) for key, values in self._asked.items()}

    def restored(self, node: str) -> None:
        """What the root had acknowledged and no edge had got yet cannot come back from anywhere."""
        if node == "cloud":
            kept = self._at_backup["cloud"]
            for key, values in self._asked.items():
                self._root_kept[key] = min(self._root_kept.get(key, len(values)), kept.get(key, 0))
            self._excused_root = True
            self._shown.clear()
        else:
            self._excused_edges.add(node)

    def watch(self, root: Gateway) -> None:
        """Listen to what the root shows, in this life of it."""
        publish = root.events.publish

        def observed(*events: Event) -> None:
            for event in events:
                if isinstance(event, Changed):
                    self._see(event)
            publish(*events)

        bus: EventBus = root.events
        bus.publish = observed  # type: ignore[method-assign]

    def _see(self, event: Changed) -> None:
        register = event.stored.register
        if register.key.section is not Section.REPORTED or register.key.name != "value":
            return
        key = (register.key.device.name, register.key.name)
        value = register.value
        assert isinstance(value, int)
        if value < self._shown.get(key, 0):
            self.problems.append(f"{key[0]} went back from {self._shown[key]} to {value}")
        self._shown[key] = value

    # --- judgement -----------------------------------------------------------------------------------------------

    def judge(self, world: World) -> None:
        for edge, devices in world_edges().items():
            for device in devices:
                self._judge_device(world, edge, device)
        self._judge_memory(world)
        assert not self.problems, "\n".join(self.problems)

    def _judge_device(self, world: World, edge: str, device: str) -> None:
        identity = DeviceId("default", device)
        root, holder = world.cloud.gateway, world.nodes[edge].gateway
        machine = world.nodes[edge].machines[device]
        for section in (Section.REPORTED, Section.DESIRED, Section.ACK):
            here, there = root.table.values(identity, section), holder.table.values(identity, section)
            self._expect(here == there, f"{device}: {section} is {here} at the root and {there} at {edge}")
        shown = root.table.value(identity, Section.REPORTED, "value")
        truth = machine.values["value"]
        self._expect(shown == truth, f"{device}: the twin says {shown}, the device {truth}")
        self._expect(root.queries.presence(identity).state == "online", f"{device} is not online")
        for name in ("speed", "mode"):
            self._judge_desired(world, edge, device, name)

    def _judge_desired(self, world: World, edge: str, device: str, name: str) -> None:
        identity, machine = DeviceId("default", device), world.nodes[edge].machines[device]
        asked, acknowledged = self._asked[device, name], self._acknowledged.get((device, name))
        desired = world.cloud.gateway.table.value(identity, Section.DESIRED, name)
        since = asked.index(acknowledged) if acknowledged in asked else 0
        if self._excused_root:
            since = min(since, max(0, self._root_kept.get((device, name), len(asked)) - 1))
        nothing_yet = [None] if acknowledged is None or (self._excused_root and since == 0) else []
        allowed = [*asked[since:], *nothing_yet]
        if self._excused_root and edge in self._excused_edges:
            allowed = [*asked, None]  # both copies were replaced by older ones
        if asked:
            self._expect(desired in allowed, f"{device}.{name}: acknowledged {acknowledged}, kept {desired}")
        if desired is None:
            return
        ack = world.cloud.gateway.queries.ack(identity, name)
        applied = isinstance(ack, Ack) and ack.state is AckState.APPLIED
        self._expect(applied, f"{device}.{name}={desired} ended as {ack}")
        at_device = machine.values.get(name)
        if not (self._excused_root and edge in self._excused_edges):  # else nobody knows of the last write any more
            self._expect(at_device == desired, f"{device}.{name}: desired {desired}, at the device {at_device}")
        if edge not in self._excused_edges:
            values = [value for written, value in machine.written if written == name]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            self._expect(not twice, f"{device}.{name}: written again: {twice}")

    def _judge_memory(self, world: World) -> None:
        for name, node in world.nodes.items():
            registers = sum(1 for _ in node.gateway.table.registers())
            for peer in node.gateway.peers:
                waiting = len(peer.session.outbox)
                self._expect(waiting == 0, f"{name}: {waiting} of {registers} registers still wait for {peer.name}")

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)


def world_edges() -> dict[str, tuple[str, ...]]:
    from tests.simulation.world import EDGES

    return EDGES
