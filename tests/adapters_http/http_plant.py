"""HTTP devices for the tests: a server that answers with any bytes it is told, and the drivers that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twingateway_http import ADAPTER
from twingateway_http.driver import HttpDriver

from twingateway.adapter import Device, DeviceId
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.device_port import RecordingPort


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: The whole answer as bytes, or None to hang up without one.
Answerer = Callable[[Asked], bytes | Awaitable[bytes | None] | None]


def reply(body: Any = b"", status: int = 200, **headers: str) -> bytes:
    """An HTTP answer; what is not bytes is sent as JSON. `content_type` becomes `content-type`."""
    kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-length": str(len(content)), **kind} | {k.replace("_", "-"): v for k, v in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content


class Server:
    """Answers with `answer(request)`, which tests may replace; `asked` holds the requests in order."""

    def __init__(self, answer: Answerer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.connections = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def is_serving(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[Server], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition(self):
                await asyncio.sleep(0.005)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                asked = await _read(reader)
                self.asked.append(asked)
                answer = self.answer(asked)
                if isinstance(answer, Awaitable):
                    answer = await answer
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


class Plant:
    """Servers and drivers of one test."""

    def __init__(self) -> None:
        self.context = MemoryContext()
        self.adapter = ADAPTER.open(ADAPTER.settings(), self.context)
        self._servers: list[Server] = []
        self._runs: list[asyncio.Task[None]] = []

    async def serve(self, answer: Answerer) -> Server:
        server = Server(answer)
        await server.start()
        self._servers.append(server)
        return server

    def driver(
        self, server: Server | None, properties: dict[str, Any], *, folder: Path | None = None, **spec: Any
    ) -> tuple[HttpDriver, RecordingPort]:
        """A driver that is not running yet, and what it reports to. `address` adds to the device's address."""
        address = spec.pop("address", {})
        if server is not None:
            address = {"url": server.url, **address}
        if address:
            spec["address"] = {"timeout": "10s", **address}
        document = {"properties": properties, "period": "50ms", **spec}
        settings = ADAPTER.device.model_validate(document, context={"folder": folder or Path()})
        recorder = RecordingPort()
        driver = self.adapter.driver(Device(DeviceId("default", "device-1"), settings), recorder)
        assert isinstance(driver, HttpDriver)
        return driver, recorder

    def run(self, server: Server | None, properties: dict[str, Any], **spec: Any) -> tuple[HttpDriver, RecordingPort]:
        """A driver that polls until the end of the test."""
        driver, recorder = self.driver(server, properties, **spec)
        self._runs.append(asyncio.ensure_future(driver.run()))
        return driver, recorder

    async def close(self) -> None:
        for run in self._runs:
            run.cancel()
        for outcome in await asyncio.gather(*self._runs, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
        await self.adapter.stop()
        for server in self._servers:
            await server.stop()
