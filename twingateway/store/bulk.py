"""Many rows in one statement: SQLite works on a statement without Python's lock, and each return to Python must wait
for it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import chain

from twingateway.store.rows import Row

_SIZES = (256, 16, 1)
_ONE_ROW = re.compile(r"\(\?(?:, \?)*\)")


class Bulk:
    """An INSERT with `VALUES (?, …)`, ready for any number of rows."""

    def __init__(self, insert: str) -> None:
        (row,) = _ONE_ROW.findall(insert)
        self._statements = {size: insert.replace(row, ",".join([row] * size)) for size in _SIZES}

    def run(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """How many rows were inserted or changed."""
        changed = done = 0
        for size, statement in self._statements.items():
            while len(rows) - done >= size:
                values = list(chain.from_iterable(rows[done : done + size]))
                changed += connection.execute(statement, values).rowcount
                done += size
        return changed
