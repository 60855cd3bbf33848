"""What waits to go out on one link, and in which order it goes.

A register waits in one of four queues (urgent, resend, routine, and stream for what no datagram can hold); of each,
the devices have their turns.
"""

from __future__ import annotations

from twingateway.sync.builder import FrameBuilder
from twingateway.sync.fair import FairQueue
from twingateway.sync.outbox import DATAGRAM_QUEUES, Entry, Queue


class Waiting:
    """`datagrams`: the largest state frame, in bytes, that fits a datagram; 0 for a link that has none."""

    def __init__(self, datagrams: int) -> None:
        self._datagrams = datagrams
        self._queues: dict[Queue, FairQueue] = {queue: FairQueue() for queue in Queue if queue is not Queue.NONE}
        self._small = tuple(self._queues[queue] for queue in DATAGRAM_QUEUES)
        self._large = self._queues[Queue.STREAM]

    def offer(self, entry: Entry) -> None:
        """A new or newer register; one that waits already keeps its place."""
        queue = Queue.URGENT if entry.urgent else Queue.ROUTINE
        if (
            entry.queue is Queue.NONE
            or (entry.urgent and entry.queue is Queue.ROUTINE)
            or entry.queue is Queue.STREAM
        ):
            self._enqueue(queue, entry)

    def again(self, entry: Entry) -> None:
        """One that was sent and is lost; it may wait already."""
        if entry.queue is Queue.NONE:
            self._enqueue(Queue.URGENT if entry.urgent else Queue.RESEND, entry)

    def clear(self) -> None:
        for queue in self._queues.values():
            queue.clear()

    def _enqueue(self, queue: Queue, entry: Entry) -> None:
        if queue is not Queue.STREAM and self._datagrams and entry.size >= self._datagrams:
            queue = Queue.STREAM
        entry.queue = queue
        self._queues[queue].append(entry)

    @property
    def small(self) -> int:
        """About how many registers wait that a datagram may take."""
        urgent, resend, routine = self._small
        return urgent.length + resend.length + routine.length

    @property
    def urgent(self) -> int:
        """About how many of these are urgent."""
        return self._small[0].length

    @property
    def large(self) -> int:
        """About how many registers wait for a stream."""
        return self._large.length

    def stream_size(self) -> int:
        """Bytes that the first register waiting for a stream takes, 0 if none waits."""
        queue = self._large
        while queue.length:
            entry = queue.first
            if entry.queue is Queue.STREAM and entry.live:
                return entry.size
            queue.popleft()
        return 0

    def fill(self, builder: FrameBuilder, queues: tuple[Queue, ...]) -> None:
        """New and lost registers, as many as fit, in the order of the queues."""
        for name in queues:
            queue = self._queues[name]
            while queue.length:
                entry = queue.first
                wanted = entry.queue is name and entry.live and not entry.seen
                if wanted and not builder.carry(entry):
                    if builder.registers or name is Queue.STREAM:
                        return
                    queue.popleft()
                    self._enqueue(Queue.STREAM, entry)  # not even alone
                    continue
                queue.popleft()
                if entry.queue is name:
                    entry.queue = Queue.NONE
