"""The three devices behind the demo's HTTP service: how their values move, the documents that show them, and what
can be set.

Paths and member names are those of `site/devices/*.yaml`. A device keeps its state in physical units; its documents
are made from that after every step and every write.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

#: Energy counts faster than in life, so that a demo of half a minute shows it grow.
FASTER = 60

Document = dict[str, Any]
#: Carries out a write: the query's and the body's members by name. Raises ValueError with the reason to refuse.
Setter = Callable[[Mapping[str, Any]], None]


class Machine(ABC):
    """`authorization` is the header that its requests must carry; empty for none."""

    name: ClassVar[str]
    authorization: ClassVar[str] = ""
    #: Where `corrupt` shows another value: path of the document, path inside it, what is added.
    lie: ClassVar[tuple[str, tuple[str, ...], float]]

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    @abstractmethod
    def step(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def documents(self) -> dict[str, Document]:
        """Path → what a GET answers."""

    def setters(self) -> dict[tuple[str, str], Setter]:
        """Method and path → how it is set."""
        return {}

    def wander(self, value: float, centre: float, spread: float) -> float:
        """A random walk that stays near `centre`."""
        return value + 0.1 * (centre - value) + self._chance.gauss(0, 0.2 * spread)


class Charger(Machine):
    """A charging station with a car that takes what it is given; `limit_a` caps the current."""

    name = "charger"
    authorization = "Bearer charger-demo"
    lie = ("/charger/status", ("meter", "energy_wh"), 1000)
    #: Amperes that the car takes at most, and volts.
    CAR, VOLTS = 20.0, 230.0

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._limit, self._enabled = 16, True
        self._current, self._energy, self._temperature = 15.0, 4321.0, 31.0

    def step(self, seconds: float) -> None:
        allowed = min(float(self._limit), self.CAR) if self._enabled else 0.0
        self._current = max(0.0, min(allowed, self.wander(self._current, allowed, 0.6)))
        self._energy += self._power * seconds / 3600 * FASTER
        self._temperature = self.wander(self._temperature, 28 + self._current, 0.2)

    @property
    def _power(self) -> float:
        return 3 * self.VOLTS * self._current

    def documents(self) -> dict[str, Document]:
        meter = {
            "power_w": round(self._power),
            "current_a": [round(self._current * share, 2) for share in (1.0, 0.99, 0.98)],
            "energy_wh": round(self._energy),
        }
        state = "charging" if self._current > 0.5 else "paused"
        return {
            "/charger/status": {"state": state, "meter": meter, "temperature_c": round(self._temperature, 1)},
            "/charger/settings": {"limit_a": self._limit, "enabled": self._enabled},
        }

    def setters(self) -> dict[tuple[str, str], Setter]:
        return {("PUT", "/charger/settings"): self._set}

    def _set(self, members: Mapping[str, Any]) -> None:
        limit, enabled = members.get("limit_a", self._limit), members.get("enabled", self._enabled)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 6 <= limit <= 32:
            raise ValueError("limit_a is a whole number of amperes from 6 to 32")
        if not isinstance(enabled, bool):
            raise ValueError("enabled is true or false")
        self._limit, self._enabled = limit, enabled


class HeatPump(Machine):
    """A heat pump that warms a tank of water to its set-point."""

    name = "heatpump"
    authorization = "Basic aW5zdGFsbGVyOmRlbW8="  # installer, demo
    lie = ("/heatpump", ("tank_c",), 5)
    MODES = ("off", "eco", "comfort")

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._setpoint, self._mode = 48.0, "comfort"
        self._tank, self._outside, self._speed = 44.0, 6.0, 0.0

    def step(self, seconds: float) -> None:
        wanted = 0.0 if self._mode == "off" else self._setpoint - (5 if self._mode == "eco" else 0)
        speed = max(0.0, min(100.0, 25 * (wanted - self._tank + 0.5)))
        self._speed += (speed - self._speed) * (1 - math.exp(-3 * seconds))
        self._outside = self.wander(self._outside, 6.0, 0.1)
        self._tank += (self._speed / 100 - (self._tank - self._outside) / 300) * seconds

    def documents(self) -> dict[str, Document]:
        runs = self._speed > 1
        flow = self._tank + self._speed / 12
        return {
            "/heatpump": {
                "tank_c": round(self._tank, 2),
                "flow_c": round(flow, 2),
                "outside_c": round(self._outside, 2),
                "compressor": {"on": runs, "speed": round(self._speed)},
                "power_kw": round(self._speed / 100 * 3.2 + 0.02, 3),
                "setpoint_c": self._setpoint,
                "mode": self._mode,
            }
        }

    def setters(self) -> dict[tuple[str, str], Setter]:
        return {("POST", "/heatpump/setpoint"): self._set_temperature, ("PATCH", "/heatpump"): self._set_mode}

    def _set_temperature(self, members: Mapping[str, Any]) -> None:
        try:
            wanted = float(members["celsius"])
        except (KeyError, TypeError, ValueError):
            raise ValueError("celsius is missing or no number") from None
        if not 20 <= wanted <= 60:
            raise ValueError("the set-point lies between 20 and 60 degrees")
        self._setpoint = wanted

    def _set_mode(self, members: Mapping[str, Any]) -> None:
        if members.get("mode") not in self.MODES:
            raise ValueError(f"the mode is one of {', '.join(self.MODES)}")
        self._mode = str(members["mode"])


class WeatherStation(Machine):
    """A weather station that tells by webhook what it measures."""

    name = "weather"
    lie = ("/weather", ("temperature_c",), 5)

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._temperature, self._humidity, self._pressure = 11.0, 70.0, 1013.0
        self._wind, self._direction, self._rain = 4.0, 220.0, 12.4

    def step(self, seconds: float) -> None:
        self._temperature = self.wander(self._temperature, 11.0, 0.2)
        self._humidity = min(100.0, max(0.0, self.wander(self._humidity, 70.0, 1.0)))
        self._pressure = self.wander(self._pressure, 1013.0, 0.2)
        self._wind = max(0.0, self.wander(self._wind, 4.0, 1.5))
        self._direction = self.wander(self._direction, 220.0, 8.0) % 360
        self._rain += self._chance.random() * 0.02

    def documents(self) -> dict[str, Document]:
        return {
            "/weather": {
                "temperature_c": round(self._temperature, 2),
                "humidity": round(self._humidity, 1),
                "pressure_hpa": round(self._pressure, 1),
                "wind": {"speed_ms": round(self._wind, 1), "direction": round(self._direction) % 360},
                "rain_mm": round(self._rain, 2),
            }
        }


MACHINES: tuple[type[Machine], ...] = (Charger, HeatPump, WeatherStation)
#: The document that is pushed.
PUSHED = "/weather"
