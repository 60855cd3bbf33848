"""The four tables of one simulated unit, cell by cell. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from twingateway_modbus.point import Table


class NoSuchCell(LookupError):
    """An address that the unit does not have."""


class Memory:
    """Registers and bits by address; an address exists once it was set. `objects`: its device identification."""

    def __init__(self, objects: dict[int, bytes] | None = None) -> None:
        self.tables: dict[Table, dict[int, int]] = {table: {} for table in Table}
        self.objects = objects or {0: b"twingateway", 1: b"simulator", 2: b"1"}

    def set(self, table: Table, address: int, cells: Iterable[int]) -> None:
        """Make these cells exist with these contents."""
        self.tables[table].update(enumerate(cells, address))

    def put(self, table: Table, address: int, data: bytes) -> None:
        """The same, as the adapter handles cells: two bytes a register, one a bit."""
        width = table.width
        cells = (int.from_bytes(data[at : at + width], "big") for at in range(0, len(data), width))
        self.set(table, address, cells)

    def get(self, table: Table, address: int, count: int) -> list[int]:
        """Raises NoSuchCell."""
        cells = self.tables[table]
        try:
            return [cells[at] for at in range(address, address + count)]
        except KeyError:
            raise NoSuchCell from None

    def change(self, table: Table, address: int, cells: list[int]) -> None:
        """As a client does: all of them, or NoSuchCell."""
        self.get(table, address, len(cells))
        self.set(table, address, cells)
