"""Puts on record when the values of this node's devices become good or bad, for those that have history.

A point of history says what a device reported, and what it has just reported is good. That a value was not to be
relied on for some time afterwards nobody reports: so each change of a device's quality is a mark, one for all of its
properties, in a series of the device's own (`MARKS`). What lies between a device's node and a reader is not in it: a
node that was not heard for a day did hear its devices.
"""

from __future__ import annotations

from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.state.journal import Journal
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.queries import Queries
from twingateway.twin.entry import HISTORY
from twingateway.twin.identity import DeviceId
from twingateway.twin.quality import MARKS, Quality
from twingateway.twin.register import Section, StoredRegister


class QualityMarks:
    """`on_register` is to be told of the registers of section `presence`. The first mark of a device in a process is
    made whatever it says: the one before may have been lost with the last process."""

    def __init__(self, peers: Peers, table: TwinTable, queries: Queries, journal: Journal) -> None:
        self._peers = peers
        self._table = table
        self._queries = queries
        self._journal = journal
        self._marked: dict[DeviceId, Quality] = {}

    def on_register(self, stored: StoredRegister) -> None:
        register = stored.register
        for device in self._queries.judged_by(register.key):
            if self._peers.holder(device) in (None, self._peers.node):
                self._mark(device, register.time)

    def _mark(self, device: DeviceId, time: int) -> None:
        has_history = self._journal.with_history(device)
        if not any(has_history(name) for name in self._table.section(device, Section.REPORTED)):
            return
        quality = self._queries.quality(device)
        shown = Quality(quality.whole, {name: reason for name, reason in quality.bad.items() if has_history(name)})
        if self._marked.get(device) != shown:
            self._marked[device] = shown
            self._journal.note(HISTORY, device, MARKS, shown.to_value(), time)
