"""Lsns, issued without waiting from blocks that were reserved durably beforehand; that of a register which is minted
here is its version's seq as well.

A block is reserved long before the last one runs out. A restart continues behind the reserved end, so no number is
ever issued twice; what is left of a block is given up. Nor does a copy of the store issue the numbers that the store
itself does (see `Store.reserve`): of any number it can be told whether this history of the store has issued it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Self

import structlog

from twingateway.errors import StoreError, Unavailable
from twingateway.ports.store import Store
from twingateway.sync.knowledge import gap_of

log = structlog.get_logger("store")

#: At 40,000 changes a second half of it lasts for twelve seconds, should the store be busy for as long.
BLOCK = 1 << 20
#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0


class Numbers:
    """The counter of one store. `run` keeps it supplied."""

    def __init__(self, store: Store, gaps: Sequence[tuple[int, int]] = ()) -> None:
        """`gaps`: as the store has them."""
        self._store = store
        self._gaps = gaps
        self._blocks: deque[range] = deque()
        """Of which no number was issued."""
        self._left = 0
        self._issued = self._issue()
        self._wanted = asyncio.Event()
        self.start = 0
        """The last lsn that can have been issued before this opening."""
        self.last_lsn = 0

    async def open(self) -> Self:
        """Reserve the first block."""
        first = await self._reserve()
        self.start = self.last_lsn = first - 1
        return self

    def is_issued(self, number: int) -> bool:
        """Whether it was issued here: of what was stored that is certain."""
        return number <= self.last_lsn and self.forked_at(number) is None

    def forked_at(self, number: int) -> int | None:
        """Of a number that another history of this store issued, as far as that can be told: the last lsn from before
        this one began."""
        gap = gap_of(self._gaps, number)
        return None if gap is None else gap[1]

    def left_at(self, lost: Iterable[int]) -> int:
        """The last lsn from before this history of the store left the one that issued these, as far as they tell:
        else from before this process."""
        forked_at = self.forked_at(min(lost))
        return self.start if forked_at is None else forked_at

    def lsn(self) -> int:
        return self.lsns(1)[0]

    def lsns(self, count: int) -> list[int]:
        """The next ones, ascending. Raises Unavailable, and then has issued none."""
        left = self._left - count
        if left <= BLOCK // 2:
            self._wanted.set()
        if left < 0:
            raise Unavailable("the store has not reserved numbers yet; try again in a moment")
        self._left = left
        taken = list(islice(self._issued, count))
        if taken:
            self.last_lsn = taken[-1]
        return taken

    async def run(self) -> None:
        """Reserve a further block whenever half of the newest is used."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._left <= BLOCK // 2:
                await self._try_to_reserve()

    async def _try_to_reserve(self) -> None:
        try:
            await self._reserve()
        except StoreError as error:
            log.error("the store reserves no numbers", left=self._left, code=error.code)
            await asyncio.sleep(RETRY_SECONDS)

    def _issue(self) -> Iterator[int]:
        """Only to be asked for as many as are left."""
        while True:
            yield from self._blocks.popleft()

    async def _reserve(self) -> int:
        """Returns the first number of the block."""
        block = await self._store.reserve(BLOCK)
        self._blocks.append(block)
        self._left += len(block)
        return block.start
