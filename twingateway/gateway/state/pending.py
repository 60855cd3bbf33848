"""Lsns that were issued and are not yet what they are to become (published, or durable and offered)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from twingateway.twin.register import StoredRegister


class Pending:
    """A set of lsns that knows its lowest. Lsns are issued in ascending order, so insertion order is theirs."""

    def __init__(self, durable: int = 0) -> None:
        """`durable`: the highest lsn of a register that is."""
        self._durable = durable
        self._done: list[int] = []
        """The highest of each group that is durable while a lower one may be pending."""
        self._lsns: set[int] = set()
        self._order: deque[int] = deque()
        self._held: list[int] = []
        self._holding: Counter[int] = Counter()

    def add(self, registers: Iterable[StoredRegister]) -> None:
        lsns = [stored.lsn for stored in registers]
        self._lsns.update(lsns)
        self._order += lsns

    def remove(self, registers: Iterable[StoredRegister], *, durable: bool = True) -> None:
        lsns = [stored.lsn for stored in registers]
        self._lsns.difference_update(lsns)
        if durable and lsns:
            heappush(self._done, max(lsns))
        lowest, done = self.lowest, self._done
        while done and (lowest is None or done[0] < lowest):
            self._durable = max(self._durable, heappop(done))

    def hold(self, stored: StoredRegister) -> Callable[[], None]:
        """One that was settled and is not any more, until the returned function is called."""
        lsn = stored.lsn
        heappush(self._held, lsn)
        self._holding[lsn] += 1

        def release() -> None:
            self._holding[lsn] -= 1

        return release

    @property
    def lowest(self) -> int | None:
        order, lsns, held = self._order, self._lsns, self._held
        while order and order[0] not in lsns:
            order.popleft()
        while held and self._holding[held[0]] <= 0:
            del self._holding[heappop(held)]
        if not held:
            return order[0] if order else None
        return min(order[0], held[0]) if order else held[0]

    @property
    def told_below(self) -> int | None:
        """None if none is pending. Else every register below this is settled, and the number right below it is one
        that the store has, or has had: not one that was issued to an event, or to a write that the store refused."""
        lowest = self.lowest
        return None if lowest is None else min(self._durable + 1, lowest)
