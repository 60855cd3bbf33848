"""What connections tell the gateway of their peers."""

from __future__ import annotations

from typing import Any, Protocol

from twingateway.gateway.peering.journal_lane import JournalEvents
from twingateway.gateway.peering.peers import Line, Peer
from twingateway.sync import events as sync_events


class PeerEvents(Protocol):
    """What the gateway does when something about a peer happens."""

    @property
    def journal(self) -> JournalEvents: ...

    def linked(self, peer: Peer) -> None:
        """The peer proved who it is and a session runs on a new link."""
        ...

    def unlinked(self, peer: Peer, *, sent: bool) -> None:
        """A link of the peer's is gone; `sent`: it was the one that sent."""
        ...

    def reached(self, peer: Peer) -> None:
        """The peer went quiet on a link, or was heard of again."""
        ...

    def turned_away(self, peer: Peer, line: Line) -> None:
        """`line` comes from a process in whose place another of the peer's began later; it is about to be closed."""
        ...

    def control(self, peer: Peer, kind: str, body: Any) -> None:
        """An application message. Raises ProtocolViolation for one that makes no sense."""
        ...

    def refused(self, peer: Peer, event: sync_events.PeerRefused) -> None: ...

    def rolled_back(self, peer: Peer, forked_at: int) -> None:
        """The peer was told of numbers that this store does not know: it is an older copy of itself, which went on
        behind this lsn."""
        ...
