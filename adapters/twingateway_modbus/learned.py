"""What a device taught about reading it: gaps that it refuses to have read, values that are to be read alone.

Kept in a file of its own for each device, and for each unit that is read for several together, so that a restart does
not ask again for what was refused. The file may be deleted at any time; a damaged one counts as none.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from twingateway_modbus.plan import Limits, Range
from twingateway_modbus.point import Table


class Learned:
    """`file`: None keeps it in memory only. `about` names the unit: what was learned of another is dropped."""

    def __init__(self, file: Path | None, about: str) -> None:
        self._file = file
        self._about = about
        self.holes: dict[Table, frozenset[Range]] = {}
        self.alone: dict[Table, frozenset[Range]] = {}
        if file is not None:
            self._load(file)

    def add_hole(self, table: Table, hole: Range) -> None:
        self.holes[table] = self.holes.get(table, frozenset()) | {hole}

    def add_alone(self, table: Table, where: Range) -> None:
        self.alone[table] = self.alone.get(table, frozenset()) | {where}

    def discard_alone(self, table: Table, where: Range) -> bool:
        """It answers now. Returns whether that is new."""
        known = self.alone.get(table, frozenset())
        self.alone[table] = known - {where}
        return where in known

    def limits(self, declared: Limits) -> Limits:
        """What was declared, and what was learned."""
        return replace(
            declared, holes={table: tuple(sorted(holes)) for table, holes in self.holes.items()}, alone=self.alone
        )

    def save(self) -> None:
        """Nothing is lost if this fails but the time to learn it again."""
        if self._file is None:
            return
        content = {"unit": self._about, "holes": _plain(self.holes), "alone": _plain(self.alone)}
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(".new")
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, self._file)

    def _load(self, file: Path) -> None:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["unit"] == self._about:
                holes, alone = _ranges(content["holes"]), _ranges(content["alone"])
                self.holes, self.alone = holes, alone


def _plain(ranges: dict[Table, frozenset[Range]]) -> dict[str, list[list[int]]]:
    return {str(table): [list(each) for each in sorted(known)] for table, known in ranges.items() if known}


def _ranges(written: Any) -> dict[Table, frozenset[Range]]:
    return {
        Table(table): frozenset(Range(int(start), int(end)) for start, end in known)
        for table, known in written.items()
    }
