"""What happens when a peer knows more of this store than the store itself: it is an older copy, restored.

The store takes a new identity, so that both sides compare everything anew; a root doubts its own registers until the
holders were asked (see grants), and hears out who told it so before all others: that one may hold what the copy gives
to another. A holder is given back what it had told, and a new epoch, since its store id is new. Nothing of this needs
a person; a crash in the middle starts it again, and a store that refuses is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from twingateway.errors import ProtocolViolation, StoreError, Unavailable
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.committer import RETRY_SECONDS
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import lifecycle_of
from twingateway.gateway.state.numbers import Numbers
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.ports.store import Store
from twingateway.twin.register import RegisterKey, Section

log = structlog.get_logger("repair")

T = TypeVar("T")


class Repair:
    def __init__(
        self,
        store: Store,
        numbers: Numbers,
        table: TwinTable,
        ledger: Ledger,
        peers: Peers,
        grants: Grants | None,
        tasks: Tasks,
        statements: Statements,
    ) -> None:
        self._store = store
        self._numbers = numbers
        self._table = table
        self._ledger = ledger
        self._peers = peers
        self._grants = grants
        self._tasks = tasks
        self._statements = statements
        self._running = False
        if grants is not None:
            grants.histories.watch(self.begin)
        self.repairs = 0
        """How often this process found its store rolled back."""
        self.replacements = 0
        """How often this process found its store damaged and began with a fresh one."""

    @property
    def running(self) -> bool:
        """It was found, and is not all done."""
        return self._running

    def look(self) -> None:
        """Say so if this is another node's store: that one's devices are shown as they were when it was copied."""
        here, store = self._peers.node, self._peers.store_id.hex()
        granted = (lifecycle_of(self._table, device) for device in self._table.devices())
        others = {str(each.get("holder")) for each in granted if each.get("store") == store} - {here}
        for other in sorted(others):
            message = f"this is the store of {other}: unless {here} is its new name, give it back its own, or none"
            self._ledger.notice("store-of-another", message, node=other)

    def begin(self, told_by: str, forked_at: int) -> None:
        """The node `told_by` was told of numbers that this store does not know, which went on behind `forked_at`."""
        if not self._running:
            self._running = True
            self._tasks.start(self._run(told_by, forked_at), "repair of the store")

    def on_said(self, peer: Peer, body: Any) -> None:
        """The root has registers of these numbers from this node, under a grant to this store."""
        store, numbers = body.get("store"), body.get("numbers")
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise ProtocolViolation("what was said has numbers")
        unknown = [number for number in numbers if not self._numbers.is_issued(number)]
        if store == self._peers.store_id.hex() and unknown:
            self.begin(peer.name, self._numbers.left_at(unknown))

    def replaced(self, times: int, reason: str, kept_as: str | None) -> None:
        """This gateway runs on a fresh store because the one before was damaged (the `times`-th in this process), or
        is gone altogether (`kept_as` None)."""
        self.replacements = times
        happened = "is gone" if kept_as is None else f"was damaged and moved aside to {kept_as}"
        message = f"the store {happened}; a fresh one is being filled by the peers"
        self._ledger.notice("store-corrupt", message, reason=reason, kept_as=kept_as)

    async def _run(self, told_by: str, forked_at: int) -> None:
        try:
            log.error("the store is an older copy of itself; taking a new identity", told_by=told_by)
            grants = self._grants
            if grants is not None:
                await _insist(lambda: grants.doubt(forked_at))
                await grants.hearing.hear_out()
            self._peers.renew(await _insist(self._store.renew_identity))
            await self._reach_again()
            self.repairs += 1
            message = "the store was found restored from a backup; it is being made whole from its peers"
            self._ledger.notice("store-rolled-back", message, told_by=told_by)
        finally:
            self._running = False

    async def _reach_again(self) -> None:
        """This node's reach registers of the lost time may have greater seqs: go beyond them with the epoch."""
        keys = (stored.register.key for stored in self._table.registers())
        await self._statements.renew(key for key in keys if self._is_own_reach(key))

    def _is_own_reach(self, key: RegisterKey) -> bool:
        """Of other nodes' children they speak themselves."""
        return key.section is Section.REACH and key.name == self._peers.node


async def _insist(step: Callable[[], Awaitable[T]]) -> T:
    """Until then no peer is told anything, so there is no other way on."""
    while True:
        try:
            return await step()
        except (StoreError, Unavailable) as error:
            log.warning("the repair waits for the store", code=error.code, reason=error.message)
            await asyncio.sleep(RETRY_SECONDS)
