"""Two running nodes that go by one name: what becomes of a site whose files were copied to the next one as they are.

The one that began later is heard, and the other's links are closed as those of a process that has ended. What such a
process sent may arrive late, once or twice; one that comes again and again has not ended, and a person has to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from twingateway.gateway.peering.peers import Line, Peer
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger

#: Links that were turned away, each at most so many seconds after the one before, until it is told.
OFTEN = 3
WITHIN = 600.0
#: Seconds until it is told again of the same name.
TELL_AGAIN = 3600.0


@dataclass(slots=True)
class _Turned:
    """Links that came under one name from processes whose place was taken. Times are monotonic seconds."""

    count: int = 0
    last: float = -inf
    told: float = -inf


class Namesakes:
    """Of the nodes that one node has sessions with."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._turned: dict[tuple[str, str], _Turned] = {}

    def turned_away(self, peer: Peer, line: Line) -> None:
        """`line` is about to be closed: another process of this name began after the one it comes from."""
        now = self._clock.now()
        turned = self._turned.setdefault((peer.namespace, peer.name), _Turned())
        turned.count = turned.count + 1 if now <= turned.last + WITHIN else 1
        turned.last = now
        if turned.count < OFTEN or now < turned.told + TELL_AGAIN:
            return
        turned.told = now
        present, away = peer.line, line.facts().peer_address
        here = "elsewhere" if present is None or present is line else f"at {present.facts().peer_address}"
        self._ledger.notice(
            "name-shared",
            f"two running nodes call themselves {peer.name}: the one {here} is heard, the one at {away} is turned "
            "away; each needs a name, a certificate and a store of its own",
            node=peer.name,
        )
