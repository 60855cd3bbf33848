"""What waits to go into one byte stream: a queue for each stream number, and which of them is served next.

The rule: state goes first, so that it is never behind bulk; of every four packets one is taken from the other end
of the order, so that nothing starves. The very first packet is of the control stream (it is CONNECT, or its answer).
A piece is whole MQTT packets and is never cut here, because at the other end all of them make one stream.
"""

from __future__ import annotations

from collections import deque

from twingateway.ports.link import CONTROL_STREAM

#: The stream of state frames, where links have streams.
STATE_STREAM = 4

_TURN_OF_THE_LAST = 4


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
        order = sorted(self._queues, key=lambda stream: (stream != STATE_STREAM, stream))
        return order[-1 if self._served % _TURN_OF_THE_LAST == _TURN_OF_THE_LAST - 1 else 0]
