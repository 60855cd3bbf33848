"""Lsns that were issued and are not yet what they are to become (published, or durable and offered)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from twingateway.twin.register import StoredRegister


class Pending:
    """A set of lsns that knows its lowest. Lsns are issued in ascending order, so insertion order is theirs."""

    def __init__(self) -> None:
        self._lsns: set[int] = set()
        self._order: deque[int] = deque()
        self._held: list[int] = []
        self._holding: Counter[int] = Counter()

    def add(self, registers: Iterable[StoredRegister]) -> None:
        lsns = [stored.lsn for stored in registers]
        self._lsns.update(lsns)
        self._order += lsns

    def remove(self, registers: Iterable[StoredRegister]) -> None:
        self._lsns.difference_update([stored.lsn for stored in registers])

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
