"""Whether packets wait in a queue on the way: even the shortest of some round trips is longer than the path's own.
Jitter does not look like that, since the shortest of several is not delayed.

There are two bounds, for two questions. Whether a queue `STANDS` asks who would send less because of it: a quarter,
so that a path whose length varies is not taken for one. Whether a path is `TIGHT` asks who would send more than it
must: a tenth is enough to leave that, but not the few milliseconds that a busy machine adds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """What a round trip may exceed the path's own by: a share of that, and seconds."""

    share: float
    seconds: float


STANDS = Bound(0.25, 0.002)
TIGHT = Bound(0.1, 0.005)


def is_queued(shortest: float, own: float, beyond: Bound) -> bool:
    """`shortest`: of some round trips; `own`: the path's (seconds)."""
    return shortest > (1 + beyond.share) * own + beyond.seconds
