"""The connection to a peer as people and monitoring want to see it."""

from __future__ import annotations

from dataclasses import dataclass

from twingateway.gateway.peering.peers import Peer
from twingateway.sync.quality import Quality


@dataclass(frozen=True, slots=True)
class PeerLink:
    """`url`: the parent's address in use, empty for a child. `links`: connections there are, more than one while one
    takes over from another. `goodput`: bytes a second of state that was new, copies and resends not counted.
    `queue_age`: seconds since the register that waits longest for the peer came about."""

    transport: str
    address: str
    url: str
    links: int
    goodput: float
    queue_age: float
    quality: Quality


def link_to(peer: Peer, wall_ms: int) -> PeerLink | None:
    """None while there is no connection."""
    line = peer.line
    if line is None:
        return None
    facts, quality = line.facts(), peer.session.quality(line.number)
    oldest = peer.session.outbox.oldest_time()
    return PeerLink(
        facts.transport,
        facts.peer_address,
        line.url,
        len(peer.lines),
        facts.frame_rate / max(1.0, quality.redundancy),
        0.0 if oldest is None else max(0.0, (wall_ms - oldest) / 1000),
        quality,
    )
