"""Packing outbox entries into one frame of at most so many bytes.

Sizes are upper bounds computed without encoding; the frame is encoded once, when it is full. So a frame never exceeds
its room, and packing costs the same for every register.
"""

from __future__ import annotations

from typing import Any

from twingateway.sync.cbor import int_size
from twingateway.sync.frame import (
    Answer,
    Names,
    answer_item,
    answer_size,
    device_name_size,
    encode_items,
    field_name_size,
    names_item,
)
from twingateway.sync.names import NameGiver
from twingateway.sync.outbox import Entry
from twingateway.twin.register import Register, Section

#: Array head, the base seq and time, null for what is not there, and the heads of a names item.
_FIXED = 3 + 9 + 9 + 1 + 9
_GROUP = 5


class FrameBuilder:
    """Once `encode` was called `sent` lists what went in, in the frame's order, and `names` what the frame names."""

    def __init__(self, number: int, top: int, low: int, answer: Answer | None, giver: NameGiver, room: int) -> None:
        self._head = (number, top, low)
        self._answer = answer_item(answer)
        self._giver = giver
        self._devices: dict[int, str] = {}
        self._fields: dict[int, tuple[Section, str]] = {}
        self._groups: dict[tuple[int, int], list[Any]] = {}
        self._members: dict[tuple[int, int], list[tuple[Entry, Register]]] = {}
        self._seq = 0
        self._time = 0
        self.registers = 0
        self.names: Names | None = None
        sizes = int_size(number) + int_size(top) + int_size(top - low)
        self._left = room - _FIXED - sizes - (0 if self._answer is None else answer_size(self._answer))

    @property
    def number(self) -> int:
        return self._head[0]

    @property
    def top(self) -> int:
        return self._head[1]

    @property
    def sent(self) -> list[tuple[Entry, Register]]:
        return [member for members in self._members.values() for member in members]

    @property
    def worthwhile(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.registers or self._devices or self._answer)

    def add(self, entry: Entry) -> bool:
        """False, and nothing changed, if it does not fit any more."""
        register = entry.register
        (identity, section, name), version, time = register.key, register.version, register.time
        device, field = self._giver.device(identity), self._giver.field(section, name)
        if not self.registers:
            self._seq, self._time = version.seq, time
        later_seq, later = version.seq - self._seq, time - self._time
        size = int_size(device) + int_size(field) + int_size(later_seq) + int_size(later) + entry.size
        new_devices, new_fields = self._giver.new_devices, self._giver.new_fields
        named = bool(new_devices) and device in new_devices and device not in self._devices
        if named:
            size += device_name_size(device, str(identity))
        placed = bool(new_fields) and field in new_fields and field not in self._fields
        if placed:
            size += field_name_size(field, name)
        epoch = (version.incarnation, version.epoch)
        group = self._groups.get(epoch)
        if group is None:
            size += _GROUP + int_size(epoch[0]) + int_size(epoch[1])
        if size > self._left:
            return False
        self._left -= size
        if named:
            self._devices[device] = str(identity)
        if placed:
            self._fields[field] = (section, name)
        if group is None:
            group = self._groups[epoch] = [*epoch]
            self._members[epoch] = []
        group += (device, field, later_seq, later, register.value)
        self._members[epoch].append((entry, register))
        self.registers += 1
        return True

    def carry(self, entry: Entry) -> bool:
        """As `add`; the entry knows then that this frame is the newest that carries it."""
        if not self.add(entry):
            return False
        entry.frame = self._head[0]
        return True

    def add_name(self, entry: Entry) -> None:
        """Only the name of its device: elicits an answer where the register itself does not fit."""
        identity = entry.register.key.device
        self._devices[self._giver.device(identity)] = str(identity)

    def encode(self) -> bytes:
        number, top, low = self._head
        if self._devices or self._fields:
            self.names = Names(self._devices, self._fields)
        tail: list[Any] = [self._seq, self._time, *self._groups.values()] if self._groups else []
        return encode_items(number, top, low, self._answer, names_item(self.names), tail)
