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
        asking = interval if sooner is None else min(sooner, interval or sooner)
        self._patience = _PATIENCE * interval
        self._ping_every = _PING_EVERY * asking
        self.dead_at: float | None = now + self._patience if interval else None
        """When the peer is to be given up, None for never."""
        self.ping_at: float | None = now + self._ping_every if asking else None
        """When to ask, None for never."""

    def heard(self, now: float) -> None:
        """Anything at all arrived."""
        if self.dead_at is not None:
            self.dead_at = max(self.dead_at, now + self._patience)

    def pinged(self, now: float) -> None:
        """It was asked."""
        if self.ping_at is not None:
            self.ping_at = now + self._ping_every
