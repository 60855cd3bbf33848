"""What both nodes show at the moment, gathered from their event streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twingateway.demo.documents import DemoDevice
from twingateway.demo.latency import Latencies
from twingateway.demo.observer import Update

Key = tuple[str, str]


@dataclass(slots=True)
class Shown:
    """One property: its value at both nodes, when the cloud last saw it change (Unix milliseconds), and how far its
    desired value has come."""

    device: str
    protocol: str
    property: str
    edge: Any = None
    cloud: Any = None
    seen: float = 0.0
    ack: str = ""


@dataclass
class Board:
    """Every property of the documents. `last_seen`: when a reported value last arrived at the cloud."""

    devices: Sequence[DemoDevice]
    latencies: Latencies = field(default_factory=Latencies)
    last_seen: float = 0.0
    presence: dict[str, str] = field(default_factory=dict)
    _rows: dict[Key, Shown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for device in self.devices:
            for name in device.tolerances:
                self._rows[device.name, name] = Shown(device.name, device.adapter, name)

    def at_edge(self, update: Update) -> None:
        row = self._rows.get((update.device, update.property))
        if row is not None and update.section == "reported":
            row.edge = update.value

    def at_cloud(self, update: Update) -> None:
        if update.section == "presence" and update.property == "state" and isinstance(update.value, Mapping):
            self.presence[update.device] = str(update.value.get("state"))
        row = self._rows.get((update.device, update.property))
        if row is None:
            return
        if update.section == "reported":
            row.cloud, row.seen = update.value, update.seen
            self.last_seen = update.seen
            self.latencies.add(row.protocol, update.time, update.seen)
        elif update.section == "desired":
            row.ack = "pending"
        elif update.section == "ack" and isinstance(update.value, Mapping):
            row.ack = str(update.value.get("state"))

    @property
    def rows(self) -> list[Shown]:
        return list(self._rows.values())

    def missing(self) -> Iterator[str]:
        """Properties that the cloud has not seen yet."""
        return (f"{row.device}.{row.property}" for row in self._rows.values() if not row.seen)
