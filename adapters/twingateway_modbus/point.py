"""One property of one device as this adapter handles it: where it lies, how it is encoded, when it is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from twingateway.adapter import Value
from twingateway.errors import DeviceRefused, DeviceReplyInvalid
from twingateway_modbus.codec import Codec, CodecError


class Table(StrEnum):
    """The four address spaces of a Modbus unit."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def of_bits(self) -> bool:
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def writable(self) -> bool:
        return self in (Table.HOLDING, Table.COIL)


@dataclass(frozen=True, slots=True)
class Point:
    """`address` is the zero-based protocol address; `count` is in registers, or bits for the tables of bits."""

    name: str
    table: Table
    address: int
    codec: Codec
    period: float
    deadband: float = 0.0
    writable: bool = False

    @property
    def count(self) -> int:
        return 1 if self.table.of_bits else self.codec.registers

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.count

    def decode(self, cells: Sequence[int]) -> Value:
        """`count` registers or bits → value. Raises DeviceReplyInvalid."""
        try:
            return self.codec.decode(cells)
        except CodecError as error:
            raise DeviceReplyInvalid(f"{self.name}: {error}", property=self.name) from error

    def encode(self, value: Value, current: Sequence[int] = ()) -> list[int]:
        """Value → `count` registers or bits; `current` ones where only some bits change. Raises DeviceRefused."""
        try:
            return self.codec.encode(value, current)
        except CodecError as error:
            raise DeviceRefused(f"{self.name}: {error}", property=self.name) from error

    def changed(self, before: Value, now: Value) -> bool:
        """Whether the step from `before` to `now` is worth a report."""
        if type(before) is not type(now) or not isinstance(now, int | float) or not isinstance(before, int | float):
            return before != now
        return abs(now - before) > self.deadband
