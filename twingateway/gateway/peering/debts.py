"""What the peer of one link owes for what it is sent, and when it has owed that for too long."""

from __future__ import annotations

from collections.abc import Callable

from twingateway.ports.link import LinkFacts
from twingateway.sync.patience import Patience
from twingateway.sync.session import Session

#: Seconds of saying nothing of what it is sent after which a peer is taken for one that never will. A path that is
#: dead ends the link sooner, so of these at least half were seconds in which the peer was heard.
UNHEEDED = 120.0
#: Seconds in which a peer that is heard makes nothing durable of what it has seen, after which its link is ended: it
#: may be one that never will. One whose store is full for so long loses nothing by it but a link.
UNDURABLE = 600.0
#: How often the slow ones of these debts are looked at, in seconds.
LOOK_EVERY = 1.0


class Debts:
    """Of the peer at the other end of link `number` of `session`."""

    def __init__(self, session: Session, number: int, facts: Callable[[], LinkFacts]) -> None:
        self._session = session
        self._number = number
        self._facts = facts
        self._looked_at = 0.0
        self._untaken = Patience(UNHEEDED)
        self._seen_only = Patience(UNDURABLE)

    def overdue(self, now: float, *, heard: bool) -> str | None:
        """What has been owed for too long, in words for the peer."""
        unheeded = self._session.unheeded_since(self._number)
        if unheeded is not None and now >= unheeded + UNHEEDED:
            return "what was sent is never acknowledged"
        if now < self._looked_at + LOOK_EVERY:
            return None
        self._looked_at = now
        facts = self._facts()
        if self._untaken.ends(facts.bytes_acknowledged if facts.bytes_in_flight else None, now, heard=heard):
            return "what was sent is never taken"
        if self._seen_only.ends(self._session.undurable_since(self._number), now, heard=heard):
            return "what was seen is never made durable"
        return None
