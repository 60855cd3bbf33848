"""How long changes took from the device to the cloud's event stream. Pure; all times are Unix milliseconds.

An update counts to an outage when its way from the device to the cloud fell into it, also in part: it changed before
the link was back, and was seen after the link was cut.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

#: Updates that are remembered; older ones are forgotten.
REMEMBERED = 200_000


class Latencies:
    def __init__(self) -> None:
        self._updates: deque[tuple[str, float, float]] = deque(maxlen=REMEMBERED)
        self._outages: list[tuple[float, float]] = []
        self._since = math.inf

    def begin(self, now: float) -> None:
        """Changes from now on are measured."""
        self._since = now

    def add(self, kind: str, changed: float, seen: float) -> None:
        """`kind`: what the update is counted under."""
        if changed >= self._since:
            self._updates.append((kind, changed, seen))

    def outage(self, cut: float, restored: float) -> None:
        self._outages.append((cut, restored))

    def normal(self) -> dict[str, list[float]]:
        """Milliseconds of every update that no outage touched, by kind."""
        return self._durations(touched=False)

    def delayed(self) -> dict[str, list[float]]:
        """Milliseconds of every update that an outage touched, by kind."""
        return self._durations(touched=True)

    def _durations(self, *, touched: bool) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for kind, changed, seen in self._updates:
            if self._touched(changed, seen) is touched:
                found.setdefault(kind, []).append(seen - changed)
        return found

    def _touched(self, changed: float, seen: float) -> bool:
        return any(changed < restored and seen > cut for cut, restored in self._outages)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank), to one decimal
    place; None without values."""
    ordered: Sequence[float] = sorted(values)
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)
