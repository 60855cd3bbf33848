"""Tells on stderr what happens: lines with the time, and on a terminal a live table below them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twingateway.demo.board import Board

if TYPE_CHECKING:
    from rich.console import Console


class Narrator:
    def __init__(self) -> None:
        self._started = time.monotonic()
        self._console: Console | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        line = f"{self.elapsed:6.1f} s  {text}"
        if self._console is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._console.print(line, markup=False)

    @contextmanager
    def table(self, board: Board) -> Iterator[None]:
        """Show the live table meanwhile, on a terminal."""
        if self._console is None:
            yield
            return
        from rich.live import Live

        from twingateway.demo.table import render

        console = self._console
        # rich draws in a thread of its own, so that drawing does not delay what is being measured.
        with Live(
            get_renderable=lambda: render(board, time.time_ns() / 1_000_000, console.height - 12),
            console=console,
            refresh_per_second=4,
            transient=True,
        ):
            yield
