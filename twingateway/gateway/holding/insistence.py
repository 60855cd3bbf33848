"""What a parent would not have from this node yet is offered again a while later.

A parent refuses the registers of a device as long as it does not know that this node leads to its holder: so it is
for a moment when a node comes to another region, which has heard nothing of its devices, or comes before the first
region has missed it; or when the parent lost its store, and the grant has not come down again. A refused register
leaves the outbox; without this it would be sent with its next change only. And a node that lost its own store says of
the nodes below it what the parent takes for outdated: that is said again in a new epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from twingateway.gateway.holding.claims import HOLDER_SECTIONS
from twingateway.gateway.peering.inbound import OUTDATED
from twingateway.gateway.peering.peers import Direction, Peer
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.sync.events import PeerRefused
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey

#: Refusals that a grant on its way may end.
_PASSING = frozenset({"not-yours", "fenced", "deleted"})
#: Seconds until a device is offered again: doubling from the first to the second while it is refused.
PAUSE = (0.5, 60.0)
#: The pause before which it is told, once, that a device is still refused.
PATIENCE = 4.0


class Insistence:
    def __init__(
        self,
        table: TwinTable,
        ledger: Ledger,
        tasks: Tasks,
        renew: Callable[[Iterable[RegisterKey]], Awaitable[None]],
    ) -> None:
        """`renew`: say what was said last of these in a new epoch."""
        self._table = table
        self._ledger = ledger
        self._tasks = tasks
        self._renew = renew
        self._waiting: set[DeviceId] = set()
        self._pauses: dict[DeviceId, float] = {}
        self._held: dict[DeviceId, list[Callable[[], None]]] = {}
        """What was refused must not be forgotten by a crash before it is offered again."""

    def refused(self, peer: Peer, event: PeerRefused) -> bool:
        """Whether people are to be told: not of what is offered again, unless that was in vain, and then once."""
        key = event.key
        if peer.direction is not Direction.PARENT:
            return True
        if event.code == OUTDATED:
            self._tasks.start(self._say_again(event), f"saying {key} again")
            return False
        if event.code not in _PASSING or key.section not in HOLDER_SECTIONS:
            return True
        stored = self._table.get(key)
        if stored is not None and stored.register.version == event.version:
            self._held.setdefault(key.device, []).append(self._ledger.hold(stored))
        if key.device in self._waiting:
            return False
        self._waiting.add(key.device)
        self._tasks.start(self._offer_again(key.device), f"offering {key.device} again")
        return self._pauses.get(key.device) == PATIENCE

    def linked(self) -> None:
        """There is a new link to the parent."""
        self._pauses.clear()

    async def _say_again(self, outdated: PeerRefused) -> None:
        stored = self._table.get(outdated.key)
        if stored is not None and stored.register.version == outdated.version:
            await self._renew([outdated.key])

    async def _offer_again(self, device: DeviceId) -> None:
        pause = self._pauses.get(device, PAUSE[0])
        self._pauses[device] = min(2 * pause, PAUSE[1])
        await asyncio.sleep(pause)
        self._waiting.discard(device)
        self._ledger.renumber(self._table.sections(device, HOLDER_SECTIONS))
        for release in self._held.pop(device, []):
            release()
