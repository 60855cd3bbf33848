"""What commands print: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from io import StringIO
from typing import Annotated, Any

import typer


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormOption = Annotated[Form, typer.Option("--output", "-o", help="Form of the output.")]

#: Columns wide enough for anything when the output is not a terminal, so that lines are never broken there.
_UNBOUNDED = 10_000


def print_data(data: Any, form: Form) -> None:
    """`data`: plain JSON data; `form`: JSON or YAML."""
    _PRINTERS[form](data)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Cells are any JSON values; None is an empty cell."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else _UNBOUNDED)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    console.print(table)


def shown(value: Any) -> str:
    """A value on one line: text as it is unless it holds what a terminal would act on, all else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str) and value.isprintable():
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def shown_time(milliseconds: int) -> str:
    """Unix milliseconds as local time, to the second; empty for 0."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


def yaml_text(data: Any) -> str:
    """`data`: plain JSON data."""
    from ruamel.yaml import YAML

    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.dump(data, text)
    return text.getvalue()


def _print_yaml(data: Any) -> None:
    print(yaml_text(data), end="")


_PRINTERS: dict[Form, Callable[[Any], None]] = {
    Form.JSON: _print_json,
    Form.YAML: _print_yaml,
}
