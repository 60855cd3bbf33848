"""One entry of the journal, and the classes that entries come in.

Every entry counts: it is kept until the next node has made it durable, or until a *gap record* stands for it. A gap
record is an entry itself, for `count` seqs in a row. An entry is known everywhere by `(journal_id, class_name, seq)`:
seqs of one journal and class are consecutive from 1, so what is missing can be told from what came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from twingateway.twin.identity import DeviceId
from twingateway.twin.record import record
from twingateway.twin.value import Value

#: Why a gap record stands where it does. Only of what is `lost` something may still turn up.
EXPIRED, EVICTED, DROPPED, LOST, REFUSED = "expired", "evicted", "dropped", "lost", "refused"


class JournalKey(NamedTuple):
    """Where in which journal. `seq` of a gap record is its last."""

    journal_id: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class JournalClass:
    """How entries of one kind are treated on their way. `priority`: 0 goes first; `ttl`: seconds that an entry waits
    at one node (of its running time) until a gap record takes its place; `max_bytes`: of those that wait there;
    `linger`: seconds that a new entry may wait for company before it is sent on."""

    name: str
    priority: int
    ttl: float
    max_bytes: int
    linger: float = 0.0


_MIB, _DAY = 1024 * 1024, 86400.0

ALARM, EVENT, HISTORY, RAW = "alarm", "event", "history", "raw"

#: The classes unless a node file says otherwise.
CLASSES: Mapping[str, JournalClass] = MappingProxyType(
    {
        each.name: each
        for each in (
            JournalClass(ALARM, 0, 30 * _DAY, 64 * _MIB),
            JournalClass(EVENT, 1, 14 * _DAY, 64 * _MIB),
            JournalClass(HISTORY, 2, 7 * _DAY, 1024 * _MIB, 0.25),
            JournalClass(RAW, 3, 1 * _DAY, 256 * _MIB, 0.25),
        )
    }
)


@record
class JournalEntry:
    """Something that happened, or (`gap` not empty) the place of `count` things that will not be told.

    `journal_id` and `seq`: empty and 0 until the store where it begins gives them. `node`: where that was. `name`:
    the property, or the event's code. `time`: Unix milliseconds there. `gap`: why, one of `expired` (ttl), `evicted`
    (byte cap), `dropped` (the store refused it), `lost` (the receiver misses it), `refused` (by the receiver).
    """

    class_name: str
    namespace: str
    node: str
    device: str | None
    name: str
    time: int
    value: Value
    journal_id: bytes = b""
    seq: int = 0
    count: int = 1
    gap: str = ""

    @property
    def last(self) -> int:
        """The last seq that it stands for."""
        return self.seq + self.count - 1

    @property
    def key(self) -> JournalKey:
        return JournalKey(self.journal_id, self.last)

    def begun(self, journal_id: bytes, seq: int) -> JournalEntry:
        """The same with its place in the journal of the store where it begins."""
        return JournalEntry(
            self.class_name,
            self.namespace,
            self.node,
            self.device,
            self.name,
            self.time,
            self.value,
            journal_id,
            seq,
            self.count,
            self.gap,
        )

    @property
    def device_id(self) -> DeviceId | None:
        return None if self.device is None else DeviceId(self.namespace, self.device)


def gap_for(entry: JournalEntry, first: int, last: int, reason: str) -> JournalEntry:
    """The record that stands for seqs `first` to `last` of the journal and class that `entry` is of."""
    return replace(entry, device=None, name="", value=None, seq=first, count=last - first + 1, gap=reason)


def after(entry: JournalEntry, cursor: int) -> list[JournalEntry]:
    """What of `entry` is news to a store that has everything up to `cursor`, with a gap record for what is missing
    between."""
    if entry.last <= cursor:
        return []
    if entry.seq <= cursor:
        return [gap_for(entry, cursor + 1, entry.last, entry.gap)]
    if entry.seq > cursor + 1:
        return [gap_for(entry, cursor + 1, entry.seq - 1, LOST), entry]
    return [entry]
