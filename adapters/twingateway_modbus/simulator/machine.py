"""A unit that has everything a profile names, with values that move or stand still."""

from __future__ import annotations

import math
from collections.abc import Iterable

from twingateway_modbus.layout import INTEGERS
from twingateway_modbus.point import Point
from twingateway_modbus.raw import CodecError
from twingateway_modbus.simulator.memory import Memory


class Machine:
    """`points` as `DeviceSettings.points()` gives them. Cells between and around them do not exist, but for `gaps`:
    up to so many cells between two of them do."""

    def __init__(self, points: Iterable[Point], *, gaps: int = 0) -> None:
        self.memory = Memory()
        self._points = sorted(points, key=lambda point: (point.table, point.address))
        for point in self._points:
            self.memory.set(point.table, point.address, [0] * (point.count + gaps))
        for point in self._points:
            self._begin(point)

    def _begin(self, point: Point) -> None:
        """Zero may be none of an enum's contents, or no date; the first that is something is taken."""
        names = point.codec.names
        if names and 0 not in names and not point.is_scale:
            self._put(point, next(iter(names.values())))

    def move(self, now: float) -> None:
        """Let every number that clients cannot write swing; `now` in seconds."""
        for index, point in enumerate(self._points):
            codec = point.codec
            moves = not (point.is_scale or point.writable or point.table.of_bits or codec.bits or codec.count)
            plain = codec.names is None and codec.flags is None
            if moves and plain and (codec.type in INTEGERS or codec.type.startswith("float")):
                raw = 60 + 40 * math.sin(now / 7 + index)
                self._put(point, codec.linear.value(round(raw)) if codec.type in INTEGERS else round(raw, 2))

    def _put(self, point: Point, value: object) -> None:
        try:
            data = point.codec.encode(value, bytes(2 * point.count))  # type: ignore[arg-type]
        except CodecError:
            return
        self.memory.put(point.table, point.address, data)
