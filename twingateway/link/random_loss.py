"""The share of packets that the path loses whatever we do.

Counted only among packets that left while we sent more slowly than the path can carry: such loss cannot be our own
doing. Loss from sending too fast is not among them, and so is never made up for by sending more.
"""

from __future__ import annotations

#: Loss is believed from this many packets on, over a memory of about twice that many, and up to this share.
SAMPLE = 16
MEMORY = 128
LIMIT = 0.5


class RandomLoss:
    def __init__(self) -> None:
        self._sent = 0.0
        self._lost = 0.0

    @property
    def share(self) -> float:
        return min(self._lost / self._sent, LIMIT) if self._sent >= SAMPLE else 0.0

    def count(self, *, lost: bool) -> None:
        """The fate of one packet that had left slowly."""
        self._sent += 1
        self._lost += lost
        if self._sent >= MEMORY:
            self._sent /= 2
            self._lost /= 2
