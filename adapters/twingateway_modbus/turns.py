"""Who may use a connection next: writes before polls, otherwise in the order of asking."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Turns:
    """`places` holders at a time, with two priorities. First come, first served within one makes units that ask block
    by block equal."""

    def __init__(self, places: int = 1) -> None:
        self._free = list(range(places))[::-1]
        self._waiting: list[tuple[bool, int, asyncio.Future[int]]] = []
        self._numbers = count()

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[int]:
        """Hold a place, whose number is given, for the length of the block."""
        place = await self.acquire(urgent=urgent)
        try:
            yield place
        finally:
            self.release(place)

    async def acquire(self, *, urgent: bool = False) -> int:
        """The number of a place; give it back with `release`."""
        if self._free:
            return self._free.pop()
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not urgent, next(self._numbers), called))
        try:
            return await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self.release(called.result())
            raise

    def release(self, place: int) -> None:
        while self._waiting:
            *_, called = heapq.heappop(self._waiting)
            if not called.done():
                called.set_result(place)
                return
        self._free.append(place)
