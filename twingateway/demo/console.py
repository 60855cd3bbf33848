"""How a process of the demo is spoken to.

Lines come on stdin, each answered by one JSON line on stdout; `quit` or the end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: One line of stdin, stripped → the answer.
Command = Callable[[str], dict[str, Any]]


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def obey(command: Command) -> None:
    """Answer every line, in this thread, until the end."""
    for line in _lines():
        say(command(line))


async def obey_on_loop(command: Command) -> None:
    """Answer every line, on the event loop, until the end."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def listen() -> None:
        for line in _lines():
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=listen, daemon=True).start()
    while (line := await lines.get()) is not None:
        say(command(line))


def _lines() -> Iterator[str]:
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        yield line.strip()
