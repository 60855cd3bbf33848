"""Follows a node's event stream: what is visible there, and since when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

#: Seconds before a broken stream is taken up again.
RETRY = 0.2
#: An id that no node has issued: everything that is there comes first.
EVERYTHING = "all-0"


@dataclass(frozen=True, slots=True)
class Update:
    """One changed register as it came out of the stream. `time`: the register's own, `seen`: when it arrived here;
    both Unix milliseconds."""

    section: str
    device: str
    property: str
    value: Any
    time: int
    seen: float


class Observer:
    """`run` follows the stream until cancelled and calls `on_update` for every changed register."""

    def __init__(self, api: str, on_update: Callable[[Update], None]) -> None:
        """`api`: the node's `host:port`."""
        self._url = f"http://{api}/events"
        self._on_update = on_update
        self._last_id = EVERYTHING

    async def run(self) -> None:
        import httpx2

        timeout = httpx2.Timeout(5.0, read=None)
        async with httpx2.AsyncClient(timeout=timeout, trust_env=False) as client:
            while True:
                try:
                    await self._follow(client)
                except httpx2.HTTPError:
                    await asyncio.sleep(RETRY)

    async def _follow(self, client: httpx2.AsyncClient) -> None:
        async with client.stream("GET", self._url, headers={"Last-Event-ID": self._last_id}) as response:
            response.raise_for_status()
            async for fields in events(response.aiter_lines()):
                self._last_id = fields.get("id", self._last_id)
                if "event" in fields and fields["event"] not in ("notice", "quality"):
                    self._take(fields["event"], json.loads(fields["data"]))

    def _take(self, section: str, data: dict[str, Any]) -> None:
        seen = time.time_ns() / 1_000_000
        self._on_update(Update(section, data["twin"], data["property"], data["value"], data["time"], seen))


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    """Server-Sent Events: the fields of each."""
    fields: dict[str, str] = {}
    async for line in lines:
        if not line:
            if fields:
                yield fields
            fields = {}
            continue
        name, _, text = line.partition(":")
        if name:
            fields[name] = text.removeprefix(" ")
