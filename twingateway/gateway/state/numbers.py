"""Seqs and lsns, issued without waiting from blocks that were reserved durably beforehand.

A block is reserved long before the last one runs out. A restart continues behind the reserved end, so no number is
ever issued twice; what is left of a block is given up.
"""

from __future__ import annotations

import asyncio
from typing import Self

import structlog

from twingateway.errors import StoreError, Unavailable
from twingateway.ports.store import Counter, Store

log = structlog.get_logger("store")

#: At 40,000 changes a second half of it lasts for twelve seconds, should the store be busy for as long.
BLOCK = 1 << 20
#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0


class Numbers:
    """Both counters of one store. `run` keeps them supplied."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blocks: dict[Counter, list[range]] = {counter: [] for counter in Counter}
        self._wanted = asyncio.Event()
        self.start = 0
        """The last lsn that can have been issued before this opening."""
        self.start_seq = 0
        """The last seq, likewise."""
        self.last_lsn = 0

    async def open(self) -> Self:
        """Reserve the first blocks."""
        for counter in Counter:
            await self._reserve(counter)
        self.start = self.last_lsn = self._blocks[Counter.LSN][0].start - 1
        self.start_seq = self._blocks[Counter.SEQ][0].start - 1
        return self

    def seq(self) -> int:
        return self.seqs(1)[0]

    def lsn(self) -> int:
        return self.lsns(1)[0]

    def seqs(self, count: int) -> list[int]:
        """The next ones, ascending. Raises Unavailable, and then has issued none."""
        return self._take(Counter.SEQ, count)

    def lsns(self, count: int) -> list[int]:
        """Likewise."""
        taken = self._take(Counter.LSN, count)
        if taken:
            self.last_lsn = taken[-1]
        return taken

    async def run(self) -> None:
        """Reserve further blocks whenever half of the newest is used."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for counter in Counter:
                while self._left(counter) <= BLOCK // 2:
                    await self._try_to_reserve(counter)

    async def _try_to_reserve(self, counter: Counter) -> None:
        try:
            await self._reserve(counter)
        except StoreError as error:
            log.error(
                "the store reserves no numbers", counter=counter.value, left=self._left(counter), code=error.code
            )
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, counter: Counter, count: int) -> list[int]:
        blocks = self._blocks[counter]
        left = self._left(counter) - count
        if left < 0:
            self._wanted.set()
            raise Unavailable("the store has not reserved numbers yet; try again in a moment")
        taken: list[int] = []
        while len(taken) < count:
            part = blocks[0][: count - len(taken)]
            taken += part
            blocks[0] = blocks[0][len(part) :]
            if not blocks[0]:
                del blocks[0]
        if left <= BLOCK // 2:
            self._wanted.set()
        return taken

    def _left(self, counter: Counter) -> int:
        return sum(map(len, self._blocks[counter]))

    async def _reserve(self, counter: Counter) -> None:
        self._blocks[counter].append(await self._store.reserve(counter, BLOCK))
