"""What every contender is given to do, and how late its work is. Times are CLOCK_MONOTONIC, one for the machine.

Update number n (from 1) is the value n for device (n - 1) % devices, so a value tells which update it is and whether
it is newer than another. An update is *seen* when the observer at the cloud has that value, or a newer one, of that
device; one that was not seen by the end counts with the time it has been missing for.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Send = Callable[[int, int], None]
"""(device, n): hand the value n of this device to the contender."""


#: Updates handed out in one turn of the event loop, however late they are: devices do not report all at once either.
_TURN = 8


class Generator:
    """Hands out updates at an even pace; what it costs itself is kept apart from what the contender's call costs."""

    def __init__(self, devices: int, send: Send) -> None:
        self._devices = devices
        self._send = send
        self._n = 0

    async def prime(self) -> dict[str, Any]:
        """One update for every device, at once."""
        for _ in range(self._devices):
            self._next()
        return {"last": self._n}

    async def run(self, rate: float, seconds: float, record: str) -> dict[str, Any]:
        """`rate` updates a second; writes when each was handed over to the file `record`.

        Returns the last update's number, how many they were and the CPU seconds that generating them took.
        """
        times, own_cpu = array("d"), 0.0
        start = time.monotonic()
        total = round(rate * seconds)
        while len(times) < total:
            began, in_calls = time.thread_time(), 0.0
            due = min(total, int((time.monotonic() - start) * rate) + 1, len(times) + _TURN)
            while len(times) < due:
                called = time.thread_time()
                times.append(time.monotonic())
                self._next()
                in_calls += time.thread_time() - called
            own_cpu += time.thread_time() - began - in_calls
            await asyncio.sleep(max(0.0, start + len(times) / rate - time.monotonic()))
        _save(record, times)
        return {"last": self._n, "sent": len(times), "generator_cpu_s": own_cpu}

    def _next(self) -> None:
        device = self._n % self._devices
        self._n += 1
        self._send(device, self._n)


class Sightings:
    """What an observer has seen: the newest update of each device, and when it came."""

    def __init__(self, devices: int) -> None:
        self._newest = [0] * devices
        self._numbers = array("q")
        self._times = array("d")

    def saw(self, n: int, now: float) -> None:
        device = (n - 1) % len(self._newest)
        if n > self._newest[device]:
            self._newest[device] = n
            self._numbers.append(n)
            self._times.append(now)

    async def missing(self, last: int) -> dict[str, Any]:
        """How many devices' newest update is not here when `last` was the last of all."""
        devices = len(self._newest)
        return {"missing": sum(n <= last - devices for n in self._newest)}

    async def since(self, time: float) -> dict[str, Any]:
        """When the first sighting after this time came, if one did."""
        return {"at": next((at for at in self._times if at > time), None)}

    async def dump(self, record: str) -> dict[str, Any]:
        _save(record, self._numbers, self._times)
        return {"seen": len(self._numbers)}


def _save(record: str, *columns: array[Any]) -> None:
    Path(record).write_bytes(b"".join(column.tobytes() for column in columns))


def read_times(record: Path) -> Sequence[float]:
    times = array("d")
    times.frombytes(record.read_bytes())
    return times


def read_sightings(record: Path) -> list[tuple[int, float]]:
    """(n, time) in the order they came."""
    raw = record.read_bytes()
    numbers, times = array("q"), array("d")
    numbers.frombytes(raw[: len(raw) // 2])
    times.frombytes(raw[len(raw) // 2 :])
    return list(zip(numbers, times, strict=True))


@dataclass(frozen=True, slots=True)
class Lateness:
    """`delays`: seconds from handing over to seen, in the order of the updates; `delivered`: how many were seen."""

    delays: list[float]
    delivered: int

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.delays)
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1) if ordered else math.nan


def lateness(
    sent: Sequence[float], first: int, devices: int, seen: Iterable[tuple[int, float]], end: float
) -> Lateness:
    """`first`: the number of the first update in `sent`; `end`: when watching ended."""
    delays = [math.nan] * len(sent)
    waiting: dict[int, int] = {}  # device → the first of its updates that was not seen yet
    for index in range(min(devices, len(sent))):
        waiting[(first + index - 1) % devices] = index
    delivered = 0
    for n, at in seen:
        device = (n - 1) % devices
        index = waiting.get(device, len(sent))
        while index < len(sent) and first + index <= n:
            delays[index] = at - sent[index]
            delivered += 1
            index += devices
        waiting[device] = index
    known = [end - at if math.isnan(delay) else delay for at, delay in zip(sent, delays, strict=True)]
    return Lateness(known, delivered)
