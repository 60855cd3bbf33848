"""The demo's MQTT devices: how their values move, what they say, and which commands they obey.

A machine is plain state: `said` is one JSON-like document for each of its topics, and only what changes is published.
Topics and payloads are those of `site/devices/*.yaml`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

#: Values of one topic, without its time stamp.
Payload = dict[str, Any]


class MqttMachine(ABC):
    """One device. `base` is what its topics begin with, `binary` the topics that speak CBOR, `lie` the property that
    a corrupted device shows wrongly, and by how much."""

    name: ClassVar[str]
    base: ClassVar[str]
    binary: ClassVar[frozenset[str]] = frozenset()
    lie: ClassVar[tuple[str, float]]

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    @abstractmethod
    def step(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def said(self) -> dict[str, Payload]:
        """Topic below `base` → what the device says there."""

    @abstractmethod
    def values(self) -> Payload:
        """Every property of the device's document by its name."""

    def obey(self, command: Mapping[str, Any]) -> None:
        """A command came; what the device cannot do it does not."""

    def wander(self, value: float, centre: float, spread: float, digits: int) -> float:
        """A random walk that stays near `centre`, in steps of the device's resolution."""
        return round(value + 0.1 * (centre - value) + self._chance.gauss(0, 0.2 * spread), digits)


class Lamp(MqttMachine):
    """A dimmable lamp; its power follows its brightness."""

    name = "lamp"
    base = "hall/lamp"
    lie = ("brightness", 7)

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._on, self._brightness, self._voltage = True, 40, 230.0

    def step(self, seconds: float) -> None:
        self._voltage = self.wander(self._voltage, 230.0, 0.8, 1)

    def obey(self, command: Mapping[str, Any]) -> None:
        match command:
            case {"on": bool(on)}:
                self._on = on
            case {"brightness": int(level)} if not isinstance(level, bool) and 0 <= level <= 100:
                self._brightness = level

    def values(self) -> Payload:
        watts = self._brightness * 0.09 * self._voltage / 230 if self._on else 0.0
        return {
            "on": self._on,
            "brightness": self._brightness,
            "power": round(watts, 2),
            "voltage": self._voltage,
        }

    def said(self) -> dict[str, Payload]:
        values = self.values()
        electric = {name: values.pop(name) for name in ("power", "voltage")}
        return {"state": values | {"electric": electric}}


class Pump(MqttMachine):
    """A circulation pump that speaks CBOR; its flow follows its speed with some inertia."""

    name = "pump"
    base = "plant/pump-1"
    binary = frozenset({"state", "set"})
    lie = ("flow", 1.5)

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._speed, self._flow, self._temperature = 1450, 8.0, 38.0

    def step(self, seconds: float) -> None:
        self._flow = self.wander(self._flow, self._speed / 180, 0.3, 2)
        self._temperature = self.wander(self._temperature, 30 + self._speed / 180, 0.2, 1)

    def obey(self, command: Mapping[str, Any]) -> None:
        match command:
            case {"speed": int(speed)} if not isinstance(speed, bool) and 0 <= speed <= 3000:
                self._speed = speed

    def values(self) -> Payload:
        pressure = round(0.4 + (self._speed / 3000) ** 2 * 3.2 + self._flow * 0.01, 2)
        return {"speed": self._speed, "flow": self._flow, "pressure": pressure, "temperature": self._temperature}

    def said(self) -> dict[str, Payload]:
        return {"state": self.values()}


class Greenhouse(MqttMachine):
    """A climate sensor that lists its readings, and says on a topic of its own, as text, whether the vent is open."""

    name = "greenhouse"
    base = "garden/greenhouse"
    lie = ("humidity", -9.0)

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._temperature, self._humidity, self._light = 24.0, 61.0, 18_000

    def step(self, seconds: float) -> None:
        self._temperature = self.wander(self._temperature, 24.0, 0.6, 1)
        self._humidity = self.wander(self._humidity, 61.0, 1.5, 1)
        self._light = max(0, int(self.wander(self._light, 18_000, 2_000, 0)))

    def values(self) -> Payload:
        return {
            "temperature": self._temperature,
            "humidity": self._humidity,
            "light": self._light,
            "vent": "open" if self._temperature >= 24.0 else "closed",
        }

    def said(self) -> dict[str, Payload]:
        values = self.values()
        vent = values.pop("vent")
        readings = [{"kind": kind, "value": value} for kind, value in values.items()]
        return {"readings": {"sensors": readings}, "vent": {"": vent}}


MQTT_MACHINES: tuple[type[MqttMachine], ...] = (Lamp, Pump, Greenhouse)
