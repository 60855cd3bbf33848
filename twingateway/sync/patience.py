"""How long a peer may owe an answer: only time counts in which it was heard, so that no outage is held against it."""

from __future__ import annotations

#: The most that counts between two looks, in seconds: whoever looks seldom, or slept, has not waited for all of it.
LONGEST_STEP = 30.0


class Patience:
    """Ends after `limit` seconds."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._owed: object = None
        self._waited = 0.0
        self._looked_at = 0.0

    def ends(self, owed: object, now: float, *, heard: bool) -> bool:
        """Whether the peer has owed this for too long. `owed`: something that stays equal as long as it does nothing
        about it, None if it owes nothing."""
        if owed is None or owed != self._owed:
            self._owed, self._waited = owed, 0.0
        elif heard:
            self._waited += min(now - self._looked_at, LONGEST_STEP)
        self._looked_at = now
        return owed is not None and self._waited >= self._limit
