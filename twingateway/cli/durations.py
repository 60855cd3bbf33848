"""Durations on the command line: `500ms`, `10s`, `5m`."""

from __future__ import annotations

import typer


def seconds(value: str | float) -> float:
    """For options: a duration, or its default in seconds. Raises typer.BadParameter."""
    from twingateway.adapter.duration import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def text_of(duration: float | None) -> str | None:
    """A duration in seconds as the API reads it."""
    return None if duration is None else f"{duration:f}s"
