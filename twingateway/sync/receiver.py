"""The receiving half of one link: which frames came, which are durable, what to tell the sender about it.

Frame numbers are kept as bounded ranges. A frame below the window (only after 256 gaps, or far too late) is dropped
as if the path had lost it: its sender sends the registers again under a new number. The same happens while too many
frames wait for their commit. So nothing is ever acknowledged that was not received, nothing durable that was not
committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from twingateway.errors import ProtocolViolation
from twingateway.sync.frame import (
    MAX_CODE,
    MAX_EXCEPTIONS,
    UNKNOWN_NAME,
    Answer,
    Exceptions,
    Frame,
)
from twingateway.sync.names import NameBook
from twingateway.sync.path import Path
from twingateway.sync.ranges import Ranges
from twingateway.twin.register import Register, RegisterKey, Version

_WINDOW = 256
_MAX_UNCOMMITTED = 4096
#: Frames that carry one acknowledgement at most: as many as carry one register on this path. Should all be lost, the
#: sender asks again by sending again.
_REPEATS = 3
#: Frames that may come again beside one for each that is new. No sender says a number twice, and QUIC drops
#: a packet's duplicate, but other paths need not.
REPLAYS = 1024
#: How many intervals to tell, as room allows.
_INTERVALS = (16, 8, 4, 2, 1)
_MAX_UNTOLD = 1024
#: Bytes after which an item of refusals ends and another begins; with the longest message it takes twice that.
_ITEM_BYTES = 100
_MESSAGE_BYTES = 120


class _Uncommitted:
    """A received frame whose registers are not durable yet, in the frame's order; None where a name was unknown."""

    __slots__ = ("refused", "registers")

    def __init__(self, registers: tuple[Register | None, ...]) -> None:
        self.registers = registers
        self.refused: dict[int, tuple[int, str, str]] = {
            index: (index, UNKNOWN_NAME, "") for index, register in enumerate(registers) if register is None
        }


class Receiver:
    """`path`: on which the acknowledgements go."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path()
        self._names = NameBook()
        self._seen = Ranges(_WINDOW)
        self._durable = Ranges(_WINDOW)
        self._uncommitted: dict[int, _Uncommitted] = {}
        self._untold: deque[tuple[Exceptions, int]] = deque(maxlen=_MAX_UNTOLD)  # with how often to tell each
        self._repeats = 0
        self._replayed = 0
        self.frames = 0

    @property
    def has_answer(self) -> bool:
        return self._repeats > 0

    @property
    def _times(self) -> int:
        return min(self._path.copies, _REPEATS)

    def receive(self, frame: Frame) -> tuple[Register, ...]:
        """The registers to offer. Raises ProtocolViolation and then has changed nothing."""
        devices = self._names.check(frame.names) if frame.names else {}
        self.frames += 1
        if frame.number in self._seen:
            self._replayed += 1
            if self._replayed > REPLAYS + self.frames // 2:
                raise ProtocolViolation(f"frame {frame.number} and others came again and again")
            if frame.elicits:
                self._repeats = self._times
            return ()
        if frame.number < self._seen.floor or (frame.registers and len(self._uncommitted) >= _MAX_UNCOMMITTED):
            return ()
        if frame.names:
            self._names.learn(devices, frame.names)
        self._seen.add(frame.number, frame.number)
        if frame.elicits:
            self._repeats = self._times
        if not frame.registers:
            self._durable.add(frame.number, frame.number)
            return ()
        return self._resolve(frame)

    def _resolve(self, frame: Frame) -> tuple[Register, ...]:
        """Numbers to names; unknown ones are answered at once and do not hold up the others."""
        name = self._names.key
        registers: list[Register | None] = []
        for device, field, version, value, time in frame.registers:
            key = name(device, field)
            registers.append(None if key is None else Register(key, version, value, time))
        known = tuple(register for register in registers if register is not None)
        waiting = self._uncommitted[frame.number] = _Uncommitted(tuple(registers))
        if not known:
            self.committed(frame.number)
        elif len(known) < len(registers):
            self._tell(frame.number, waiting, durable=False)
        return known

    def refuse(self, frame: int, key: RegisterKey, version: Version, code: str, message: str) -> None:
        """Everything in that frame that is this version of this register."""
        waiting = self._uncommitted.get(frame)
        if waiting is None:
            return
        message = message.encode(errors="replace")[:_MESSAGE_BYTES].decode(errors="ignore")
        for index, register in enumerate(waiting.registers):
            if register is not None and register.key == key and register.version == version:
                waiting.refused[index] = (index, code[:MAX_CODE], message)

    def committed(self, frame: int) -> None:
        waiting = self._uncommitted.pop(frame, None)
        if waiting is None:
            return
        if waiting.refused:
            self._tell(frame, waiting, durable=True)
        else:
            self._durable.add(frame, frame)
        self._repeats = self._times

    def _tell(self, frame: int, waiting: _Uncommitted, durable: bool) -> None:
        for item in _items(frame, waiting, durable):
            self._untold.append((item, self._times))
        self._repeats = self._times

    def answer(self, room: int) -> Answer | None:
        """What to put into the frame that is being built, None when all has been told often enough.

        It takes at most `room` bytes (at least 32); what does not fit waits for the next frame.
        """
        if self._repeats == 0:
            return None
        self._repeats -= 1
        for count in _INTERVALS:
            answer = Answer(tuple(self._seen.newest(count)), tuple(self._durable.newest(count)))
            left = room - answer.size
            if left >= 0:
                break
        told: list[Exceptions] = []
        for _ in range(min(len(self._untold), MAX_EXCEPTIONS)):
            item, times = self._untold[0]
            left -= _size(item)
            if left < 0:
                break
            told.append(item)
            self._untold.popleft()
            if times > 1:
                self._untold.append((item, times - 1))
        if self._untold:
            self._repeats = max(self._repeats, 1)
        return replace(answer, exceptions=tuple(told)) if told else answer


def _size(item: Exceptions) -> int:
    return 24 + sum(9 + len(code.encode()) + len(message.encode()) for _, code, message in item.refused)


def _items(frame: int, waiting: _Uncommitted, durable: bool) -> Iterator[Exceptions]:
    """Several small items for a frame with many refusals, each for the registers from the last one's end on."""
    refused = [waiting.refused[index] for index in sorted(waiting.refused)]
    first = 0
    while refused:
        part = [refused.pop(0)]
        size = _size(Exceptions(frame, durable, 0, 0, tuple(part)))
        while refused and size < _ITEM_BYTES:
            part.append(refused.pop(0))
            size += 9 + len(part[-1][1].encode()) + len(part[-1][2].encode())
        last = part[-1][0] if refused else len(waiting.registers) - 1
        yield Exceptions(frame, durable, first, last, tuple(part))
        first = last + 1
