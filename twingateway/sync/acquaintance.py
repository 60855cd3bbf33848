"""What one node has come to know of a peer: which store it has, how far that has got, and which of the processes that
ran on it is the present one.

A process is a (store, boot). A link may come late, from a process that ended meanwhile: what it says of the store is
not believed, since another may have gone on from an older copy of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import replace

from twingateway.sync.events import Event, LowAdvanced, PeerStoreChanged
from twingateway.sync.hello import Hello
from twingateway.sync.knowledge import PeerKnowledge

#: Processes of a peer that are remembered after others took their place.
FORMER = 16


class Acquaintance:
    """With one peer. `known`: None until it is met, or persisted earlier."""

    def __init__(self, known: PeerKnowledge | None) -> None:
        self.known = known
        self._opened = 0
        """What the peer's present process said of its opening."""
        self._former: deque[tuple[bytes, bytes]] = deque(maxlen=FORMER)

    def is_former(self, hello: Hello, here: Container[tuple[bytes, bytes]]) -> bool:
        """Whether the peer's present process, if it is among those that are `here`, began after the one that says
        this."""
        known = self.known
        if known is None or hello.process == known.process:
            return False
        is_older = hello.store_id == known.store_id and 0 < hello.opened < self._opened
        return known.process in here and (is_older or hello.process in self._former)

    def meet(self, hello: Hello) -> list[Event]:
        """The present process is the one that says this. No event if it was before."""
        known = self.known
        self._opened = hello.opened
        if known is not None and known.process == hello.process:
            return []
        if known is not None:
            self._former.append(known.process)
        same = known is not None and known.store_id == hello.store_id
        low = known.low if known is not None and same else 0
        self.known = PeerKnowledge(hello.store_id, low, hello.boot_id, hello.last_lsn)
        return [
            PeerStoreChanged(low, hello.boot_id, hello.last_lsn, hello.store_id, known.store_id if known else b"")
        ]

    def hear(self, process: tuple[bytes, bytes], low: int, top: int) -> list[Event]:
        """How far its store has got, as this process says. Nothing if that is not the present one, or no news."""
        known = self.known
        if known is None or process != known.process or (low <= known.low and top <= known.lsn):
            return []
        self.known = new = replace(known, low=max(low, known.low), lsn=max(top, known.lsn))
        return [LowAdvanced(new.low, new.boot_id, new.lsn, new.store_id)]
