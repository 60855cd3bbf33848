"""Finds units and what they let be read: one request at a time, a pause after each, and nothing is ever written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from twingateway.errors import DeviceError, DeviceTimeout, DeviceUnreachable
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.connection import Connection
from twingateway_modbus.exceptions import GATEWAY, ILLEGAL_FUNCTION
from twingateway_modbus.plan import Range
from twingateway_modbus.point import Table
from twingateway_modbus.reply import objects_of
from twingateway_modbus.request import Cells, Request, identification, read

#: Registers asked for at once before halving.
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Found:
    """`said`: how the unit answered the first request. `objects`: who it says it is."""

    unit: int
    said: str
    objects: tuple[str, ...]


def _said(error: DeviceError) -> str:
    return f"answers ({error.message.partition(' reading')[0]})"


class Scanner:
    """`address` says the pause between requests (`delay`) and the patience (`timeout`)."""

    def __init__(self, address: AddressSettings) -> None:
        self._address = address
        self._connection: Connection | None = None
        self.requests = 0

    async def units(self, numbers: Iterable[int]) -> AsyncIterator[Found]:
        """Those that answer anything at all. Raises DeviceUnreachable if there is no endpoint."""
        for unit in numbers:
            if self._address.is_everybody(unit):
                continue
            try:
                await self._ask(unit, read(Cells(Table.HOLDING, 0, 1)))
                said = "answers"
            except (DeviceTimeout, DeviceUnreachable) as error:
                if self._connection is None:
                    raise
                if error.detail.get("exception") in (None, *GATEWAY):
                    continue
                said = _said(error)
            except DeviceError as error:
                said = _said(error)
            yield Found(unit, said, await self._identify(unit))

    async def _identify(self, unit: int) -> tuple[str, ...]:
        try:
            objects, _ = objects_of(await self._ask(unit, identification(1, 0)))
        except DeviceError:
            return ()
        return tuple(content.decode("utf-8", "replace") for _, content in sorted(objects.items()))

    async def readable(self, unit: int, table: Table, first: int, last: int) -> list[Range]:
        """Which of the addresses can be read, joined to ranges. Raises DeviceError if the unit falls silent."""
        ranges: list[Range] = []
        todo = [Range(start, min(start + _CHUNK, last + 1)) for start in range(first, last + 1, _CHUNK)][::-1]
        while todo:
            part = todo.pop()
            try:
                await self._ask_twice(unit, read(Cells(table, part.start, part.end - part.start)))
            except DeviceError as error:
                if "exception" not in error.detail:
                    raise
                if error.detail["exception"] == ILLEGAL_FUNCTION:  # the unit has no such table
                    break
                if part.end - part.start > 1:
                    middle = (part.start + part.end) // 2
                    todo += [Range(middle, part.end), Range(part.start, middle)]
                continue
            if ranges and ranges[-1].end == part.start:
                part = Range(ranges.pop().start, part.end)
            ranges.append(part)
        return ranges

    async def _ask_twice(self, unit: int, request: Request) -> bytes:
        """A reply may get lost."""
        try:
            return await self._ask(unit, request)
        except DeviceError as error:
            if "exception" in error.detail:
                raise
        return await self._ask(unit, request)

    async def _ask(self, unit: int, request: Request) -> bytes:
        if self._connection is None or not self._connection.alive:
            free_at = 0.0 if self._connection is None else self._connection.free_at
            self._connection = await Connection.open(self._address, max(self._address.timeout, 2.0), free_at)
        self.requests += 1
        return await self._connection.ask(unit, request, self._address.timeout)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
