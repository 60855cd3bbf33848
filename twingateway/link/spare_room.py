"""Whether a path has room for more than there is to send: for copies that come sooner, for instance.

It has when nothing had to wait for it lately: no packet for window or pacing, and not even the quickest packets of a
round trip in a queue. Whether there is room for *more* only trying can tell: where something had to wait soon after
that, it is tried again after twice the time.
"""

from __future__ import annotations

import math

#: Seconds without waiting after which there is room, at first and at most.
SOONEST, LATEST = 1.0, 60.0
#: Room that lasted for so long was there; what had to wait then had another cause.
LASTING = 3.0


class SpareRoom:
    def __init__(self) -> None:
        self._waited_at = -math.inf
        self._after = SOONEST

    def waited(self, now: float) -> None:
        """Something has to wait, or did."""
        lasted = now - self._waited_at - self._after
        if lasted >= LASTING:
            self._after = SOONEST
        elif lasted >= 0:
            self._after = min(2 * self._after, LATEST)
        self._waited_at = now

    def is_there(self, now: float) -> bool:
        return now - self._waited_at >= self._after
