"""Who holds which device as the root has it on its disk, and since when: what it can tell anybody."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf

from tests.simulation.topology import WIRES
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import StoredRegister

Grant = tuple[int, int]
"""Incarnation and epoch of a device at its holder."""
NEVER: Grant = (0, 0)
KEYS = {device: lifecycle_key(DeviceId("default", device)) for device in WIRES}


def granted_by(lifecycle: StoredRegister | None) -> Grant:
    if lifecycle is None:
        return NEVER
    return lifecycle.register.version.incarnation, granted_epoch(lifecycle.register)


@dataclass(frozen=True, slots=True)
class Tenure:
    since: float
    holder: str | None
    grant: Grant

    def is_of(self, node: str, grant: Grant) -> bool:
        return self.holder == node and self.grant <= grant


class Tenures:
    """`look` whenever the root's disk has changed, or is another one."""

    def __init__(self) -> None:
        self._by_device: defaultdict[str, list[Tenure]] = defaultdict(list)
        self._seen: dict[str, StoredRegister | None] = {}

    def look(self, root: MemoryDisk, now: float) -> None:
        for device, key in KEYS.items():
            lifecycle = root.registers.get(key)
            if device in self._seen and self._seen[device] is lifecycle:
                continue
            self._seen[device] = lifecycle
            value = {} if lifecycle is None else fields(lifecycle.register)
            holder = value.get("holder") if value.get("state") == "live" else None
            self._by_device[device].append(
                Tenure(now, holder if isinstance(holder, str) else None, granted_by(lifecycle))
            )

    def taken_at(self, device: str, node: str, grant: Grant, by: float = inf) -> float:
        """Since when the root had it without a break, at that moment, that the device is not this node's under this
        grant; infinite if it did not."""
        taken = inf
        for tenure in reversed(self._by_device[device]):
            if tenure.since > by:
                continue
            if tenure.is_of(node, grant):
                break
            taken = tenure.since
        return taken

    def is_held(self, device: str, node: str, grant: Grant, at: float) -> bool:
        """Whether the root had it at that moment that the device is this node's under this grant."""
        tenure = next((each for each in reversed(self._by_device[device]) if each.since <= at), None)
        return tenure is not None and tenure.holder == node and tenure.grant == grant

    def is_over(self, device: str, grant: Grant, by: float) -> bool:
        """Whether the root had granted the device anew by that moment."""
        return any(each.since <= by and each.grant > grant for each in self._by_device[device])
