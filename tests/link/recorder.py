"""A link handler that writes down what it hears."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from twingateway.errors import LinkError
from twingateway.ports.link import Link


@dataclass
class Recorder:
    """A LinkHandler that writes down what it hears and sends what a test gives it."""

    link: Link | None = None
    connected_at: float | None = None
    streams: dict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    ended: set[int] = field(default_factory=set)
    datagrams: list[tuple[float, bytes]] = field(default_factory=list)
    offered: list[bytes] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    timers: list[float] = field(default_factory=list)
    closings: list[LinkError | None] = field(default_factory=list)
    source: Callable[[int, float], bytes | None] | None = None
    on_connected: Callable[[Link], None] | None = None
    on_stream_data: Callable[[Link, int, bytes], None] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, link: Link, now: float) -> None:
        self.link, self.connected_at = link, now
        if self.on_connected:
            self.on_connected(link)
        self.news.set()

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        self.streams[stream] += data
        if end:
            self.ended.add(stream)
        if self.on_stream_data:
            self.on_stream_data(self.link, stream, data)
        self.news.set()

    def datagram(self, data: bytes, now: float) -> None:
        self.datagrams.append((now, data))
        self.news.set()

    def next_datagram(self, room: int, now: float) -> bytes | None:
        self.rooms.append(room)
        if self.source:
            return self.source(room, now)
        return self.offered.pop(0) if self.offered else None

    def timer(self, now: float) -> None:
        self.timers.append(now)
        self.news.set()

    def closed(self, error: LinkError | None, now: float) -> None:
        self.closings.append(error)
        self.news.set()

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until `condition` holds; it is looked at after each piece of news."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.news.clear()
                await self.news.wait()
