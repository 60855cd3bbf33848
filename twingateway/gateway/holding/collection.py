"""Tombstones are collected: the writer of a twin's sections replaces them by a note of what is left (`twin.kept`).

Every node obeys such a note, and the end of an incarnation: what they say is gone is removed, from the store too, and
is not taken again from whoever still has a copy. A tombstone is collected when every peer that is linked has made it
durable; to a peer that is away the note says as much, whenever it comes. So nothing is kept for a peer that never
comes back, and a device that was deleted costs its lifecycle register alone.

A writer whose store was put back to an older copy must not write a note before it knows: it would take from others
what itself has lost. So a root begins with a device when it has heard its holder, a holder when it has met its
parent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from twingateway.errors import StoreError, Unavailable
from twingateway.gateway.holding.grants import Grants
from twingateway.gateway.holding.notes import draw_up
from twingateway.gateway.holding.ownership import Ownership
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import LIFECYCLE_NAME, LISTED, LISTED_IN, NOTE_NAMES
from twingateway.twin.register import WRITER, RegisterKey, Section, StoredRegister, Writer

log = structlog.get_logger("store")

#: Seconds between two rounds.
ROUND_SECONDS = 60.0
#: A note is worth it when there is a tombstone for every so many names that it lists.
NAMES_PER_TOMBSTONE = 8

_NOTES = frozenset({(Section.LIFECYCLE, LIFECYCLE_NAME), *((home, name) for home in LISTED for name in NOTE_NAMES)})


class Collection:
    """Begin with `open`; `run` is the rounds."""

    def __init__(
        self,
        grants: Grants | None,
        peers: Peers,
        table: TwinTable,
        ledger: Ledger,
        ownership: Ownership,
        locks: DeviceLocks,
    ) -> None:
        """`grants` is None at a node that is not the root."""
        self._grants = grants
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._ownership = ownership
        self._locks = locks
        self._candidates: dict[tuple[DeviceId, Section], None] = {}
        """Devices with tombstones, by the section that their note would be in."""
        self.collected = 0
        """Tombstones that this process replaced by notes."""
        ledger.watch(self._on_note, *{section for section, _ in _NOTES})
        ledger.watch_removals(self._note)

    def open(self) -> None:
        """Finish what a crash interrupted, and see what there is to collect."""
        for device in self._table.devices():
            self._drop(list(self._table.device(device)))
            for stored in self._table.device(device):
                self._note(stored)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.collect()

    async def collect(self) -> None:
        """One round."""
        candidates, self._candidates = list(self._candidates), {}
        for device, home in candidates:
            try:
                if not await self._collect(device, home):
                    self._candidates[device, home] = None
            except (StoreError, Unavailable):
                self._candidates[device, home] = None
            await asyncio.sleep(0)

    # --- obeying -------------------------------------------------------------------------------------------------

    def _on_note(self, stored: StoredRegister) -> None:
        device, section, name = stored.register.key
        if (section, name) in _NOTES:
            self._drop(list(self._table.device(device)))

    def _drop(self, registers: Iterable[StoredRegister]) -> None:
        gone = [stored for stored in registers if self._is_gone(stored)]
        if gone:
            self._ledger.drop(gone)

    def _is_gone(self, stored: StoredRegister) -> bool:
        register = stored.register
        if self._table.is_collected(register):
            return True
        return self._table.is_ended(register) and not self._is_own(register.key)

    def _is_own(self, key: RegisterKey) -> bool:
        """What a device that is run here said gets a version of its new incarnation (see `Ownership`)."""
        return WRITER[key.section] is Writer.HOLDER and self._ownership.runs(key.device)

    def _note(self, stored: StoredRegister) -> None:
        home = LISTED_IN.get(stored.register.key.section)
        if stored.register.value is None and home is not None:
            self._candidates[stored.register.key.device, home] = None

    # --- collecting ----------------------------------------------------------------------------------------------

    async def _collect(self, device: DeviceId, home: Section) -> bool:
        """False if it is to be looked at again in the next round."""
        if WRITER[home] is Writer.ROOT:
            if self._grants is None:
                return True
            if not self._grants.has_heard_holder(device):
                return False
            async with self._locks.hold([device]):  # whoever writes desired values or labels holds it
                return await self._replace(device, home)
        if not self._ownership.runs(device):
            return True
        if self._peers.holder(device) is not None and not self._ownership.held(device):
            return False
        if self._grants is None and not self._has_met_parent:
            return False
        return await self._replace(device, home)

    @property
    def _has_met_parent(self) -> bool:
        parent = self._peers.parent
        return parent is not None and any(parent.session.met(line.number) for line in parent.lines)

    async def _replace(self, device: DeviceId, home: Section) -> bool:
        registers = self._table.sections(device, LISTED[home])
        tombstones = [stored for stored in registers if stored.register.value is None]
        if not tombstones:
            return True
        left = len(registers) - len(tombstones)
        if left > NAMES_PER_TOMBSTONE * len(tombstones) or self._is_under_way(tombstones):
            return False
        notes = draw_up(self._table, self._ledger, device, home)
        if not notes:
            log.debug("too many names to collect the tombstones", device=str(device), names=left)
            return False
        await self._ledger.write(notes)
        self.collected += len(tombstones)
        return True

    def _is_under_way(self, tombstones: Iterable[StoredRegister]) -> bool:
        """A peer that is linked is about to have them."""
        linked = [peer for peer in self._peers if peer.line is not None]
        return any(stored.register.key in peer.session.outbox for stored in tombstones for peer in linked)
