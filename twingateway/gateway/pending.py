"""Lsns that were issued and are not yet what they are to become (published, or durable and offered)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from twingateway.twin.register import StoredRegister


class Pending:
    """A set of lsns that knows its lowest. Lsns are issued in ascending order, so insertion order is theirs."""

    def __init__(self) -> None:
        self._lsns: set[int] = set()
        self._order: deque[int] = deque()

    def add(self, registers: Iterable[StoredRegister]) -> None:
        lsns = [stored.lsn for stored in registers]
        self._lsns.update(lsns)
        self._order += lsns

    def remove(self, registers: Iterable[StoredRegister]) -> None:
        self._lsns.difference_update([stored.lsn for stored in registers])

    @property
    def lowest(self) -> int | None:
        order, lsns = self._order, self._lsns
        while order and order[0] not in lsns:
            order.popleft()
        return order[0] if order else None
