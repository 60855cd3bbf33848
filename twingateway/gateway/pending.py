"""Lsns that were issued and are not yet what they are to become (published, or durable and offered)."""

from __future__ import annotations

from collections.abc import Iterable

from twingateway.twin.register import StoredRegister


class Pending:
    """A set of lsns that knows its lowest. Lsns are issued in ascending order, so insertion order is theirs."""

    def __init__(self) -> None:
        self._lsns: dict[int, None] = {}

    def add(self, registers: Iterable[StoredRegister]) -> None:
        self._lsns.update((stored.lsn, None) for stored in registers)

    def remove(self, registers: Iterable[StoredRegister]) -> None:
        for stored in registers:
            self._lsns.pop(stored.lsn, None)

    @property
    def lowest(self) -> int | None:
        return next(iter(self._lsns), None)
