"""`twingateway history`: what a property was, as a node's API tells it."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.cli.get import ack_note
from twingateway.cli.output import Form, FormOption, print_data, print_table


def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The twin's name.")],
    property: Annotated[str, typer.Argument(metavar="PROPERTY", help="The property's name.")],
    start: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help="ISO 8601 or Unix milliseconds; else an hour before --to."),
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Likewise, not included; default: now.")] = "",
    step: Annotated[str, typer.Option(metavar="DURATION", help="Sum up per 10s, 5m, 1h …")] = "",
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Show what a property was, and since when it was not to be relied on.

    Ask the root or a node with an API: others keep no history. A time without zone is this machine's, as it is shown.

    Examples:
      twingateway history hvac temperature
      twingateway history hvac temperature --from 2026-01-31T06:00:00Z --step 5m
      twingateway history hvac temperature -o json | jq '.[] | select(.quality == "good") | .value'
    """
    from urllib.parse import quote

    path = f"/twins/{quote(name, safe='')}/history"
    params = {"property": property, "from": _zoned(start), "to": _zoned(end), "step": step, "limit": 10_000}
    found = list(Api(api, token_file, namespace).pages(path, **params))
    if not found:
        hint = "its model must say `retention`" if not (start or end) else "was it reported in this time?"
        print(f"there is no history of {property} here; {hint}", file=sys.stderr)
    if output is not Form.TABLE:
        print_data(found, output)
    elif step:
        columns = ("count", "min", "mean", "max", "bad")
        print_table(("TIME", "COUNT", "MIN", "MEAN", "MAX", "BAD"), (_row(item, columns) for item in found))
    else:
        rows = ((*_row(item, ("value",)), _quality(item)) for item in found)
        print_table(("TIME", "VALUE", "QUALITY"), rows)


def _zoned(time: str) -> str:
    """With this machine's zone, if it is a time of day without one; the API judges what it is else."""
    try:
        moment = None if time.isdecimal() else datetime.fromisoformat(time)
    except ValueError:
        return time
    return time if moment is None or moment.tzinfo is not None else moment.astimezone().isoformat()


def _row(item: dict[str, Any], columns: tuple[str, ...]) -> tuple[Any, ...]:
    moment = datetime.fromtimestamp(item["time"] / 1000)
    return moment.isoformat(" ", timespec="milliseconds"), *(_figure(item[column], column) for column in columns)


def _quality(item: dict[str, Any]) -> str:
    """The word, and if it is not good why."""
    return ", ".join(filter(None, [item["quality"], ack_note(item.get("reason", {}))]))


def _figure(value: Any, column: str) -> Any:
    """A mean without the noise of its division, milliseconds as seconds."""
    if column == "bad":
        return f"{value / 1000:g} s" if value else None
    return round(value, 6) if column == "mean" and value is not None else value
