"""What waits to go into one byte stream: a queue for each stream number, and which of them is served next.

The rule: alarms and state go first, by turns, so that they are never behind bulk nor one behind the other; of every
four packets one is taken from the other end of the order, so that nothing starves. The very first packet is of the
control stream (it is CONNECT, or its answer).
A piece is whole MQTT packets and is never cut here, because at the other end all of them make one stream.
"""

from __future__ import annotations

from collections import deque

from twingateway.ports.link import CONTROL_STREAM

#: The stream of state frames, where links have streams.
STATE_STREAM = 4

#: That of the journal's first class, alarms unless a node's file says otherwise.
ALARM_STREAM = 8

#: Who goes first, over and over; nobody: the last of the order.
_TURNS = ((ALARM_STREAM, STATE_STREAM), (STATE_STREAM, ALARM_STREAM), (ALARM_STREAM, STATE_STREAM), ())


class Outgoing:
    def __init__(self) -> None:
        self._queues: dict[int, deque[bytes]] = {}
        self._sizes: dict[int, int] = {}
        self._served = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, stream: int, piece: bytes) -> None:
        self._queues.setdefault(stream, deque()).append(piece)
        self._sizes[stream] = self._sizes.get(stream, 0) + len(piece)

    def size(self, stream: int) -> int:
        """Bytes that wait."""
        return self._sizes.get(stream, 0)

    def take(self) -> tuple[int, bytes]:
        """The next piece and its stream number; there must be one."""
        stream = self._next()
        queue = self._queues[stream]
        piece = queue.popleft()
        self._sizes[stream] -= len(piece)
        if not queue:
            del self._queues[stream], self._sizes[stream]
        self._served += 1
        return stream, piece

    def clear(self) -> None:
        self._queues.clear()
        self._sizes.clear()

    def _next(self) -> int:
        if not self._served and CONTROL_STREAM in self._queues:
            return CONTROL_STREAM
        first = _TURNS[self._served % len(_TURNS)]
        if not first:
            return max(self._queues, key=lambda stream: (stream not in _TURNS[0], stream))
        return next((stream for stream in first if stream in self._queues), min(self._queues))
