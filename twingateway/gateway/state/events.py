"""What happened, told to whoever listens: changed registers and notices.

A position is an lsn such that every event at or below it was published before. Resuming from a position may repeat
an event, never miss one; a position older than the ring is answered from the table, with the newest of each
register, since state is not a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from twingateway.errors import Unavailable
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.record import record
from twingateway.twin.register import StoredRegister
from twingateway.twin.value import Value

RING = 10_000
QUEUE = 20_000
MAX_LISTENERS = 1_000


@record
class Changed:
    """A register was created or applied."""

    stored: StoredRegister
    position: int

    @property
    def lsn(self) -> int:
        return self.stored.lsn


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a person's attention: `claim-refused`, `value-refused`, `adapter-fault` …"""

    lsn: int
    position: int
    code: str
    message: str
    time: int
    device: DeviceId | None = None
    detail: dict[str, Value] = field(default_factory=dict)


Event = Changed | Notice


class Listening:
    """One listener's queue. Iterate it; it ends when closed or when the listener fell too far behind."""

    def __init__(self, backlog: Iterable[Event]) -> None:
        self._queue: deque[Event] = deque(backlog)
        self._room = len(self._queue) + QUEUE
        self._more = asyncio.Event()
        self._closed = False
        if self._queue:
            self._more.set()

    def push(self, events: Sequence[Event]) -> None:
        room = self._room - len(self._queue)
        self._queue.extend(events if len(events) <= room else events[:room])
        if len(events) > room:
            self.close()
        self._more.set()

    def close(self) -> None:
        self._closed = True
        self._more.set()

    @property
    def closed(self) -> bool:
        return self._closed

    async def next_batch(self) -> list[Event]:
        """Everything waiting, at least one; an empty list at the end."""
        while not self._queue and not self._closed:
            self._more.clear()
            await self._more.wait()
        batch = list(self._queue)
        self._queue.clear()
        return batch

    async def __aiter__(self) -> AsyncIterator[Event]:
        while batch := await self.next_batch():
            for event in batch:
                yield event


class EventBus:
    """Publishes to listeners and keeps the last events for those who come back."""

    def __init__(self, table: TwinTable, start: int) -> None:
        """`start`: the last lsn issued before this process began to publish."""
        self._table = table
        self._ring: deque[Event] = deque(maxlen=RING)
        self._complete_above = start
        self._listeners: set[Listening] = set()
        self.published = 0

    def publish(self, *events: Event) -> None:
        pushed_out = max(0, len(self._ring) + len(events) - RING)
        for gone in islice(chain(self._ring, events), pushed_out):
            if gone.lsn > self._complete_above:
                self._complete_above = gone.lsn
        self._ring.extend(events)
        self.published += len(events)
        for listener in list(self._listeners):
            listener.push(events)
            if listener.closed:
                self._listeners.discard(listener)

    def listen(self, after: int | None = None, position: int = 0) -> Listening:
        """Listen from now on, or from the position `after`. `position`: today's, for events made from the table; an
        `after` beyond it is none of this store's, and is answered with everything. Raises Unavailable when there are
        too many listeners."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise Unavailable(f"{MAX_LISTENERS} listeners are connected already; try again later")
        if after is not None and after > position:
            after = 0
        listener = Listening(() if after is None else self._since(after, position))
        self._listeners.add(listener)
        return listener

    async def until(self, device: DeviceId, condition: Callable[[], bool], timeout: float) -> None:
        """Wait until `condition()` holds, which follows from the device's registers, at most `timeout` seconds."""
        listening = self.listen()
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    batch = await listening.next_batch()
                    if not batch:
                        break
                    while batch and not any(
                        isinstance(each, Changed) and each.stored.register.key.device == device for each in batch
                    ):
                        batch = await listening.next_batch()
        except TimeoutError:
            pass
        finally:
            self.leave(listening)

    def leave(self, listener: Listening) -> None:
        listener.close()
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every listener (the node stops)."""
        for listener in list(self._listeners):
            self.leave(listener)

    def _since(self, after: int, position: int) -> list[Event]:
        if after >= self._complete_above:
            return [event for event in self._ring if event.lsn > after]
        missed = sorted((s for s in self._table.registers() if s.lsn > after), key=lambda s: s.lsn)
        return [Changed(stored, min(stored.lsn, position)) for stored in missed]
