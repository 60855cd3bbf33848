"""Whose turn it is when not everything fits: registers wait by device, and each device gets a few of its own in turn.

So a device that changes a thousand registers at once delays its own, not the one that changes a single register.
"""

from __future__ import annotations

from collections import deque

from twingateway.sync.outbox import Entry
from twingateway.twin.identity import DeviceId

#: Registers of one device in a row: enough for a frame to be built quickly, few beside what it holds.
TURN = 8


class FairQueue:
    """A queue in all but its order: `first` is what `popleft` takes."""

    __slots__ = ("_length", "_turn", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[DeviceId, deque[Entry]] = {}  # in the order of their turns
        self._length = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._length

    def append(self, entry: Entry) -> None:
        device = entry.register.key.device
        waiting = self._waiting.get(device)
        if waiting is None:
            self._waiting[device] = deque((entry,))
        else:
            waiting.append(entry)
        self._length += 1

    @property
    def first(self) -> Entry:
        """There must be one."""
        return next(iter(self._waiting.values()))[0]

    def popleft(self) -> None:
        device, waiting = next(iter(self._waiting.items()))
        waiting.popleft()
        self._length -= 1
        self._turn += 1
        if not waiting:
            del self._waiting[device]
            self._turn = 0
        elif self._turn >= TURN:
            self._waiting[device] = self._waiting.pop(device)
            self._turn = 0

    def clear(self) -> None:
        self._waiting.clear()
        self._length = self._turn = 0
