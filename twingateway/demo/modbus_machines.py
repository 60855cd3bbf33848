"""The three machines behind the demo's Modbus server: how their values move, and the registers that show them.

Register numbers and scales are those of `site/devices/*.yaml`. A machine keeps its state in physical units; its
registers are written from that after every step.
"""

from __future__ import annotations

import math
import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

#: Energy counts faster than in life, so that a demo of half a minute shows it grow.
FASTER = 60

#: Table → first address → registers, or bits for the tables of bits.
Cells = dict[str, dict[int, list[int]]]


def registers(layout: str, value: float | bytes, *, swapped: bool = False) -> list[int]:
    """One value in a `struct` layout → registers, big endian; `swapped`: the last register first."""
    data = struct.pack(f">{layout}", value)
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return words[::-1] if swapped else words


def signed(register: int) -> int:
    return register - 0x10000 if register & 0x8000 else register


class Machine(ABC):
    """One unit. `initial` are the cells that clients may write, `limits` what each of them may hold (as a signed
    number)."""

    unit: ClassVar[int]
    initial: ClassVar[Mapping[tuple[str, int], int]] = {}
    limits: ClassVar[Mapping[tuple[str, int], tuple[int, int]]] = {}

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    @abstractmethod
    def step(self, seconds: float, written: Mapping[tuple[str, int], int]) -> None:
        """Let time pass; `written` are the writable cells as they are now."""

    @abstractmethod
    def cells(self) -> Cells:
        """Everything that clients only read."""

    def wander(self, value: float, centre: float, spread: float) -> float:
        """A random walk that stays near `centre`."""
        return value + 0.1 * (centre - value) + self._chance.gauss(0, 0.2 * spread)


class Inverter(Machine):
    """A solar inverter under passing clouds; holding 100 limits its power in percent."""

    unit = 1
    initial: ClassVar = {("holding", 100): 100}
    limits: ClassVar = {("holding", 100): (0, 100)}
    #: Watts.
    RATED = 10_000.0

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._sun, self._power = 0.7, 7000.0
        self._today, self._total = 12.3, 48_123_456.0
        self._voltage, self._frequency, self._temperature = 231.0, 50.0, 41.0

    def step(self, seconds: float, written: Mapping[tuple[str, int], int]) -> None:
        self._sun = min(1.0, max(0.05, self.wander(self._sun, 0.7, 0.12)))
        self._power = self.RATED * min(self._sun, written["holding", 100] / 100)
        energy = self._power * seconds / 3600 * FASTER
        self._today += energy / 1000
        self._total += energy
        self._voltage = self.wander(self._voltage, 231.0, 1.0)
        self._frequency = self.wander(self._frequency, 50.0, 0.02)
        self._temperature = self.wander(self._temperature, 35 + 12 * self._power / self.RATED, 0.2)

    @property
    def _state(self) -> int:
        """0 off, 1 starting, 2 feeding, 3 limited."""
        if self._power < 1:
            return 0
        if self._power < 0.1 * self.RATED:
            return 1
        return 2 if self._power >= self.RATED * self._sun - 1 else 3

    def cells(self) -> Cells:
        shown = [
            *registers("i", round(self._power * 10)),
            *registers("I", round(self._today * 100)),
            *registers("Q", round(self._total)),
            *registers("H", round(self._voltage * 10)),
            *registers("H", round(self._frequency * 100)),
            *registers("f", round(self._temperature, 2)),
        ]
        serial = [word for pair in (b"SN", b"-4", b"71", b"1-", b"00", b"08") for word in registers("2s", pair)]
        return {"input": {0: [self._state], 10: shown}, "holding": {50: [*serial, 0, 0]}}


class Meter(Machine):
    """A three-phase energy meter; floats lie with their last register first, as many meters have them."""

    unit = 2

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._voltages = [230.0, 231.5, 229.0]
        self._power, self._factor, self._frequency = 4200.0, 0.95, 50.0
        self._imported, self._exported = 9_876_543_210.0, 1_234_567.0

    def step(self, seconds: float, written: Mapping[tuple[str, int], int]) -> None:
        self._voltages = [self.wander(voltage, 230.5, 1.0) for voltage in self._voltages]
        self._power = self.wander(self._power, 1500.0, 2500.0)
        self._factor = min(1.0, max(0.7, self.wander(self._factor, 0.95, 0.02)))
        self._frequency = self.wander(self._frequency, 50.0, 0.02)
        energy = abs(self._power) * seconds / 3600 * FASTER
        if self._power >= 0:
            self._imported += energy
        else:
            self._exported += energy

    def cells(self) -> Cells:
        floats = [*self._voltages, self._power, self._frequency]
        return {
            "holding": {
                0: [word for value in floats for word in registers("f", round(value, 2), swapped=True)],
                20: [
                    *registers("Q", round(self._imported), swapped=True),
                    *registers("Q", round(self._exported), swapped=True),
                ],
                30: registers("h", round(self._factor * 1000)),
            }
        }


class Hvac(Machine):
    """An air handler: holding 100 is the set-point in tenths of a degree, holding 101 the mode (0 off, 1 heat,
    2 cool, 3 automatic), coil 0 the fan. The room follows; with the fan off it drifts to the weather outside."""

    unit = 3
    initial: ClassVar = {("holding", 100): 210, ("holding", 101): 3, ("coil", 0): 1}
    limits: ClassVar = {("holding", 100): (50, 350), ("holding", 101): (0, 3)}
    #: Degrees Celsius.
    OUTSIDE = 14.0

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._room, self._supply = 19.0, 24.0
        self._heating = self._cooling = False
        self._dust = 0.6

    def step(self, seconds: float, written: Mapping[tuple[str, int], int]) -> None:
        wanted, mode, fan = written["holding", 100] / 10, written["holding", 101], written["coil", 0]
        self._heating = bool(fan and mode in (1, 3) and self._room < wanted - 0.1)
        self._cooling = bool(fan and mode in (2, 3) and self._room > wanted + 0.1)
        works = self._heating or self._cooling
        holds = fan and mode == 3
        target = wanted if works or holds else self.OUTSIDE
        self._room += (target - self._room) * (1 - math.exp(-seconds / (8 if works or holds else 300)))
        air = self._room + (10 if self._heating else -8 if self._cooling else 0)
        self._supply += (air - self._supply) * (1 - math.exp(-seconds / 2)) + self._chance.gauss(0, 0.03)
        self._dust += seconds / 86_400

    def cells(self) -> Cells:
        stage = min(7, round(abs(self._supply - self._room) / 1.5))
        status = int(self._heating) | int(self._cooling) << 1 | stage << 4
        return {
            "input": {0: [round(self._room * 10) & 0xFFFF, round(self._supply * 10) & 0xFFFF, status]},
            "discrete": {0: [int(self._dust > 0.9), 1]},
        }


MACHINES: tuple[type[Machine], ...] = (Inverter, Meter, Hvac)
