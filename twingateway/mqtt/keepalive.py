"""When to ask a silent peer whether it is there, and when to give it up (MQTT 5, 3.1.2.10)."""

from __future__ import annotations

#: A peer is dead after this many keep-alives of silence.
_PATIENCE = 1.5
#: Two PINGREQs fit into that, so that one slow answer does not end the connection.
_PING_EVERY = 0.75


class KeepAlive:
    """One peer's liveness. `interval` in seconds, 0 for none; times are monotonic seconds. `sooner`: the interval by
    which to ask, if that is to be more often than the peer demands."""

    def __init__(self, interval: float, now: float, sooner: float | None = None) -> None:
        self._interval = interval
        self._asking = interval if sooner is None else min(sooner, interval or sooner)
        self._heard_at = now
        self._pinged_at = now

    def heard(self, now: float) -> None:
        """Anything at all arrived."""
        self._heard_at = max(self._heard_at, now)

    def pinged(self, now: float) -> None:
        self._pinged_at = now

    @property
    def dead_at(self) -> float | None:
        return self._heard_at + _PATIENCE * self._interval if self._interval else None

    @property
    def ping_at(self) -> float | None:
        return self._pinged_at + _PING_EVERY * self._asking if self._asking else None
