"""Journal entries on their way into the store, and what becomes of them while it takes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twingateway.ports.journal import Filing
from twingateway.twin.entry import DROPPED, gap_for

#: Entries that are kept while the store refuses them.
MOST = 20_000


class Holdback:
    """Entries in order. Of more than `MOST` the oldest are given up: one gap record per class stands for them."""

    def __init__(self, filings: Iterable[Filing] = (), dropped: Iterable[Filing] = ()) -> None:
        self._filings = list(filings)
        self._dropped = {filing.entry.class_name: filing for filing in dropped}

    def __bool__(self) -> bool:
        return bool(self._filings or self._dropped)

    def add(self, filings: Iterable[Filing]) -> None:
        self._filings += filings
        if len(self._filings) > MOST:
            self._drop(len(self._filings) - MOST * 9 // 10)

    def filings(self) -> list[Filing]:
        """Everything, in order: gap records first."""
        return [*self._dropped.values(), *self._filings]

    def followed_by(self, newer: Holdback) -> Holdback:
        """Both, this one's first."""
        joined = Holdback(self._filings, self._dropped.values())
        for filing in newer._dropped.values():
            joined._give_up(filing)
        joined.add(newer._filings)
        return joined

    def _drop(self, count: int) -> None:
        for filing in self._filings[:count]:
            self._give_up(filing)
        del self._filings[:count]

    def _give_up(self, filing: Filing) -> None:
        entry = filing.entry
        known = self._dropped.get(entry.class_name)
        before = 0 if known is None else known.entry.count
        gap = replace(gap_for(entry, 0, 0, DROPPED), count=before + entry.count)
        self._dropped[entry.class_name] = replace(filing, entry=gap)
