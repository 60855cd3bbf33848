"""The live table: some properties of every device, at the edge and at the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from rich.table import Table

from twingateway.demo.board import Board, Shown

_ACKS = {"applied": "green", "pending": "yellow", "delivered": "yellow"}


def render(board: Board, now: float, height: int) -> Table:
    """`now`: Unix milliseconds. At most about `height` rows: of each device those that have a desired value, then the
    first of its document."""
    table = Table(title="twins", title_justify="left", expand=False)
    for name, justify in (("device", "left"), ("protocol", "left"), ("property", "left"), ("edge", "right"),
                          ("cloud", "right"), ("age", "right"), ("ack", "left")):  # fmt: skip
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    for device, rows in groupby(board.rows, key=attrgetter("device")):
        presence = board.presence.get(device, "")
        for number, row in enumerate(_chosen(rows, max(1, height // max(1, len(board.devices))))):
            first = number == 0
            name = f"{device}{'' if presence in ('', 'online') else f' ({presence})'}" if first else ""
            table.add_row(name, row.protocol if first else "", row.property, *_cells(row, now))
    return table


def _chosen(rows: Iterable[Shown], count: int) -> list[Shown]:
    return sorted(rows, key=lambda row: not row.ack)[:count]


def _cells(row: Shown, now: float) -> tuple[str, str, str, str]:
    differs = row.edge is not None and row.edge != row.cloud
    cloud = f"[yellow]{_text(row.cloud)}[/yellow]" if differs else _text(row.cloud)
    age = f"{max(0.0, now - row.seen) / 1000:.1f} s" if row.seen else ""
    color = _ACKS.get(row.ack, "red")
    return _text(row.edge), cloud, age, f"[{color}]{row.ack}[/{color}]" if row.ack else ""


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
