"""The journal's part of one connection: what of it may leave now, behind everything else.

State comes first. On QUIC it rides in datagrams, which the link takes before any stream's bytes; where it has a
stream of its own, the journal waits until that is all but empty. Beyond that only so much is handed to the transport
as it can use, so that what is urgent next finds no queue before it. Alarms wait for none of it, and while they have
not left, routine reports have only their turns (see `sync.turns`).
"""

from __future__ import annotations

from typing import Protocol

from twingateway.errors import ProtocolViolation
from twingateway.gateway.peering.peers import Peer
from twingateway.mqtt.lanes import JOURNAL_TOPICS
from twingateway.mqtt.streams import JOURNAL_STREAMS, STATE_STREAM
from twingateway.ports.link import Link
from twingateway.sync.journal import JournalEvent
from twingateway.sync.turns import Turns

#: The least that may be unsent or unacknowledged on the journal's streams before more is added, in bytes.
BACKLOG = 32 * 1024
#: State waiting on its stream that holds the journal back, in bytes.
STATE_WAITS = 4 * 1024
#: How soon to look again when something was held back, in seconds.
RETRY = 0.02
#: How soon to look again at reports that made way for an alarm, in seconds.
HELD_BACK = 0.005

_CHANNELS = {topic: channel for channel, topic in enumerate(JOURNAL_TOPICS)}


class JournalEvents(Protocol):
    """The journal, as a connection needs it."""

    def handle(self, peer: Peer, link: int, event: JournalEvent) -> None: ...

    def hungry(self) -> None:
        """A session wants to be fed."""
        ...


class Publisher(Protocol):
    def publish(self, topic: str, payload: bytes, stream: int = 0) -> None: ...


class JournalLane:
    """Attached when made; `opens`: the streams are ours to open."""

    def __init__(
        self, peer: Peer, number: int, link: Link, connection: Publisher, events: JournalEvents, *, opens: bool
    ) -> None:
        self._peer = peer
        self._number = number
        self._link = link
        self._connection = connection
        self._events = events
        self._turns = Turns()
        peer.journal.attach(number, opens=opens)

    def close(self) -> None:
        self._peer.journal.detach(self._number)

    def receive(self, topic: str, payload: bytes) -> None:
        """A message on one of `JOURNAL_TOPICS`. Raises ProtocolViolation."""
        channel = _CHANNELS.get(topic)
        if channel is None:
            raise ProtocolViolation(f"nodes do not publish to {topic!r}", reason_code=0x90)
        for event in self._peer.journal.receive(self._number, channel, payload):
            self._events.handle(self._peer, self._number, event)

    def pump(self, now: float) -> None:
        """Move what may leave into the connection."""
        journal = self._peer.journal
        while (answer := journal.next_answer(self._number)) is not None:
            self._publish(*answer)
        if journal.has_batch:
            self._pump_batches(now)
        if journal.hungry:
            self._events.hungry()

    def _pump_batches(self, now: float) -> None:
        journal = self._peer.journal
        alarms = BACKLOG - self._unsent_alarms()
        while alarms > 0 and (batch := journal.next_batch(self._number, alarms_only=True)) is not None:
            self._publish(*batch)
            alarms -= len(batch[1])
        room = self._room()
        while room > 0 and (batch := journal.next_batch(self._number)) is not None:
            self._publish(*batch)
            room -= len(batch[1])
        if room <= 0:
            self._link.wake(now + RETRY)

    def may_report(self, now: float) -> bool:
        """Whether the next packet may carry routine reports; asked once for each."""
        channel = self._peer.journal.alarm_channel(self._number)
        waits = channel is not None and self._link.waiting(JOURNAL_STREAMS[channel]) > 0
        if waits:
            self._link.wake(now + HELD_BACK)
        return self._turns.routine(alarms_wait=waits)

    def _unsent_alarms(self) -> int:
        channel = self._peer.journal.alarm_channel(self._number)
        return 0 if channel is None else self._link.unsent(JOURNAL_STREAMS[channel])

    def _room(self) -> int:
        if self._link.unsent(STATE_STREAM) > STATE_WAITS:
            return 0
        backlog = BACKLOG
        if self._link.datagram_room:
            backlog = max(backlog, 2 * (self._link.facts().congestion_window or 0))
        return backlog - sum(map(self._link.unsent, JOURNAL_STREAMS))

    def _publish(self, channel: int, message: bytes) -> None:
        self._connection.publish(JOURNAL_TOPICS[channel], message, JOURNAL_STREAMS[channel])
