"""Everything that is logged meanwhile, as text: what a secret must not be in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.processors import format_exc_info
from structlog.testing import capture_logs


class Logs(logging.Handler):
    """`records`: of libraries, as far as a node lets them through. `entries`: of structlog."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []
        self.entries: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))

    def texts(self) -> list[str]:
        return [*self.records, *map(str, self.entries)]


@contextmanager
def heard_logs() -> Iterator[Logs]:
    logs, root = Logs(), logging.getLogger()
    root.addHandler(logs)
    try:
        with capture_logs(processors=[format_exc_info]) as entries:
            logs.entries = entries
            yield logs
    finally:
        root.removeHandler(logs)
