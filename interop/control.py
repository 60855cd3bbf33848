"""Commands to the processes of a measurement: a JSON line each way over Unix sockets, which no namespace parts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Handler = Callable[..., Awaitable[dict[str, Any]]]


async def serve(path: Path, handlers: Mapping[str, Handler]) -> asyncio.Server:
    """Answer `{"do": name, …}` with what the handler of that name returns for the other members."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # who asked may have been killed
            asked = json.loads(await reader.readline() or b'{"do": ""}')
            if asked["do"]:
                said = await handlers[asked.pop("do")](**asked)
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, path)


async def ask(path: Path, do: str, *, patience: float = 30.0, **members: Any) -> dict[str, Any]:
    """The answer to one command; waits until the socket is there. Raises TimeoutError."""
    async with asyncio.timeout(patience):
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.02)
        writer.write(json.dumps({"do": do, **members}).encode() + b"\n")
        line = await reader.readline()
        writer.close()
    if not line:
        raise ConnectionError(f"no answer to {do}: its process failed")
    answer: dict[str, Any] = json.loads(line)
    return answer


def aside(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin this while other things go on; if those fail, nobody is left to be told that this did, too."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
