"""How many rounds of polling may begin in one turn of the event loop, over all devices of a node.

A loop that falls behind finds every device due at once; begun all together, they make each of its turns last as long
as all of them take, and whatever needs several turns (a desired value on its way to a device) waits for as many
seconds. Begun a few in each turn, they take no longer together, and everything else comes in between.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: Rounds that may begin in one turn; at about half a millisecond each, a turn stays below ten milliseconds.
MOST = 16


class Gate:
    """First come, first served. While the loop keeps up, nobody waits."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Returns in this turn or, if enough have begun in it, in a later one."""
        if self._left and not self._waiting:
            self._take()
            return
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(called)
        await called

    def _take(self) -> None:
        if self._left == self._most:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._left -= 1

    def _next_turn(self) -> None:
        self._left = self._most
        while self._waiting and self._left:
            called = self._waiting.popleft()
            if not called.done():
                called.set_result(None)
                self._take()
