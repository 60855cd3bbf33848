"""Who may use a connection next.

Rules:
- Writes go before polls, in the order of asking.
- However much a unit asks, the others come in between: the one with the fewest places is next, and among equals they
  take turns.
- A write has its unit for itself: what was read before it is told before it begins, and what is read after it says
  how things are then, also where other connections are free meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_Called = asyncio.Future[int]


class Turns:
    """`places` holders at a time, of which the lowest that is free is taken. `most`: how many of them the polls of a
    unit may have at present; it is asked anew whenever a place becomes free."""

    def __init__(self, places: int = 1, most: Callable[[int], int] | None = None) -> None:
        self._free = set(range(places))
        self._withdrawn: set[int] = set()
        self._most = most or (lambda unit: places)
        self._unit_at = [0] * places
        self._held: Counter[int] = Counter()
        self._writing: set[int] = set()
        """Units whose place is a write's."""
        self._writes: deque[tuple[int, _Called]] = deque()
        self._polls: dict[int, deque[_Called]] = {}
        """By unit; whose turn it is comes first."""

    @asynccontextmanager
    async def turn(self, unit: int = 0, *, urgent: bool = False) -> AsyncIterator[int]:
        """Hold a place, whose number is given, for the length of the block."""
        place = await self.acquire(unit, urgent=urgent)
        try:
            yield place
        finally:
            self.release(place)

    async def acquire(self, unit: int = 0, *, urgent: bool = False) -> int:
        """The number of a place; give it back with `release`. `urgent`: a write."""
        place = self.take(unit, urgent=urgent)
        if place is not None:
            return place
        called: _Called = asyncio.get_running_loop().create_future()
        if urgent:
            self._writes.append((unit, called))
        else:
            self._polls.setdefault(unit, deque()).append(called)
        try:
            return await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self.release(called.result())
            raise

    def take(self, unit: int, *, urgent: bool = False) -> int | None:
        """A place without waiting, if that can be."""
        return self._take(unit, urgent=urgent) if self._free and self._may(unit, urgent=urgent) else None

    def release(self, place: int) -> None:
        unit = self._unit_at[place]
        self._held[unit] -= 1
        self._writing.discard(unit)
        if place not in self._withdrawn:
            self._free.add(place)
        self._call()

    def withdraw(self, place: int) -> None:
        """Its holder has it until it is released; then nobody has it until `restore`."""
        self._withdrawn.add(place)

    def restore(self, place: int) -> None:
        """A place that was withdrawn, and released, is there again."""
        self._withdrawn.discard(place)
        self._free.add(place)
        self._call()

    def _call(self) -> None:
        while self._free and self._call_one():
            pass

    def _may(self, unit: int, *, urgent: bool) -> bool:
        if urgent:
            return not self._held[unit]
        if unit in self._writing or self._held[unit] >= self._most(unit):
            return False
        return not self._writes or not any(each == unit and not called.done() for each, called in self._writes)

    def _take(self, unit: int, *, urgent: bool) -> int:
        place = min(self._free)
        self._free.remove(place)
        self._unit_at[place] = unit
        self._held[unit] += 1
        if urgent:
            self._writing.add(unit)
        return place

    def _call_one(self) -> bool:
        """The next one that may; whether there was any."""
        for waiting in list(self._writes):
            unit, called = waiting
            if called.done():
                self._writes.remove(waiting)
            elif self._may(unit, urgent=True):
                self._writes.remove(waiting)
                called.set_result(self._take(unit, urgent=True))
                return True
        return any(self._call_poll(unit) for unit in sorted(self._polls, key=self._held.__getitem__))

    def _call_poll(self, unit: int) -> bool:
        waiting = self._polls[unit]
        while waiting and waiting[0].done():
            waiting.popleft()
        called = waiting.popleft() if waiting and self._may(unit, urgent=False) else None
        if called is not None or not waiting:
            del self._polls[unit]
            if waiting:
                self._polls[unit] = waiting
        if called is None:
            return False
        called.set_result(self._take(unit, urgent=False))
        return True
