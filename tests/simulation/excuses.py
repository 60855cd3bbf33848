"""Which excuses were needed: without them something would be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Excuses:
    """`ever`: of what happened; `now`: of what is there at present."""

    ever: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)

    def excuse(self, excuses: Mapping[str, bool], *, now: bool = False) -> bool:
        """Whether any of these holds; all that do are noted."""
        (self.now if now else self.ever).update(name for name, holds in excuses.items() if holds)
        return any(excuses.values())
