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

    __slots__ = ("_current", "_turn", "_waiting", "length")

    def __init__(self) -> None:
        self._waiting: dict[DeviceId, deque[Entry]] = {}  # in the order of their turns
        self._current: deque[Entry] = deque()  # of whose turn it is
        self.length = 0
        self._turn = 0

    def append(self, entry: Entry) -> None:
        device = entry.register.key.device
        waiting = self._waiting.get(device)
        if waiting is None:
            waiting = self._waiting[device] = deque()
            if not self.length:
                self._current = waiting
        waiting.append(entry)
        self.length += 1

    @property
    def first(self) -> Entry:
        """There must be one."""
        return self._current[0]

    def popleft(self) -> None:
        self._current.popleft()
        self.length -= 1
        self._turn += 1
        if not self._current or self._turn >= TURN:
            self._pass_on()

    def clear(self) -> None:
        self._waiting.clear()
        self.length = self._turn = 0

    def _pass_on(self) -> None:
        device = next(iter(self._waiting))
        waiting = self._waiting.pop(device)
        if waiting:
            self._waiting[device] = waiting
        self._current = next(iter(self._waiting.values()), waiting)
        self._turn = 0
